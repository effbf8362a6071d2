"""The training loop: sees training and validation digits, never the test split.

Writes checkpoints after every epoch, so that an interrupted run keeps its best epoch and can be
resumed. Knows recipes and checkpoints; knows nothing of bundles or of the service.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.accelerator import fit_by_epoch
from training.batches import Batches, one_hot
from training.checkpoints import Checkpoints, Epoch, best_of
from training.data import Split
from training.distill import Answers, Copies, EarlierVersions
from training.errors import FitError
from training.layers import DropConnect, fold
from training.optimizers import Schedule, optimizer_of
from training.recipe import Recipe

# Batches that give batch normalisation its statistics for averaged weights.
STATISTICS_BATCHES = 200
MAX_OUTLIER_TARGET = 0.101  # largest probability in an outlier's target, which is uniform
VALIDATION_BATCH = 500  # images; bounds the memory of a validation


@dataclass(frozen=True)
class Step:
    """A finished training step, for a progress bar.

    Attributes:
        epoch: Number of finished epochs.
        epochs: Number of all epochs.
        step: Number of finished steps in this epoch.
        steps: Number of steps in an epoch.
        loss: Mean loss of this epoch so far, nats.
        accuracy: Share of this epoch's digits that were right so far, 0..1.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class Fitted:
    """The result of a run.

    Attributes:
        network: The network with the weights of one epoch, made of stock layers.
        history: The figures of every finished epoch, including those before a resume.
        epoch: The epoch, counted from 1, whose weights the network has.
        snapshots: The folder with every epoch's weights (`training.snapshots`).
        refitted: The network after the recipe's refit, if it has one. This network is published;
            the held-out digits are measured with `network`, which has not seen them.
        teachers: Versions of the models whose answers the network learned, by name.
        uncalibrated: Of an ensemble, whose members are calibrated when they are joined: its
            probabilities on the held-out digits before that, `[N, 10]`.
    """

    network: keras.Model
    history: list[Epoch]
    epoch: int
    snapshots: Path
    refitted: keras.Model | None = None
    teachers: Mapping[str, int] = field(default_factory=dict)
    uncalibrated: NDArray[np.float32] | None = None


def fit(
    recipe: Recipe,
    train: Split,
    validation: Split,
    folder: Path,
    *,
    seed: int,
    resume: bool = False,
    copies: Copies | None = None,
    answers: Answers | None = None,
    earlier: EarlierVersions | None = None,
    start: keras.Model | None = None,
    tensorboard: Path | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Fitted:
    """Train a recipe's network.

    A finished run keeps its last epoch: the learning rate has fallen to 0 by then, and an epoch
    picked from the middle would only be lucky on the validation digits. If the recipe averages, the
    run keeps the average of the weights; the figures of the epochs are those of the weights
    themselves. Ctrl-C ends a run early and keeps the epoch with the lowest validation loss.

    Args:
        recipe: What to train and how.
        train: Digits to learn from.
        validation: Held-out digits, measured after every epoch.
        folder: Folder for the checkpoints and `history.json`.
        seed: Seed of initial weights, order, augmentation and dropout. Two runs with the same seed
            on the same machine give the same figures.
        resume: Continue after the last finished epoch in `folder`.
        copies: The digits to show instead of `train`, for a recipe with copies.
        answers: The teachers' answers on `train`, for a recipe with teachers and without copies.
        earlier: Earlier versions of the network, for a recipe that names some.
        start: A network of the same form; the run starts with its weights.
        tensorboard: Folder for TensorBoard's logs: the figures of every epoch and histograms of the
            weights. A resumed run adds to them.
        on_step: Called after every step.
        on_epoch: Called after every epoch.

    Returns:
        The network and its history.

    Raises:
        FitError: There is nothing to resume in `folder`, or it holds a run with another recipe or
            seed; or a recipe with teachers got no answers of theirs.
        KeyboardInterrupt: Ctrl-C before the end of the first epoch.
    """
    if recipe.teachers and copies is None and answers is None:
        raise FitError(
            f"The recipe {recipe.name!r} learns from {' and '.join(recipe.teachers)};"
            " train it with `digitscope distill`."
        )
    _make_deterministic(seed)
    network = recipe.build(**recipe.options)
    if start:
        network.set_weights(start.get_weights())
    _set_precision(network, recipe.precision)
    trainee = _compile(network, recipe, steps=-(-len(train) // recipe.batch_size))
    taught = copies or answers
    teachers = taught.teachers if taught else {}
    run = {"recipe": recipe.describe(), "seed": seed, "digits": len(train), "teachers": teachers}
    checkpoints = Checkpoints(folder, run)
    history = checkpoints.restore(trainee) if resume else checkpoints.clear()
    targets = answers.probabilities if answers else None
    batches = Batches(
        train, recipe, seed, len(history), copies=copies, answers=targets, earlier=earlier
    )
    callbacks: list[keras.callbacks.Callback] = [
        _Recorder(checkpoints, batches, history, recipe.epochs, on_step, on_epoch)
    ]
    if tensorboard:
        callbacks.append(
            keras.callbacks.TensorBoard(tensorboard, histogram_freq=1, write_graph=False)
        )
    try:
        _train(trainee, batches, validation, recipe.epochs, callbacks)
    except KeyboardInterrupt:
        if not history:
            raise
    epoch = recipe.epochs
    if len(history) < recipe.epochs:
        epoch = best_of(history)
        trainee.load_weights(checkpoints.weights(epoch))
    elif recipe.averaging:
        batches.epoch = recipe.epochs
        _average(trainee, batches)
    _set_precision(network, "float32")
    return Fitted(fold(network), history, epoch, checkpoints.snapshots, teachers=teachers)


class DigitAccuracy(keras.metrics.Metric):
    """Share of the digits that are read as their target says; outliers do not count."""

    def __init__(self, name: str = "accuracy") -> None:
        """Start with no digits."""
        super().__init__(name=name)
        self.right = self.add_variable(shape=(), initializer="zeros", name="right")
        self.digits = self.add_variable(shape=(), initializer="zeros", name="digits")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch of target distributions `[B, 10]` and logits `[B, 10]`."""
        ops = keras.ops
        is_digit = ops.cast(ops.max(y_true, axis=-1) > 0.5, "float32")
        is_right = ops.cast(
            ops.equal(ops.argmax(y_true, axis=-1), ops.argmax(y_pred, axis=-1)), "float32"
        )
        self.right.assign_add(ops.sum(is_right * is_digit))
        self.digits.assign_add(ops.sum(is_digit))

    def result(self) -> Any:
        """Return the share, 0..1."""
        return self.right / keras.ops.maximum(self.digits, 1)


class _Recorder(keras.callbacks.Callback):
    """Reports steps and epochs, keeps the history and writes the checkpoints."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        batches: Batches,
        history: list[Epoch],
        epochs: int,
        on_step: Callable[[Step], None],
        on_epoch: Callable[[Epoch], None],
    ) -> None:
        super().__init__()
        self.checkpoints, self.batches, self.history = checkpoints, batches, history
        self.epochs, self.steps = epochs, len(batches)
        self.on_step, self.report = on_step, on_epoch
        self.started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.started = time.monotonic()
        self.batches.epoch = epoch
        # Keras saves no random states. Dropout starts each epoch from its number, so that a resumed
        # run drops the same values as an uninterrupted one.
        dropouts = [
            layer
            for layer in self.model.layers
            if isinstance(layer, keras.layers.Dropout | DropConnect)
        ]
        for index, layer in enumerate(dropouts):
            state = layer.seed_generator.state
            start = [self.batches.seed * len(dropouts) + index, epoch * self.steps]
            state.assign(keras.ops.cast(start, state.dtype))

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        self.on_step(
            Step(
                epoch=len(self.history),
                epochs=self.epochs,
                step=batch + 1,
                steps=self.steps,
                loss=logs["loss"],
                accuracy=logs["accuracy"],
            )
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        finished = Epoch(
            epoch=epoch + 1,
            loss=float(logs["loss"]),
            accuracy=float(logs["accuracy"]),
            val_loss=float(logs["val_loss"]),
            val_accuracy=float(logs["val_accuracy"]),
            learning_rate=float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            seconds=round(time.monotonic() - self.started, 1),
        )
        self.checkpoints.save(self.model, [*self.history, finished])
        self.history.append(finished)  # after saving: an interrupted save has not finished it
        self.report(finished)


def _train(
    trainee: keras.Model,
    batches: Batches,
    validation: Split,
    epochs: int,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    """Train from the batches' epoch to the last one."""
    held_out = validation.images[..., None].astype(np.float32), one_hot(validation.labels)
    if keras.backend.backend() == "jax":
        fit_by_epoch(trainee, batches, held_out, epochs=epochs, callbacks=callbacks)
        return
    trainee.fit(
        batches,
        epochs=epochs,
        initial_epoch=batches.epoch,
        validation_data=held_out,
        validation_batch_size=VALIDATION_BATCH,
        callbacks=callbacks,
        shuffle=False,  # Batches has its own order, which a resumed run repeats
        verbose=0,
    )


def _make_deterministic(seed: int) -> None:
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _set_precision(network: keras.Sequential, precision: str) -> None:
    """Let the hidden layers of a network compute in a precision; the weights stay float32."""
    for layer in network.layers:
        if layer.name not in ("normalise", "logits", "softmax"):
            layer.dtype_policy = precision


def _compile(network: keras.Sequential, recipe: Recipe, steps: int) -> keras.Model:
    """Return a model from the input to the logits that shares the network's weights, to be trained.

    The loss is taken on logits. On softmax outputs Keras clips the probabilities, and a badly
    misread digit would give no gradient.
    """
    trainee = keras.Model(network.inputs[0], network.get_layer("logits").output)
    optimizer = optimizer_of(recipe, Schedule(recipe, steps))
    optimizer.build(trainee.trainable_variables)
    trainee.compile(
        optimizer,
        loss=loss_of(recipe),
        metrics=[DigitAccuracy()],
        # Under TensorFlow on 2 cores, a step of the classic network takes 2.4 times as long with
        # XLA (measured).
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    return trainee


def loss_of(recipe: Recipe) -> Callable[[Any, Any], Any]:
    """Return the cross-entropy of logits, plus that of the recipe's margin for the score."""
    cross_entropy: Callable[[Any, Any], Any] = keras.losses.CategoricalCrossentropy(
        from_logits=True
    )
    margin, ops = recipe.margin, keras.ops
    if not margin:
        return cross_entropy

    def loss(targets: Any, logits: Any) -> Any:
        score = ops.logsumexp(logits, axis=-1)
        is_outlier = ops.max(targets, axis=-1) < MAX_OUTLIER_TARGET
        lacking = ops.relu(margin.digits - score)
        excess = ops.relu(score - margin.outliers)
        beyond = ops.square(ops.where(is_outlier, excess, lacking))
        return cross_entropy(targets, logits) + margin.weight * ops.mean(beyond)

    return loss


def _average(trainee: keras.Model, batches: Batches) -> None:
    """Use the averaged weights, and compute batch normalisation's statistics for them.

    The statistics from training belong to the weights before averaging (Izmailov et al., 2018).

    Args:
        trainee: A model whose optimizer keeps the averages.
        batches: The first `STATISTICS_BATCHES` of these give the statistics.
    """
    trainee.optimizer.finalize_variable_values(trainee.trainable_variables)
    normalisations = [
        layer for layer in trainee.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in normalisations]
    for index in range(min(len(batches), STATISTICS_BATCHES)):
        for layer in normalisations:
            layer.momentum = index / (index + 1)  # turns the moving average into a plain mean
        trainee(batches[index][0], training=True)
    for layer, momentum in zip(normalisations, momenta, strict=True):
        layer.momentum = momentum
