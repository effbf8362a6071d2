"""Checkpoints of a training run: the last and the best weights, and the history of figures."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras

from training import snapshots
from training.errors import FitError

REFIT = "refit"  # subfolder of a run: the checkpoints of its refit


@dataclass(frozen=True)
class Epoch:
    """Figures of one epoch. Losses are mean negative log-likelihoods in nats, accuracies 0..1.

    The training figures are measured during training, on augmented digits and with dropout. The
    loss includes the outliers, the accuracy does not.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


def best_of(history: Sequence[Epoch]) -> int:
    """Return the number of the epoch, counted from 1, with the lowest validation loss."""
    return min(history, key=lambda epoch: epoch.val_loss).epoch


class Checkpoints:
    """A folder with the weights of the last and the best epoch, and the run's history."""

    def __init__(self, folder: Path, run: dict[str, Any]) -> None:
        """Use a folder for a run.

        Args:
            folder: The folder.
            run: What identifies the run: recipe, seed, number of digits, teachers.
        """
        self.folder, self.run = folder, run
        self.state, self.snapshots = folder / "history.json", folder / "snapshots"

    def weights(self, epoch: int) -> Path:
        """Return the file of an epoch's weights and optimizer state."""
        return self.folder / f"epoch-{epoch:03}.weights.h5"

    def clear(self) -> list[Epoch]:
        """Delete an earlier run in this folder, with its refit; return an empty history."""
        self.snapshots.mkdir(parents=True, exist_ok=True)
        for path in (*self.folder.glob("*.weights.h5"), *self.snapshots.iterdir(), self.state):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder / REFIT, ignore_errors=True)
        return []

    def save(self, trainee: keras.Model, history: list[Epoch]) -> None:
        """Write the last epoch. A crash at any point leaves the epoch before it intact."""
        trainee.save_weights(self.weights(len(history)))
        snapshots.save(trainee, self.snapshots / snapshots.file_name(len(history)))
        temporary = self.state.with_suffix(".tmp")
        temporary.write_text(
            json.dumps({"run": self.run, "epochs": [asdict(e) for e in history]}, indent=1)
        )
        temporary.replace(self.state)
        needed = {self.weights(epoch) for epoch in (len(history), best_of(history))}
        for path in set(self.folder.glob("*.weights.h5")) - needed:
            path.unlink()

    def restore(self, trainee: keras.Model) -> list[Epoch]:
        """Load the last epoch's weights and optimizer state; return the history.

        Raises:
            FitError: The folder holds no run, or a different one.
        """
        if not self.state.is_file():
            raise FitError(f"{self.folder} holds no run to resume; start without --resume.")
        state = json.loads(self.state.read_text())
        if state["run"] != self.run:
            raise FitError(
                f"{self.folder} holds a run with another recipe, seed, data or teacher. Start a new"
                f" run in another folder, or resume with the settings of this one: {state['run']}."
            )
        history = [Epoch(**epoch) for epoch in state["epochs"]]
        trainee.load_weights(self.weights(len(history)))
        return history
