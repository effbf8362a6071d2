"""The commands that check and rewrite bundles: `evaluate`, `verify`, `card`, `recompile`."""

from typing import Annotated

import typer

from app import evaluate_cli as pictures
from app.bundle import METADATA, Bundle, open_bundle
from app.cli import read_settings
from app.terminal import fail, say
from training import data as mnist
from training.cli.options import (
    DataOption,
    OutOption,
    PublishOption,
    failures,
    find_target,
    import_keras,
    print_written,
)
from training.errors import PublishError


def evaluate(
    model: Annotated[
        str | None, typer.Argument(help="Name of the model; the default model if left out.")
    ] = None,
    data: DataOption = None,
    every: Annotated[bool, typer.Option("--all", help="Every model, in one table.")] = False,
    images: pictures.ImagesOption = None,
    models: pictures.ModelsOption = None,
    labels: pictures.LabelsOption = "auto",
    preprocess: pictures.PreprocessOption = "auto",
    polarity: pictures.PolarityOption = "auto",
    processes: pictures.ProcessesOption = pictures.PROCESSES,
    out_file: pictures.OutOption = None,
    report: pictures.ReportOption = None,
    as_json: pictures.JsonOption = False,
) -> None:
    """Measure models on your own labelled pictures (--images), or one on MNIST's test split.

    Without --images, MNIST's test split is read with a model as it is served, and the figures are
    compared with those of the model card.
    """
    if images:
        if model or data or every:
            fail("MODEL, --data and --all measure on MNIST. With --images, give --model NAME.")
            raise typer.Exit(2)
        pictures.evaluate(
            images, models, labels, preprocess, polarity, processes, out_file, report, as_json
        )
        return
    chosen = {labels, preprocess, polarity} != {"auto"}
    if chosen or models or out_file or report or as_json:
        fail(
            "Only MODEL, --data and --all go without --images; the other options are for your own"
            " labelled pictures."
        )
        raise typer.Exit(2)
    settings = read_settings()
    with failures():
        bundles = _open_bundles(None if every else model or settings.default_model)
        train, test = mnist.load(data, "train"), mnist.load(data, "test")
        from training.checks import evaluate_all, evaluate_one

        if every:
            evaluate_all(bundles, train, test)
        else:
            evaluate_one(bundles[0], train, test)


def verify(
    model: Annotated[
        str | None, typer.Argument(help="Name of the model; every model if left out.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Compare a model's answers on held-out digits with those stored when it was published.

    Opens no test split and needs no labels. Exit code 1 if a probability differs by more than the
    tolerance. A large network reads a share of the digits.
    """
    with failures():
        bundles = _open_bundles(model)
        images = mnist.load(data, "train").images
        from training.verify import compare_with_publication

        failed = []
        for bundle in bundles:
            comparison = compare_with_publication(bundle, images)
            name = bundle.metadata.name
            say(
                f"{name}, version {bundle.metadata.version}: {comparison.changed} of"
                f" {comparison.digits:,} held-out digits are read differently; largest difference"
                f" of a probability {comparison.difference:.1e}, tolerance"
                f" {comparison.tolerance:.0e}"
            )
            if not comparison.passed:
                failed.append(name)
    if failed:
        fail(f"These models do not answer as they did when published: {', '.join(failed)}.")
        raise typer.Exit(1)
    say("The answers are those of the publication.")


def card(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    data: DataOption = None,
) -> None:
    """Measure a model again, write its card and plots again, and seal the bundle.

    Its errors must be those that were published.
    """
    with failures():
        bundle = _open_own(model)
        train, test = mnist.load(data, "train"), mnist.load(data, "test")
        from training.checks import rewrite_card

        rewrite_card(bundle, train, test)
    say(f"Wrote {bundle.folder / 'MODEL_CARD.md'}.")


def recompile(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    data: DataOption = None,
    out: OutOption = None,
    publish: PublishOption = False,
) -> None:
    """Compile a model's weights again, measure it, and write its next version.

    Use it after an update of the compiler. What training decided stays as it is.
    """
    with failures():
        bundle = _open_own(model)
        target = find_target(model, out, publish=publish)
        digits = mnist.load(data, "train")
        import_keras()
        from training.publish import Splits
        from training.publish import recompile as compile_again
        from training.runs import uses_tensorflow

        if not uses_tensorflow():
            fail("Only TensorFlow compiles: set KERAS_BACKEND=tensorflow.")
            raise typer.Exit(1)
        train, validation = mnist.hold_out(digits, bundle.metadata.held_out.digits)
        test = mnist.load(data, "test") if bundle.metadata.test else None
        metadata = compile_again(bundle, Splits(validation, test, train), target.folder)
    print_written(metadata, target, publish="--publish")


def _open_bundles(name: str | None) -> list[Bundle]:
    """Open a model of DIGITSCOPE_MODEL_DIR; for None all that were trained here."""
    models = read_settings().model_dir
    if name:
        return [open_bundle(models / name)]
    opened = [open_bundle(path.parent) for path in sorted(models.glob(f"*/{METADATA}"))]
    bundles = [bundle for bundle in opened if _was_trained_here(bundle)]
    if not bundles:
        fail(f"{models} holds no model bundle (no */{METADATA}). Set DIGITSCOPE_MODEL_DIR.")
        raise typer.Exit(1)
    return bundles


def _open_own(model: str) -> Bundle:
    """Open a model that was trained here by a recipe, which an imported or adapted one was not."""
    (bundle,) = _open_bundles(model)
    if not _was_trained_here(bundle):
        raise PublishError(
            f"The model {model!r} was imported or adapted, so no recipe tells how it was trained."
            " Import or adapt it again instead."
        )
    return bundle


def _was_trained_here(bundle: Bundle) -> bool:
    return not (bundle.metadata.imported or bundle.metadata.adapted)
