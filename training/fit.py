"""The training loop: sees training and validation digits, never the test split.

Writes checkpoints after every epoch, so that a stopped run keeps its best epoch and can go on.
Knows recipes and folders of checkpoints; knows nothing of bundles or of the service.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training import snapshots
from training.accelerator import fit_by_epoch
from training.batches import Batches, one_hot
from training.data import Split
from training.distill import Copies
from training.layers import DropConnect, fold
from training.optimizers import optimizer_of
from training.recipe import Recipe

REFIT = "refit"  # the folder of what goes on from a run, in that of the run
STATISTICS_BATCHES = 200  # that batch normalisation's statistics are taken from after averaging


@dataclass(frozen=True)
class Epoch:
    """Figures of one epoch: losses in nats (mean negative log-likelihood), shares of 1.

    The training figures are taken while training, on augmented digits with dropout; the loss
    includes the outliers, the accuracy does not.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for a progress bar: step of steps in this epoch, and the last figures."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class Fitted:
    """What a run leaves behind.

    Attributes:
        network: The network with the weights of one epoch, made of stock layers.
        history: The figures of every finished epoch, resumed ones too.
        epoch: The epoch, counted from 1, whose weights the network has.
        snapshots: The folder with every epoch's weights (`training.snapshots`).
        refitted: The network after its recipe's `refit`, if it has one: what is published. The
            held-out digits can be measured only with `network`, which has not seen them.
        teachers: The models whose answers it learned, in which versions.
        uncalibrated: Of networks that were calibrated when they were joined, what they said of the
            held-out digits before that: probabilities `[N, 10]`.
    """

    network: keras.Model
    history: list[Epoch]
    epoch: int
    snapshots: Path
    refitted: keras.Model | None = None
    teachers: Mapping[str, int] = field(default_factory=dict)
    uncalibrated: NDArray[np.float32] | None = None


class FitError(Exception):
    """A run that cannot go on: nothing to resume, or checkpoints of another recipe."""


def fit(
    recipe: Recipe,
    train: Split,
    validation: Split,
    folder: Path,
    *,
    seed: int,
    resume: bool = False,
    copies: Copies | None = None,
    start: keras.Model | None = None,
    tensorboard: Path | None = None,
    on_step: Callable[[Progress], None] = lambda progress: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Fitted:
    """Train a recipe's network.

    A run that comes to its end keeps its last epoch: the learning rate has fallen to 0 by then, and
    an epoch picked from the middle of the schedule would only be luck on the validation digits. If
    the recipe averages, it keeps the average of the weights instead; the figures of the epochs are
    always those of the weights themselves.
    Ctrl-C ends a run early and keeps the epoch with the lowest validation loss.

    Args:
        recipe: What to train and how.
        train: Digits to learn from.
        validation: Held-out digits that every epoch is measured on.
        folder: Where the checkpoints and `history.json` go.
        seed: Of initial weights, order, augmentation and dropout. Two runs with the same seed on
            the same machine give the same figures.
        resume: Go on after the last finished epoch in `folder`.
        copies: What to show instead of `train`, for a recipe that names teachers.
        start: A network of the recipe's form, whose weights the run begins with.
        tensorboard: Folder for TensorBoard's logs: the figures of every epoch and histograms of the
            weights. A resumed run adds to them.
        on_step: Called after every step.
        on_epoch: Called after every epoch.

    Returns:
        The network and how it came to be.

    Raises:
        FitError: Nothing to resume in `folder`, or it holds a run of another recipe or seed, or a
            recipe with teachers has none.
        KeyboardInterrupt: Ctrl-C before the first epoch was finished.
    """
    if recipe.teachers and not copies:
        raise FitError(
            f"The recipe {recipe.name!r} learns from {' and '.join(recipe.teachers)};"
            " `digitscope distill` brings them."
        )
    _make_deterministic(seed)
    network = recipe.build(**recipe.options)
    if start:
        network.set_weights(start.get_weights())
    _compute_in(recipe.precision, network)
    steps = -(-len(train) // recipe.batch_size)
    trainee = _compile(network, recipe, steps)
    teachers = copies.teachers if copies else {}
    run = {"recipe": recipe.describe(), "seed": seed, "digits": len(train), "teachers": teachers}
    checkpoints = Checkpoints(folder, run)
    history = checkpoints.restore(trainee) if resume else checkpoints.clear()
    batches = Batches(train, recipe, seed, epoch=len(history), copies=copies)
    callbacks: list[keras.callbacks.Callback] = [
        _Watcher(checkpoints, batches, history, recipe.epochs, on_step, on_epoch)
    ]
    if tensorboard:
        callbacks.append(
            keras.callbacks.TensorBoard(tensorboard, histogram_freq=1, write_graph=False)
        )
    known = validation.images[..., None].astype(np.float32), one_hot(validation.labels)
    try:
        if keras.backend.backend() == "jax":
            fit_by_epoch(trainee, batches, known, epochs=recipe.epochs, callbacks=callbacks)
        else:
            trainee.fit(
                batches,
                epochs=recipe.epochs,
                initial_epoch=len(history),
                validation_data=known,
                validation_batch_size=500,
                callbacks=callbacks,
                shuffle=False,  # Batches has its own order, which a resumed run repeats
                verbose=0,
            )
    except KeyboardInterrupt:
        if not history:
            raise
    kept = recipe.epochs
    if len(history) < recipe.epochs:
        kept = best_of(history)
        trainee.load_weights(checkpoints.weights(kept))
    elif recipe.averaging:
        _average(trainee, Batches(train, recipe, seed, epoch=recipe.epochs, copies=copies))
    _compute_in("float32", network)
    return Fitted(fold(network), history, kept, checkpoints.snapshots, teachers=teachers)


def best_of(history: Sequence[Epoch]) -> int:
    """Return the epoch, counted from 1, with the lowest validation loss."""
    return min(history, key=lambda epoch: epoch.val_loss).epoch


class DigitAccuracy(keras.metrics.Metric):
    """Share of the digits that are read rightly, as their target says; outliers do not count."""

    def __init__(self, name: str = "accuracy") -> None:
        """Start at zero of zero."""
        super().__init__(name=name)
        self.right = self.add_variable(shape=(), initializer="zeros", name="right")
        self.digits = self.add_variable(shape=(), initializer="zeros", name="digits")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch of target distributions `[B, 10]` and logits `[B, 10]`."""
        ops = keras.ops
        certain = ops.cast(ops.max(y_true, axis=-1) > 0.5, "float32")
        hits = ops.cast(
            ops.equal(ops.argmax(y_true, axis=-1), ops.argmax(y_pred, axis=-1)), "float32"
        )
        self.right.assign_add(ops.sum(hits * certain))
        self.digits.assign_add(ops.sum(certain))

    def result(self) -> Any:
        """Return the share, 0..1."""
        return self.right / keras.ops.maximum(self.digits, 1)


class Checkpoints:
    """A folder with the last and the best epoch's weights and the history of the run."""

    def __init__(self, folder: Path, run: dict[str, Any]) -> None:
        """Use `folder` for the run that `run` describes."""
        self.folder, self.run = folder, run
        self.state, self.snapshots = folder / "history.json", folder / "snapshots"

    def weights(self, epoch: int) -> Path:
        """Return the file of an epoch's weights, with the optimizer's state."""
        return self.folder / f"epoch-{epoch:03}.weights.h5"

    def clear(self) -> list[Epoch]:
        """Forget an earlier run in this folder, and what went on from it."""
        self.snapshots.mkdir(parents=True, exist_ok=True)
        for path in (*self.folder.glob("*.weights.h5"), *self.snapshots.iterdir(), self.state):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder / REFIT, ignore_errors=True)
        return []

    def save(self, trainee: keras.Model, history: list[Epoch]) -> None:
        """Write the epoch that has ended; a crash at any point leaves the one before whole."""
        trainee.save_weights(self.weights(len(history)))
        snapshots.save(trainee, self.snapshots / snapshots.file_name(len(history)))
        written = self.state.with_suffix(".tmp")
        written.write_text(
            json.dumps({"run": self.run, "epochs": [asdict(e) for e in history]}, indent=1)
        )
        written.replace(self.state)
        kept = {self.weights(epoch) for epoch in (len(history), best_of(history))}
        for path in set(self.folder.glob("*.weights.h5")) - kept:
            path.unlink()

    def restore(self, trainee: keras.Model) -> list[Epoch]:
        """Load the last epoch into `trainee`, optimizer and dropout state too."""
        if not self.state.is_file():
            raise FitError(f"{self.folder} holds no run to resume; start a new one.")
        state = json.loads(self.state.read_text())
        if state["run"] != self.run:
            raise FitError(
                f"{self.folder} holds a run of another recipe, seed, data or teacher; start a new"
                f" one elsewhere, or go on with what it was started with: {state['run']}."
            )
        history = [Epoch(**epoch) for epoch in state["epochs"]]
        trainee.load_weights(self.weights(len(history)))
        return history


class _Watcher(keras.callbacks.Callback):
    """Reports steps, keeps the history and writes the checkpoints."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        batches: Batches,
        history: list[Epoch],
        epochs: int,
        on_step: Callable[[Progress], None],
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
        # Keras saves no random states: dropout starts each epoch from its number instead, so that a
        # resumed run drops what an uninterrupted one would.
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
            Progress(
                len(self.history),
                self.epochs,
                batch + 1,
                self.steps,
                logs["loss"],
                logs["accuracy"],
            )
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        done = Epoch(
            epoch=epoch + 1,
            loss=float(logs["loss"]),
            accuracy=float(logs["accuracy"]),
            val_loss=float(logs["val_loss"]),
            val_accuracy=float(logs["val_accuracy"]),
            learning_rate=float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            seconds=round(time.monotonic() - self.started, 1),
        )
        self.checkpoints.save(self.model, [*self.history, done])
        self.history.append(done)  # only now: a run that is stopped above has not finished it
        self.report(done)


def _make_deterministic(seed: int) -> None:
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _compute_in(precision: str, network: keras.Sequential) -> None:
    """Let the hidden layers of a network compute in `precision`; its weights stay float32."""
    for layer in network.layers:
        if layer.name not in ("normalise", "logits", "softmax"):
            layer.dtype_policy = precision


def _compile(network: keras.Sequential, recipe: Recipe, steps: int) -> keras.Model:
    """Return a view of `network` up to its logits, sharing its weights, compiled for training.

    The loss is taken on logits: on softmax outputs Keras clips the probabilities, and a digit that
    is badly misread would give no gradient.
    """
    trainee = keras.Model(network.inputs[0], network.get_layer("logits").output)
    optimizer = optimizer_of(recipe, _Schedule(recipe, steps))
    optimizer.build(trainee.trainable_variables)
    trainee.compile(
        optimizer,
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=[DigitAccuracy()],
        # Measured on 2 cores: XLA takes 2.4 times as long for a step of the classic network under
        # TensorFlow.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    return trainee


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Warm-up and a cosine to 0, then the finish's own cosine; a recipe may go without."""

    def __init__(self, recipe: Recipe, steps: int) -> None:
        self.main = keras.optimizers.schedules.CosineDecay(
            0.0 if recipe.warm_up else recipe.learning_rate,
            decay_steps=max(1, steps * (recipe.main_epochs - recipe.warm_up)),
            alpha=0.0 if recipe.cosine else 1.0,
            warmup_target=recipe.learning_rate if recipe.warm_up else None,
            warmup_steps=steps * recipe.warm_up,
        )
        self.finish, self.begins = None, steps * recipe.main_epochs
        if recipe.finish:
            self.finish = keras.optimizers.schedules.CosineDecay(
                recipe.finish.learning_rate, decay_steps=steps * recipe.finish.epochs
            )

    def __call__(self, step: Any) -> Any:
        if not self.finish:
            return self.main(step)
        return keras.ops.where(
            step < self.begins,
            self.main(step),
            self.finish(keras.ops.maximum(step - self.begins, 0)),
        )

    def get_config(self) -> dict[str, Any]:
        return {}


def _average(trainee: keras.Model, batches: Batches) -> None:
    """Put the averaged weights in, and take batch normalisation's statistics anew under them.

    The statistics of the training belong to the weights that came by (Izmailov et al., 2018).

    Args:
        trainee: Its optimizer keeps the averages.
        batches: Some of them give the statistics, in training mode as always.
    """
    trainee.optimizer.finalize_variable_values(trainee.trainable_variables)
    normalising = [
        layer for layer in trainee.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in normalising]
    for index in range(min(len(batches), STATISTICS_BATCHES)):
        for layer in normalising:
            layer.momentum = index / (index + 1)  # makes the moving average a plain mean
        trainee(batches[index][0], training=True)
    for layer, momentum in zip(normalising, momenta, strict=True):
        layer.momentum = momentum
