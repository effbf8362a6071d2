"""Options and steps that the training commands share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.bundle import METADATA, Metadata, open_bundle
from app.cli import read_settings
from app.errors import DigitscopeError
from app.inference.native_logs import without_native_logs
from app.terminal import fail, say
from training.errors import TrainingError
from training.target import Target

if TYPE_CHECKING:
    from training.recipe import Recipe

DEFAULT_OUT = Path("runs/models")
DataOption = Annotated[
    Path | None,
    typer.Option(
        help="A mnist.npz or a folder of IDX files; without it, Keras downloads MNIST.",
        show_default=False,
    ),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help=f"Folder for the bundle. [default: {DEFAULT_OUT}]")
]
PublishOption = Annotated[
    bool,
    typer.Option(
        "--publish",
        help="Write the bundle to DIGITSCOPE_MODEL_DIR, where it replaces the served model.",
    ),
]
RunsOption = Annotated[Path, typer.Option(help="Folder for the checkpoints.")]
SeedOption = Annotated[
    int, typer.Option(help="Seed of the weights, the order, the augmentation and dropout.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Continue after the last finished epoch.")
]
BoardOption = Annotated[
    Path | None,
    typer.Option("--tensorboard", help="Folder for TensorBoard's logs, one subfolder per recipe."),
]
RecipeOption = Annotated[str, typer.Option(help="Name of a recipe in training/recipes.")]


def import_keras() -> None:
    """Import Keras and start its backend without their log lines."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with without_native_logs():
        import keras

        keras.ops.zeros(1)  # finds the devices, which TensorFlow logs


def find_recipe(name: str) -> "Recipe":
    """Return a recipe by name; an unknown name ends the program with the names that exist."""
    from training.recipes import RECIPES

    if name not in RECIPES:
        fail(f"There is no recipe {name!r}; the recipes are {', '.join(RECIPES)}.")
        raise typer.Exit(2)
    return RECIPES[name]


def find_target(name: str, out: Path | None, *, publish: bool, after: int = 0) -> Target:
    """Return where a model's bundle is written.

    Args:
        name: Name of the model.
        out: Folder that `--out` names.
        publish: Whether to replace the model in DIGITSCOPE_MODEL_DIR.
        after: The new version number is at least one more than this, and than that of the served
            model.
    """
    if out and publish:
        fail("--out and --publish exclude each other: --publish writes to DIGITSCOPE_MODEL_DIR.")
        raise typer.Exit(2)
    served = read_settings().model_dir / name
    if (served / METADATA).exists():
        after = max(after, open_bundle(served).metadata.version)
    return Target(served if publish else (out or DEFAULT_OUT) / name, after, publish)


@contextmanager
def failures(resume: str | None = None) -> Iterator[None]:
    """Print errors as a sentence and end the program with code 1, or 130 after Ctrl-C.

    Args:
        resume: The option or command that continues an interrupted training.
    """
    try:
        yield
    except TrainingError as error:
        fail(str(error))
        raise typer.Exit(1) from error
    except DigitscopeError as error:
        fail(error.detail)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        fail(
            f"Interrupted; {resume} continues after the last finished epoch."
            if resume
            else "Interrupted; nothing was changed."
        )
        raise typer.Exit(130) from None


def print_written(metadata: Metadata, target: Target, *, publish: str) -> None:
    """Print the figures of a new bundle, where it is, and how to serve or publish it.

    Args:
        metadata: The bundle's metadata.
        target: Where it was written.
        publish: The options to add to the command, to publish the bundle.
    """
    from training.card import figures

    for evaluation in (metadata.validation, metadata.test):
        if evaluation:
            say(*figures(evaluation).splitlines())
    say(f"Wrote {target.folder} (version {metadata.version}).")
    models = target.folder.parent
    if models == read_settings().model_dir:
        say(f"A service loads it at its start, or on POST /models/{metadata.name}/reload.")
        return
    say(
        f"To serve it: DIGITSCOPE_MODEL_DIR={models} DIGITSCOPE_DEFAULT_MODEL={metadata.name}"
        " digitscope serve"
    )
    say(f"To publish it: the same command with {publish}")
