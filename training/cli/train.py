"""The commands that train networks: `train`, `distill`, `ensemble`, `augment`.

Recipe and data are checked before Keras and TensorFlow are imported, which takes seconds.
"""

from pathlib import Path
from typing import Annotated

import typer

from app.bundle import open_bundle
from app.cli import read_settings
from app.terminal import fail, say
from training import data as mnist
from training.cli.options import (
    BoardOption,
    DataOption,
    OutOption,
    PublishOption,
    RecipeOption,
    ResumeOption,
    RunsOption,
    SeedOption,
    failures,
    find_recipe,
    find_target,
    import_keras,
    print_written,
)


def train(
    recipe: RecipeOption = "classic",
    data: DataOption = None,
    out: OutOption = None,
    publish: PublishOption = False,
    runs: RunsOption = Path("runs"),
    seed: SeedOption = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="Train the recipe 'quick': two minutes on two cores.")
    ] = False,
    resume: ResumeOption = False,
    tensorboard: BoardOption = None,
) -> None:
    """Train a recipe on MNIST and write its model bundle."""
    chosen = find_recipe("quick" if quick else recipe)
    with failures("--resume"):
        target = find_target(chosen.name, out, publish=publish)
        digits = mnist.load(data, "train")
        import_keras()
        from training.runs import Run, train_and_publish

        run = Run(runs, seed, resume, tensorboard).subfolder(chosen.name)
        metadata = train_and_publish(chosen, data, digits, run, target)
    print_written(metadata, target, publish="--resume --publish")


def distill(
    recipe: Annotated[
        str, typer.Option(help="Name of a recipe in training/recipes that names teachers.")
    ] = "compact",
    data: DataOption = None,
    out: OutOption = None,
    publish: PublishOption = False,
    runs: RunsOption = Path("runs"),
    seed: SeedOption = 1,
    resume: ResumeOption = False,
    tensorboard: BoardOption = None,
) -> None:
    """Train a recipe on the answers of published models, and write its model bundle."""
    chosen = find_recipe(recipe)
    if not chosen.teachers:
        fail(f"The recipe {recipe!r} names no teachers; train it with `digitscope train`.")
        raise typer.Exit(2)
    with failures("--resume"):
        target = find_target(chosen.name, out, publish=publish)
        models = read_settings().model_dir
        teachers = [open_bundle(models / name) for name in chosen.teachers]
        digits = mnist.load(data, "train")
        import_keras()
        from training.runs import Run, train_and_publish

        run = Run(runs, seed, resume, tensorboard).subfolder(chosen.name)
        metadata = train_and_publish(chosen, data, digits, run, target, teachers)
    print_written(metadata, target, publish="--resume --publish")


def ensemble(
    data: DataOption = None,
    out: OutOption = None,
    publish: PublishOption = False,
    runs: RunsOption = Path("runs"),
    tensorboard: BoardOption = None,
) -> None:
    """Train the members of the ensemble and write them as one model; resumes unfinished members."""
    from training.recipes.ensemble import ENSEMBLE

    with failures("the same command"):
        target = find_target(ENSEMBLE.name, out, publish=publish)
        digits = mnist.load(data, "train")
        import_keras()
        from training.runs import join_and_publish

        metadata = join_and_publish(ENSEMBLE, data, digits, runs, tensorboard, target)
    print_written(metadata, target, publish="--publish")


def augment(
    preview: Annotated[Path, typer.Option(help="PNG file to write.")],
    recipe: RecipeOption = "classic",
    data: DataOption = None,
    seed: Annotated[
        int, typer.Option(help="Seed of the choice of digits and of their changes.")
    ] = 1,
) -> None:
    """Draw digits as a recipe's augmentation changes them."""
    from app.render import to_png
    from training.preview import preview as draw

    chosen = find_recipe(recipe)
    with failures():
        digits = mnist.load(data, "train")
        try:
            preview.write_bytes(to_png(draw(digits, chosen, seed)))
        except OSError as error:
            fail(f"{preview} cannot be written: {error.strerror}.")
            raise typer.Exit(1) from error
    say(f"Wrote {preview}.")
