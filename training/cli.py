"""The commands of the training, from `train` to `card`.

Keras, TensorFlow and Rich are imported when a command runs, so that the service's stay quick.
"""

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import fail, read_settings
from app.errors import DigitscopeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import keras

    from app.bundle import Bundle, Evaluation, Metadata
    from app.inference.litert_runtime import LiteRtRuntime
    from training import fit
    from training.data import Split
    from training.distill import Voting
    from training.recipe import Ensemble, Recipe

ROUNDING = 2e-4  # nats, and shares of 1
DataOption = Annotated[
    Path | None,
    typer.Option(
        help="A mnist.npz or a folder of IDX files; without it Keras downloads MNIST.",
        show_default=False,
    ),
]


OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Folder that gets the bundle, instead of DIGITSCOPE_MODEL_DIR."),
]
RunsOption = Annotated[Path, typer.Option(help="Folder for the checkpoints.")]
SeedOption = Annotated[int, typer.Option(help="Of weights, order, augmentation and dropout.")]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on after the last finished epoch.")
]
BoardOption = Annotated[
    Path | None,
    typer.Option("--tensorboard", help="Folder for TensorBoard's logs, one in it for each recipe."),
]


@dataclass(frozen=True)
class _Run:
    """Where a training keeps its checkpoints, and how it begins."""

    folder: Path
    seed: int
    resume: bool
    tensorboard: Path | None

    def within(self, name: str) -> "_Run":
        """Return this, in folders of a name below its own."""
        board = self.tensorboard and self.tensorboard / name
        return replace(self, folder=self.folder / name, tensorboard=board)

    def where_it_stands(self) -> "_Run":
        """Return this, to start afresh if there is nothing to resume."""
        started = (self.folder / "history.json").is_file()
        return replace(self, resume=self.resume and started)


def add_commands(cli: typer.Typer) -> None:
    """Add the training's commands to a command line."""
    cli.command()(train)
    cli.command()(distill)
    cli.command()(ensemble)
    cli.command()(recompile)
    cli.command()(augment)
    cli.command()(evaluate)
    cli.command()(card)


def _quiet_tensorflow() -> None:
    """Keep TensorFlow's remarks off the terminal; it reads this when it is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def train(
    recipe: Annotated[str, typer.Option(help="Name of a file in training/recipes.")] = "classic",
    data: DataOption = None,
    out_dir: OutOption = None,
    runs: RunsOption = Path("runs"),
    seed: SeedOption = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="The recipe 'quick': two minutes on two cores.")
    ] = False,
    resume: ResumeOption = False,
    tensorboard: BoardOption = None,
) -> None:
    """Train a recipe on MNIST and write its model bundle."""
    _quiet_tensorflow()
    run = _Run(runs, seed, resume, tensorboard)
    _make(_recipe("quick" if quick else recipe), data, out_dir, run)


def distill(
    recipe: Annotated[
        str, typer.Option(help="Name of a file in training/recipes that names teachers.")
    ] = "compact",
    data: DataOption = None,
    out_dir: OutOption = None,
    runs: RunsOption = Path("runs"),
    seed: SeedOption = 1,
    resume: ResumeOption = False,
    tensorboard: BoardOption = None,
) -> None:
    """Train a recipe on the answers of published models, and write its model bundle."""
    _quiet_tensorflow()
    from app.bundle import open_bundle

    chosen = _recipe(recipe)
    if not chosen.teachers:
        fail(f"The recipe {recipe!r} names no teachers; `digitscope train` trains it.")
        raise typer.Exit(2)
    try:
        models = read_settings().model_dir
        teachers = [open_bundle(models / name) for name in chosen.teachers]
    except DigitscopeError as error:
        fail(error.detail)
        raise typer.Exit(1) from error
    run = _Run(runs, seed, resume, tensorboard)
    _make(chosen, data, out_dir, run, teachers)


def ensemble(
    data: DataOption = None,
    out_dir: OutOption = None,
    runs: RunsOption = Path("runs"),
    tensorboard: BoardOption = None,
) -> None:
    """Train the ensemble's members, going on where each stands, and write them as one model."""
    _quiet_tensorflow()
    from training.recipes.ensemble import ENSEMBLE

    target = (out_dir or read_settings().model_dir) / ENSEMBLE.name
    with _failures("the same command"):
        metadata = _join_and_publish(ENSEMBLE, data, runs, tensorboard, target)
    _print_published(metadata, target)


def recompile(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    data: DataOption = None,
) -> None:
    """Compile a model's weights anew, measure it, and write its next version.

    For what the compilers have learned since; what training decided stays as it is.
    """
    _quiet_tensorflow()
    from app.bundle import open_bundle
    from training import data as mnist
    from training.publish import recompile as compile_anew

    with _failures():
        bundle = open_bundle(read_settings().model_dir / model)
        if not _under_tensorflow():
            fail("Only TensorFlow compiles: set KERAS_BACKEND=tensorflow.")
            raise typer.Exit(1)
        digits = mnist.load(data, "train")
        test = mnist.load(data, "test") if bundle.metadata.test else None
        seen, validation = mnist.hold_out(digits, bundle.metadata.validation.digits)
        metadata = compile_anew(bundle, validation, test, seen)
    _print_published(metadata, bundle.folder)


def _make(
    recipe: "Recipe",
    data: Path | None,
    out_dir: Path | None,
    run: "_Run",
    teachers: "Sequence[Bundle]" = (),
) -> None:
    """Train, publish and print the figures; end with 1 where that cannot be done."""
    target = (out_dir or read_settings().model_dir) / recipe.name
    with _failures("--resume"):
        metadata = _fit_and_publish(recipe, data, run.within(recipe.name), target, teachers)
    _print_published(metadata, target)


@contextmanager
def _failures(again: str | None = None) -> "Iterator[None]":
    """Say what went wrong, and what goes on with a training; end with its code."""
    from training.data import DataError
    from training.fit import FitError
    from training.publish import PublishError

    try:
        yield
    except (DataError, FitError, PublishError) as error:
        fail(str(error))
        raise typer.Exit(1) from error
    except DigitscopeError as error:
        fail(error.detail)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        goes_on = f"{again} goes on after the last finished epoch, if there is one."
        fail(f"Stopped; {goes_on if again else 'nothing is changed.'}")
        raise typer.Exit(130) from None


def _print_published(metadata: "Metadata", target: Path) -> None:
    _print_figures([metadata.validation, metadata.test])
    typer.echo(f"Wrote {target} (version {metadata.version}).")


def _recipe(name: str) -> "Recipe":
    from training.recipes import RECIPES

    if name not in RECIPES:
        fail(f"There is no recipe {name!r}; there are {', '.join(RECIPES)}.")
        raise typer.Exit(2)
    return RECIPES[name]


def _fit_and_publish(
    recipe: "Recipe",
    data: Path | None,
    run: "_Run",
    target: Path,
    teachers: "Sequence[Bundle]",
) -> "Metadata":
    """Train, and write the bundle to `target`; one that was stopped early reads no test split."""
    from training import data as mnist
    from training.distill import Voting
    from training.publish import Trained, publish

    digits = mnist.load(data, "train")
    train_split, validation = mnist.hold_out(digits, recipe.validation_count)
    blind = Voting(teachers, blind_for=train_split.images) if teachers else None
    fitted = _fit(recipe, train_split, validation, run, blind)
    whole = len(fitted.history) == recipe.epochs
    if recipe.refit and whole:
        seeing = Voting(teachers) if teachers else None
        fitted = _refit(recipe, fitted, digits, validation, run, seeing)
    _end_without_tensorflow("--resume")
    typer.echo("Calibrating, compiling and evaluating ...")
    trained = Trained(recipe, run.seed, fitted)
    test = mnist.load(data, "test") if whole else None
    return publish(trained, validation, test, target, train=train_split)


def _end_without_tensorflow(again: str) -> None:
    """End where only TensorFlow can go on: it compiles what is served."""
    if not _under_tensorflow():
        typer.echo(f"Under TensorFlow, {again} goes on from here, and publishes.")
        raise typer.Exit


def _under_tensorflow() -> bool:
    import keras

    return bool(keras.backend.backend() == "tensorflow")


def _join_and_publish(
    ensemble: "Ensemble", data: Path | None, runs: Path, tensorboard: Path | None, target: Path
) -> "Metadata":
    """Train the members that are not yet trained to their end, join them, publish the whole."""
    from training import data as mnist
    from training.ensemble import join_fitted
    from training.publish import Trained, publish

    count = ensemble.members[0].validation_count
    digits = mnist.load(data, "train")
    train_split, validation = mnist.hold_out(digits, count)
    members = {}
    for recipe, seed in zip(ensemble.members, ensemble.seeds, strict=True):
        run = _Run(runs, seed, True, tensorboard).within(ensemble.name).within(recipe.name)
        fitted = _fit(recipe, train_split, validation, run.where_it_stands())
        if len(fitted.history) < recipe.epochs:
            raise typer.Exit(130)
        if recipe.refit:
            fitted = _refit(recipe, fitted, digits, validation, run)
        members[recipe.name] = fitted
    _end_without_tensorflow("the same command")
    typer.echo("Joining, calibrating, compiling and evaluating ...")
    joined = join_fitted(members, validation)
    test, trained = mnist.load(data, "test"), Trained(ensemble, None, joined)
    return publish(trained, validation, test, target, train=train_split)


def _refit(
    recipe: "Recipe",
    fitted: "fit.Fitted",
    digits: "Split",
    validation: "Split",
    run: "_Run",
    teacher: "Voting | None" = None,
) -> "fit.Fitted":
    """Let a trained network go on over all digits, as its recipe says; end if that is stopped.

    What the progress says of validation is of digits that the network now sees.
    """
    from training.fit import REFIT

    again = recipe.refitting()
    run = replace(run, resume=True).within(REFIT).where_it_stands()
    refitted = _fit(again, digits, validation, run, teacher, start=fitted.network)
    if len(refitted.history) < again.epochs:
        raise typer.Exit(130)
    return replace(fitted, refitted=refitted.network)


def _fit(
    recipe: "Recipe",
    digits: "Split",
    validation: "Split",
    run: "_Run",
    teacher: "Voting | None" = None,
    start: "keras.Model | None" = None,
) -> "fit.Fitted":
    """Train with a progress bar, after the teachers have answered; say so if stopped early."""
    from training.distill import Copies
    from training.fit import fit as train_network

    copies = None
    if teacher:
        copies = Copies(run.folder / "copies", digits, recipe, teacher, run.seed)
        copies.make(lambda copy: typer.echo(f"Asking the teachers: copy {copy + 1}/{copies.count}"))
    typer.echo(f"{recipe.name}: {'going on' if run.resume else 'starting'}, {len(digits):,} digits")
    with _Bar(recipe, len(digits)) as bar:
        fitted = train_network(
            recipe,
            digits,
            validation,
            run.folder,
            seed=run.seed,
            resume=run.resume,
            copies=copies,
            start=start,
            tensorboard=run.tensorboard,
            on_step=bar.step,
            on_epoch=bar.epoch,
        )
    if len(fitted.history) < recipe.epochs:
        typer.echo(f"Stopped after {len(fitted.history)} of {recipe.epochs} epochs.")
    return fitted


def augment(
    preview: Annotated[Path, typer.Option(help="PNG file to write.")],
    recipe: Annotated[str, typer.Option(help="Name of a file in training/recipes.")] = "classic",
    data: DataOption = None,
    seed: Annotated[int, typer.Option(help="Of the choice of digits and of the changes.")] = 1,
) -> None:
    """Draw what a recipe's augmentation makes of digits."""
    _quiet_tensorflow()
    from app.render import to_png
    from training import data as mnist
    from training.preview import preview as draw

    chosen = _recipe(recipe)
    try:
        preview.write_bytes(to_png(draw(mnist.load(data, "train"), chosen, seed)))
    except (mnist.DataError, OSError) as error:
        fail(str(error))
        raise typer.Exit(1) from error
    typer.echo(f"Wrote {preview}.")


def evaluate(
    model: Annotated[
        str | None, typer.Argument(help="Name of the model; the default model if left out.")
    ] = None,
    data: DataOption = None,
    every: Annotated[bool, typer.Option("--all", help="Every model, in one table.")] = False,
) -> None:
    """Read MNIST's test split with a model as it is served; print the figures of its card."""
    from training import data as mnist

    values = read_settings()
    try:
        splits = mnist.load(data, "train"), mnist.load(data, "test")
        if every:
            _evaluate_all(values.model_dir, *splits)
        else:
            _evaluate_one(values.model_dir / (model or values.default_model), *splits)
    except mnist.DataError as error:
        fail(str(error))
        raise typer.Exit(1) from error
    except DigitscopeError as error:
        fail(error.detail)
        raise typer.Exit(1) from error


def _evaluate_one(folder: Path, train_split: "Split", test: "Split") -> None:
    from app.bundle import open_bundle

    bundle = open_bundle(folder)
    measured = _measure(bundle, *_held_out(bundle, train_split), test)
    typer.echo(f"{bundle.metadata.name}, version {bundle.metadata.version}")
    _print_figures(measured)
    if differing := _differing(measured, bundle.metadata):
        fail(f"These are not the figures of the model card: {', '.join(differing)}.")
        raise typer.Exit(1)
    typer.echo("These are the figures of the model card.")


def _evaluate_all(models: Path, train_split: "Split", test: "Split") -> None:
    """Print a table of all bundles in a folder; end with 1 if one is not as its card says."""
    from app.bundle import METADATA, open_bundle
    from app.inference.litert_runtime import open_runtime
    from training.evaluate import mcnemar, microseconds_an_image
    from training.table import markdown, row

    rows, tests, differing = [], {}, []
    for path in sorted(models.glob(f"*/{METADATA}")):
        bundle = open_bundle(path.parent)
        measured = _measure(bundle, *_held_out(bundle, train_split), test)
        microseconds = microseconds_an_image(open_runtime(bundle))
        tests[bundle.metadata.name] = measured[1]
        rows.append(row(bundle.metadata, *measured, microseconds))
        differing += [
            f"{bundle.metadata.name} ({split})" for split in _differing(measured, bundle.metadata)
        ]
    typer.echo(markdown(rows))
    for (name, ours), (other, theirs) in combinations(tests.items(), 2):
        only_ours, only_theirs, p_value = mcnemar(ours, theirs)
        typer.echo(
            f"{name} alone misreads {only_ours}, {other} alone {only_theirs}: p = {p_value:.2g}"
            " (McNemar)"
        )
    if differing:
        fail(f"These are not the figures of the model cards: {', '.join(differing)}.")
        raise typer.Exit(1)
    typer.echo("These are the figures of the model cards.")


def _measure(
    bundle: "Bundle", blind: "LiteRtRuntime", validation: "Split", test: "Split"
) -> "tuple[Evaluation, Evaluation]":
    """Read the held-out digits with what has not seen them, and the test split with what is served.

    These are two networks where one was refitted.
    """
    from app.inference.litert_runtime import open_runtime
    from training.evaluate import evaluate as measure

    served = open_runtime(bundle, threads=2)
    return measure(blind, validation, "validation"), measure(served, test, "test")


def _held_out(bundle: "Bundle", train_split: "Split") -> "tuple[LiteRtRuntime, Split]":
    """Return what has not seen the digits that a bundle was measured with, and these digits."""
    from training import data as mnist
    from training.pre_refit import open_pre_refit

    seen, validation = mnist.hold_out(train_split, bundle.metadata.validation.digits)
    return open_pre_refit(bundle, seen.images), validation


def card(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    data: DataOption = None,
) -> None:
    """Measure a model anew, write its card and plots again, and seal the bundle.

    Its errors must be those that were published.
    """
    from app.bundle import open_bundle, seal
    from app.inference.litert_runtime import open_runtime
    from training import card as cards
    from training import data as mnist
    from training import robustness
    from training.evaluate import microseconds_an_image

    try:
        bundle = open_bundle(read_settings().model_dir / model)
        train_split, test = mnist.load(data, "train"), mnist.load(data, "test")
        blind, validation = _held_out(bundle, train_split)
        measured = _measure(bundle, blind, validation, test)
        if differing := _differing(measured, bundle.metadata):
            fail(f"These are not the figures that were published: {', '.join(differing)}.")
            raise typer.Exit(1)
        update = {
            "validation": measured[0],
            "test": measured[1],
            "robustness": robustness.measure(blind, validation),
            "microseconds": microseconds_an_image(open_runtime(bundle)),
        }
        metadata = bundle.metadata.model_copy(update=update)
        cards.write(metadata, bundle.folder, test)
        seal(bundle.folder, metadata)
    except mnist.DataError as error:
        fail(str(error))
        raise typer.Exit(1) from error
    except DigitscopeError as error:
        fail(error.detail)
        raise typer.Exit(1) from error
    typer.echo(f"Wrote {bundle.folder / 'MODEL_CARD.md'}.")


def _print_figures(evaluations: "Sequence[Evaluation | None]") -> None:
    from training.card import figures

    for evaluation in evaluations:
        if evaluation:
            typer.echo(figures(evaluation))


def _differing(measured: "Sequence[Evaluation]", metadata: "Metadata") -> list[str]:
    """Return the splits whose figures are not those of the card, if it has them.

    Digit by digit the answers are the same; probabilities may differ in their last places between
    one processor and another.
    """
    card = (metadata.validation, metadata.test)
    return [
        now.split
        for now, then in zip(measured, card, strict=True)
        if then
        and (
            (now.digits, now.confusion) != (then.digits, then.confusion)
            or abs(now.negative_log_likelihood - then.negative_log_likelihood) > ROUNDING
            or abs(now.expected_calibration_error - then.expected_calibration_error) > ROUNDING
        )
    ]


class _Bar:
    """A progress bar over all steps with the time left, and a line for every epoch."""

    def __init__(self, recipe: "Recipe", digits: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self.steps = -(-digits // recipe.batch_size)
        self.epochs = recipe.epochs
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps, left:"),
            TimeRemainingColumn(),
            console=Console(soft_wrap=True, highlight=False),
        )
        self.task = self.progress.add_task(
            f"epoch 1 of {recipe.epochs}", total=self.steps * recipe.epochs
        )

    def __enter__(self) -> "_Bar":
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def step(self, at: "fit.Progress") -> None:
        self.progress.update(
            self.task,
            completed=at.epoch * at.steps + at.step,
            description=f"epoch {at.epoch + 1} of {at.epochs}, loss {at.loss:.4f}",
        )

    def epoch(self, done: "fit.Epoch") -> None:
        self.progress.console.print(
            f"epoch {done.epoch:3}: training loss {done.loss:.4f}, accuracy {done.accuracy:.2%};"
            f" validation loss {done.val_loss:.5f}, accuracy {done.val_accuracy:.2%};"
            f" {done.seconds:.0f} s"
        )
