"""Training with JAX on an accelerator: one compiled program for each epoch.

Keras starts every step from Python, which takes longer than an accelerator needs for a step of a
small network. One process cannot augment as many digits as an accelerator trains on. So other
processes make the batches, and a scan over a whole epoch is compiled (`jax.lax.scan`).

Knows a compiled Keras model and `Batches`; knows nothing of recipes or checkpoints.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.pool import Pool
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.batches import Batches

CHUNK = 12  # batches in one job of a worker process
AHEAD = 2  # epochs that are prepared while one is trained

Shown = tuple[NDArray[np.float16], NDArray[np.float32]]  # (S, B, 28, 28, 1), (S, B, 10)


def fit_by_epoch(
    trainee: keras.Model,
    batches: Batches,
    validation: tuple[NDArray[np.float32], NDArray[np.float32]],
    *,
    epochs: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Train as `trainee.fit` does, with one program for each epoch.

    Digits that do not fill a batch are left out, different ones in each epoch. Pixels are rounded
    to float16.

    Args:
        trainee: A network that returns logits, compiled with an optimizer.
        batches: The training batches; `batches.epoch` is the first epoch.
        validation: Pixels `[N, 28, 28, 1]`, 0..255, and target distributions `[N, 10]`.
        epochs: Number of the last epoch, counted from 1.
        callbacks: Called at the start and end of each epoch, and after its last step.
    """
    learn = _program(trainee)
    listeners = keras.callbacks.CallbackList(list(callbacks), model=trainee)
    listeners.on_train_begin()
    with _making(batches, epochs) as made:
        for epoch, (pixels, targets) in made:
            listeners.on_epoch_begin(epoch)
            state = [[variable.value for variable in group] for group in _variables(trainee)]
            state, figures = learn(state, pixels, targets)
            for group, values in zip(_variables(trainee), state, strict=True):
                for variable, value in zip(group, values, strict=True):
                    variable.assign(value)
            logs = {name: float(figure) for name, figure in figures.items()}
            listeners.on_train_batch_end(len(pixels) - 1, logs)
            held_out = trainee.evaluate(*validation, batch_size=500, verbose=0, return_dict=True)
            logs.update({f"val_{name}": figure for name, figure in held_out.items()})
            listeners.on_epoch_end(epoch, logs)
    listeners.on_train_end()


def _variables(trainee: keras.Model) -> tuple[Sequence[keras.Variable], ...]:
    return (
        trainee.trainable_variables,
        trainee.non_trainable_variables,
        trainee.optimizer.variables,
    )


def _program(trainee: keras.Model) -> Callable[..., Any]:
    """Compile an epoch as a function: values of `_variables` and batches to new values and figures.

    The figures are those of `trainee.fit`: the loss includes outliers, the accuracy does not.
    """
    import jax  # only this way of training needs it

    def loss_of(weights: Any, others: Any, pixels: Any, targets: Any) -> Any:
        logits, others = trainee.stateless_call(weights, others, pixels, training=True)
        losses = keras.losses.categorical_crossentropy(targets, logits, from_logits=True)
        return losses.mean(), (others, logits)

    gradients_of = jax.value_and_grad(loss_of, has_aux=True)

    def step(state: Any, batch: Any) -> Any:
        weights, others, moments = state
        pixels, targets = batch
        pixels = pixels.astype("float32")
        (loss, (others, logits)), gradients = gradients_of(weights, others, pixels, targets)
        weights, moments = trainee.optimizer.stateless_apply(moments, gradients, weights)
        digits = targets.max(axis=-1) > 0.5
        right = digits & (targets.argmax(axis=-1) == logits.argmax(axis=-1))
        return [weights, others, moments], (loss, right.sum(), digits.sum())

    def learn(state: Any, pixels: Any, targets: Any) -> Any:
        state, (losses, right, digits) = jax.lax.scan(step, state, (pixels, targets))
        accuracy = right.sum() / jax.numpy.maximum(digits.sum(), 1)
        return state, {"loss": losses.mean(), "accuracy": accuracy}

    compiled: Callable[..., Any] = jax.jit(learn)
    return compiled


@contextmanager
def _making(batches: Batches, epochs: int) -> Iterator[Iterator[tuple[int, Shown]]]:
    """Make the batches of the remaining epochs in worker processes, `AHEAD` epochs in advance."""
    whole = len(batches.digits) // batches.recipe.batch_size or 1
    starts = range(0, whole, CHUNK)
    makers = _start_makers(batches)

    def begin(epoch: int) -> Any:
        jobs = [(epoch, start, min(start + CHUNK, whole)) for start in starts]
        return makers.map_async(_make, jobs, chunksize=1)

    def made() -> Iterator[tuple[int, Shown]]:
        waiting = [begin(epoch) for epoch in range(batches.epoch, epochs)[:AHEAD]]
        for epoch in range(batches.epoch, epochs):
            pixels, targets = zip(*waiting.pop(0).get(), strict=True)
            if epoch + AHEAD < epochs:
                waiting.append(begin(epoch + AHEAD))
            yield epoch, (np.concatenate(pixels), np.concatenate(targets))

    with makers:
        yield made()


def _start_makers(batches: Batches) -> Pool:
    """Start one process fewer than there are cores; none of them uses the accelerator."""
    context = multiprocessing.get_context("spawn")  # JAX's threads do not survive a fork
    before = dict(os.environ)
    os.environ.update(JAX_PLATFORMS="cpu", OMP_NUM_THREADS="1")  # new processes inherit them
    try:
        return context.Pool(max(1, (os.cpu_count() or 1) - 1), _begin, (batches,))
    finally:
        os.environ.clear()
        os.environ.update(before)


_held: list[Batches] = []  # in a worker process: the batches that it makes


def _begin(batches: Batches) -> None:
    _held.append(batches)


def _make(job: tuple[int, int, int]) -> Shown:
    """Make the batches `start` to `stop - 1` of an epoch."""
    (batches,) = _held
    batches.epoch, start, stop = job
    made = [batches[index] for index in range(start, stop)]
    pixels, targets = zip(*made, strict=True)
    return np.stack(pixels).astype(np.float16), np.stack(targets)
