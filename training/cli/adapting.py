"""The command `adapt`: teaches a network a user's own pictures."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from app.cli import read_settings
from app.models import find_bundle
from app.page_reading import find_several
from app.recognise import Options
from app.terminal import progress, say
from training import data as mnist
from training.cli.options import DataOption, failures, import_keras


def adapt(
    images: Annotated[
        Path,
        typer.Option(
            help="Folder of labelled pictures (3/abc.png or abc_3.png), or a table of paths and"
            " labels (.csv or .jsonl)."
        ),
    ],
    name: Annotated[str, typer.Option(help="Name of the new model.")],
    base: Annotated[
        str | None,
        typer.Option("--from", help="Name of the model to adapt (default: the default model)."),
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also train the last convolution; takes minutes.")
    ] = False,
    data: DataOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an adapted model of this name.")
    ] = False,
    models: Annotated[
        Path | None, typer.Option("--out", help="Folder of models (default: DIGITSCOPE_MODEL_DIR).")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder for what was computed (default: ~/.cache/digitscope/adapt)."),
    ] = None,
) -> None:
    """Teach a model your own hand: train its dense end on labelled pictures.

    Writes a new model if your pictures are read better, and MNIST's digits no worse. Otherwise it
    says why and writes nothing; the exit code is 1.
    """
    settings = read_settings()
    with failures():
        bundle = find_bundle(settings.model_dir, base or settings.default_model)
        digits = mnist.load(data, "train")
        import_keras()
        from training.adapting.cache import default_cache
        from training.adapting.options import AdaptOptions
        from training.adapting.run import adapt as run

        options = AdaptOptions(
            images,
            models or settings.model_dir,
            name,
            deep,
            replace,
            cache or default_cache(),
            Options(max_pixels=settings.max_pixels, find_several=find_several),
        )
        with _bar() as show:
            run(bundle, options, digits, say, show)
    say(
        f"Wrote {options.folder}. A service that runs with this folder of models serves it within"
        f" five seconds: add #m={name} to its address."
    )


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar on the standard error stream; yield what sets its stage, count and total."""
    with progress(transient=True) as bar:
        task = bar.add_task("Opening", total=None)

        def show(stage: str, done: int, total: int) -> None:
            bar.update(task, description=stage, completed=done, total=total)

        yield show
