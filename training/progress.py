"""The progress bar of a training run."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.checkpoints import Epoch
from training.fit import Step
from training.recipe import Recipe


class ProgressBar:
    """A bar over all steps of a run with the time left, and a line for each finished epoch."""

    def __init__(self, recipe: Recipe, digits: int) -> None:
        """Prepare a bar for a run of a recipe on a number of digits."""
        steps = -(-digits // recipe.batch_size)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps, left:"),
            TimeRemainingColumn(),
            console=Console(soft_wrap=True, highlight=False),
        )
        self._task = self._progress.add_task(
            f"epoch 1 of {recipe.epochs}", total=steps * recipe.epochs
        )

    def __enter__(self) -> "ProgressBar":
        """Show the bar."""
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop updating the bar."""
        self._progress.stop()

    def on_step(self, step: Step) -> None:
        """Move the bar to a finished step."""
        self._progress.update(
            self._task,
            completed=step.epoch * step.steps + step.step,
            description=f"epoch {step.epoch + 1} of {step.epochs}, loss {step.loss:.4f}",
        )

    def on_epoch(self, epoch: Epoch) -> None:
        """Print the figures of a finished epoch."""
        self._progress.console.print(
            f"epoch {epoch.epoch:3}: training loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.2%};"
            f" validation loss {epoch.val_loss:.5f}, accuracy {epoch.val_accuracy:.2%};"
            f" {epoch.seconds:.0f} s"
        )
