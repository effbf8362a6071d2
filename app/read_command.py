"""The command `digitscope read`: reads many image files and writes a table.

Knows settings, processes and the terminal; the rows come from `app.batch_files`.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import typer

from app.batch_files import FoundImages, Row, find_images, read_rows
from app.bundle import Bundle
from app.errors import BundleError, DigitscopeError
from app.file_workers import FileWorkers
from app.imaging.polarity import Polarity
from app.model_version import model_version
from app.models import find_bundle
from app.recognise import Options
from app.result_table import Written, write_results
from app.settings import Settings
from app.terminal import fail, say


@dataclass(frozen=True)
class Request:
    """What a user has asked for.

    Attributes:
        paths: Image files and folders.
        out: The table to write.
        model: Name of the model; None for the default model.
        polarity: Which side is ink.
        processes: Number of processes that read.
        ray: The module `app.ray_serve`, to read on a Ray cluster; None for processes here.
    """

    paths: Sequence[Path]
    out: Path
    model: str | None
    polarity: Polarity
    processes: int
    ray: ModuleType | None


def read_images(settings: Settings, request: Request) -> None:
    """Read files into a table, and say how many.

    What goes wrong ends the program with a message: exit code 2 for a wrong option, 1 if a file
    could not be read.
    """
    try:
        failed = _read(settings, request)
    except BrokenProcessPool as error:
        fail(
            "A process that read files has ended, such as one that was killed for its memory. Run"
            " the command again to read the files that are missing in the table."
        )
        raise typer.Exit(1) from error
    except BundleError as error:
        fail(error.detail)
        raise typer.Exit(1) from error
    except DigitscopeError as error:
        fail(error.detail)
        raise typer.Exit(2) from error
    except ConnectionError as error:
        fail(str(error))
        raise typer.Exit(1) from error
    except OSError as error:
        fail(f"{request.out} cannot be written: {error.strerror}.")
        raise typer.Exit(2) from error
    if failed:
        raise typer.Exit(1)


def _read(settings: Settings, request: Request) -> int:
    """Read files into a table; return the number of files that could not be read."""
    found = find_images(request.paths)
    for sentence in found.skipped:
        fail(sentence)
    if not found.images:
        fail(f"There are no image files in {', '.join(map(str, request.paths))}.")
        return 1
    bundle = find_bundle(settings.model_dir, request.model or settings.default_model)
    options = Options(polarity=request.polarity, max_pixels=settings.max_pixels)
    written = _write_table(settings, request, found, bundle, options)
    say(f"{len(found.images)} images, {written.failed} of them unreadable: {request.out}")
    if written.resumed:
        say(f"{written.resumed} of them were in the table already and were not read again.")
    if written.replaced:
        say(
            f"{written.replaced} of them were in the table already and were read again, because"
            " the file, the model, an option or the version of digitscope has changed, or because"
            " the file could not be read."
        )
    return written.failed


def _write_table(
    settings: Settings, request: Request, found: FoundImages, bundle: Bundle, options: Options
) -> Written:
    """Write the table, and show how many files have a row on the standard error stream."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    with ExitStack() as stack:
        reader: Callable[[list[Path]], Iterator[Row]]
        if request.ray:
            reader = partial(
                request.ray.read_files,
                folder=settings.model_dir,
                model=bundle.metadata.name,
                options=options,
            )
        else:  # before the bar, which has a thread
            processes = min(request.processes, len(found.images))
            workers = FileWorkers(read_rows, [bundle], options, processes=processes)
            reader = stack.enter_context(workers).read
        columns = (*Progress.get_default_columns(), MofNCompleteColumn())
        bar = stack.enter_context(Progress(*columns, console=Console(stderr=True)))
        task = bar.add_task("Reading", total=len(found.images))
        return write_results(
            found.images,
            request.out,
            reader,
            model_version(bundle, options).fingerprint,
            lambda row: bar.advance(task),
        )
