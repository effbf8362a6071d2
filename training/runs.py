"""Runs of the training commands: train, refit, publish, with progress on the terminal.

Imports Keras. The commands import this module after they have checked recipe and data.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import typer

from app.bundle import Bundle, Metadata
from app.terminal import say
from training import data as mnist
from training import snapshots
from training.checkpoints import REFIT
from training.data import Split
from training.distill import Answers, Copies, EarlierVersions, Voting
from training.ensemble import join_fitted
from training.errors import FitError
from training.fit import Fitted, fit
from training.progress import ProgressBar
from training.publish import Splits, Trained, publish
from training.recipe import Ensemble, Recipe
from training.target import Target
from training.teachers import TEACHERS

INTERRUPTED = 130  # exit code of a process that Ctrl-C stopped


@dataclass(frozen=True)
class Run:
    """The folders and the start of a training run.

    Attributes:
        folder: Folder of the checkpoints.
        seed: Seed of weights, order, augmentation and dropout.
        resume: Continue after the last finished epoch.
        tensorboard: Folder of TensorBoard's logs, or None.
    """

    folder: Path
    seed: int
    resume: bool
    tensorboard: Path | None

    def subfolder(self, name: str) -> "Run":
        """Return the same run in subfolders of this name."""
        board = self.tensorboard and self.tensorboard / name
        return replace(self, folder=self.folder / name, tensorboard=board)

    def resume_if_started(self) -> "Run":
        """Return the same run; it starts from the beginning if there is nothing to resume."""
        started = (self.folder / "history.json").is_file()
        return replace(self, resume=self.resume and started)


def train_and_publish(
    recipe: Recipe,
    source: Path | None,
    digits: Split,
    run: Run,
    target: Target,
    teachers: Sequence[Bundle] = (),
) -> Metadata:
    """Train a recipe and write its bundle.

    Args:
        recipe: The recipe.
        source: Where the test split is read from. It is read for a finished run that is published.
        digits: MNIST's training split.
        run: The run's folders.
        target: Where the bundle is written.
        teachers: Bundles of the models that the recipe learns from. The folder `teachers` beside
            them holds the weights that the recipe starts from, if it names any.
    """
    train, validation = mnist.hold_out(digits, recipe.validation_count)
    unrefitted = _ask(recipe, teachers, train, refitted=False)
    start = _open_stored(recipe, recipe.start, teachers) if recipe.start else None
    earlier = _open_earlier(recipe, teachers, train)
    learn = partial(
        _fit, recipe, train, validation, teacher=unrefitted, start=start, earlier=earlier
    )
    fitted = learn(run)
    if recipe.seeds and len(fitted.history) == recipe.epochs:
        _add_seeds(recipe, fitted, run, learn)
    finished = len(fitted.history) == recipe.epochs
    if recipe.refit and finished:
        published = _ask(recipe, teachers, digits, refitted=True)
        fitted = _refit(recipe, fitted, digits, validation, run, published, earlier)
    _stop_without_tensorflow("--resume")
    say("Calibrating, compiling and evaluating ...")
    opens_test = finished and target.published
    splits = Splits(validation, mnist.load(source, "test") if opens_test else None, train)
    trained = Trained(recipe, run.seed, fitted)
    return publish(trained, splits, target.folder, after_version=target.after_version)


def join_and_publish(
    ensemble: Ensemble,
    source: Path | None,
    digits: Split,
    runs: Path,
    tensorboard: Path | None,
    target: Target,
) -> Metadata:
    """Train the members that are not finished, join all of them and write one bundle.

    Args:
        ensemble: The ensemble.
        source: Where the test split is read from, if the ensemble is published.
        digits: MNIST's training split.
        runs: Folder of the checkpoints.
        tensorboard: Folder of TensorBoard's logs, or None.
        target: Where the bundle is written.
    """
    train, validation = mnist.hold_out(digits, ensemble.members[0].validation_count)
    members = {}
    for recipe, seed in zip(ensemble.members, ensemble.seeds, strict=True):
        run = Run(runs, seed, True, tensorboard).subfolder(ensemble.name).subfolder(recipe.name)
        fitted = _fit(recipe, train, validation, run.resume_if_started())
        if len(fitted.history) < recipe.epochs:
            raise typer.Exit(INTERRUPTED)
        if recipe.refit:
            fitted = _refit(recipe, fitted, digits, validation, run)
        members[recipe.name] = fitted
    _stop_without_tensorflow("the same command")
    say("Joining, calibrating, compiling and evaluating ...")
    trained = Trained(ensemble, None, join_fitted(members, validation))
    test = mnist.load(source, "test") if target.published else None
    splits = Splits(validation, test, train)
    return publish(trained, splits, target.folder, after_version=target.after_version)


def uses_tensorflow() -> bool:
    """Tell whether Keras runs on TensorFlow, which alone can compile what is served."""
    return bool(keras.backend.backend() == "tensorflow")


def _stop_without_tensorflow(command: str) -> None:
    if not uses_tensorflow():
        say(f"Training is finished. Under TensorFlow, {command} writes the bundle.")
        raise typer.Exit


def _open_stored(recipe: Recipe, name: str, teachers: Sequence[Bundle]) -> keras.Model:
    """Return a recipe's network with the weights of a file in the folder `teachers`.

    Raises:
        FitError: The file does not exist.
    """
    path = teachers[0].folder.parent / TEACHERS / name
    if not path.is_file():
        raise FitError(
            f"The recipe {recipe.name!r} needs the weights in {path}, which does not exist."
            " Restore it, or leave it out of the recipe and train for longer."
        )
    network = recipe.build(**recipe.options)
    snapshots.restore(network, path)
    return network


def _open_earlier(
    recipe: Recipe, teachers: Sequence[Bundle], digits: Split
) -> EarlierVersions | None:
    """Return the earlier versions that a recipe learns from, if it names any."""
    if not recipe.earlier:
        return None
    networks = [_open_stored(recipe, name, teachers) for name in recipe.earlier]
    return EarlierVersions(networks, digits.images)


def _add_seeds(recipe: Recipe, fitted: Fitted, run: Run, learn: Callable[[Run], Fitted]) -> None:
    """Train with the recipe's further seeds, and give the network the mean weights of all runs."""
    weights = [fitted.network.get_weights()]
    for seed in recipe.seeds:
        again = replace(run, seed=seed).subfolder(f"seed-{seed}").resume_if_started()
        other = learn(again)
        if len(other.history) < recipe.epochs:
            raise typer.Exit(INTERRUPTED)
        weights.append(other.network.get_weights())
    fitted.network.set_weights([np.mean(same, axis=0) for same in zip(*weights, strict=True)])


def _ask(
    recipe: Recipe, teachers: Sequence[Bundle], digits: Split, *, refitted: bool
) -> Voting | Answers | None:
    """Return the teachers, or their answers on the digits if the recipe has no copies."""
    if not teachers:
        return None
    if not recipe.copies:
        return Answers.of(teachers, digits)
    return Voting(teachers) if refitted else Voting(teachers, pupil_digits=digits.images)


def _refit(
    recipe: Recipe,
    fitted: Fitted,
    digits: Split,
    validation: Split,
    run: Run,
    teacher: Voting | Answers | None = None,
    earlier: EarlierVersions | None = None,
) -> Fitted:
    """Continue a trained network on all digits, as the recipe says; exit if it is interrupted.

    The validation figures in the progress are of digits that the network now sees.
    """
    refit = recipe.refitting()
    run = replace(run, resume=True).subfolder(REFIT).resume_if_started()
    refitted = _fit(refit, digits, validation, run, teacher, fitted.network, earlier)
    if len(refitted.history) < refit.epochs:
        raise typer.Exit(INTERRUPTED)
    return replace(fitted, refitted=refitted.network)


def _fit(
    recipe: Recipe,
    digits: Split,
    validation: Split,
    run: Run,
    teacher: Voting | Answers | None = None,
    start: keras.Model | None = None,
    earlier: EarlierVersions | None = None,
) -> Fitted:
    """Collect the teachers' answers, then train with a progress bar."""
    copies = None
    if isinstance(teacher, Voting):
        copies = Copies(run.folder / "copies", digits, recipe, teacher, run.seed)
        copies.make(lambda copy: say(f"Asking the teachers: copy {copy + 1}/{copies.count}"))
    action = "resuming" if run.resume else "starting"
    say(f"{recipe.name}: {action}, {len(digits):,} digits")
    with ProgressBar(recipe, len(digits)) as bar:
        fitted = fit(
            recipe,
            digits,
            validation,
            run.folder,
            seed=run.seed,
            resume=run.resume,
            copies=copies,
            answers=teacher if isinstance(teacher, Answers) else None,
            earlier=earlier,
            start=start,
            tensorboard=run.tensorboard,
            on_step=bar.on_step,
            on_epoch=bar.on_epoch,
        )
    if len(fitted.history) < recipe.epochs:
        say(f"Stopped after {len(fitted.history)} of {recipe.epochs} epochs.")
    return fitted
