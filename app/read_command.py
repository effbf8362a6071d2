"""The command `digitscope read`: reads many image files, writes a table and correction sheets.

Knows settings, processes and the terminal; the rows come from `app.batch_files`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import typer

from app.batch_files import Row, find_images, read_rows
from app.bundle import Bundle
from app.correction_sheet.document import SheetContext
from app.correction_sheet.pages import SheetFile, SheetPage, read_sheet_pages
from app.correction_sheet.writing import (
    MAX_DIGITS,
    MAX_SHEETS,
    SheetCandidate,
    choose_pages,
    common_folder,
    write_sheets,
)
from app.errors import BundleError, DigitscopeError, InvalidInputError
from app.file_workers import FileWorkers
from app.imaging.polarity import Polarity
from app.inference.model import Model
from app.interrupts import INTERRUPTED
from app.model_version import model_version
from app.models import find_bundle
from app.recognise import Options
from app.result_table import Written, write_results
from app.settings import Settings
from app.terminal import counting, fail, say
from app.version import VERSION
from app.whole_file import check_place

SHEET_SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class Request:
    """What a user has asked for.

    Attributes:
        paths: Image files and folders.
        out: The table to write.
        model: Name of the model; None for the default model.
        polarity: Which side is ink.
        processes: Number of processes that read.
        sheet: HTML file to write, on which a person corrects the digits; None writes none.
        ray: The module `app.ray_serve`, to read on a Ray cluster; None for processes here.
    """

    paths: Sequence[Path]
    out: Path
    model: str | None
    polarity: Polarity
    processes: int
    sheet: Path | None
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
    except KeyboardInterrupt as error:
        fail("Interrupted. Run the command again to read the files that are missing in the table.")
        raise typer.Exit(INTERRUPTED) from error
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
        fail(f"{error.filename or request.out} cannot be written: {error.strerror}.")
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
    if request.sheet:
        _check_sheet(request.sheet, bundle)
    options = Options(polarity=request.polarity, max_pixels=settings.max_pixels)
    candidates = dict[str, SheetCandidate]()

    with ExitStack() as stack:
        workers = None
        if request.sheet or not request.ray:  # before a bar, which has a thread
            processes = min(request.processes, len(found.images))
            workers = FileWorkers(_read_files, [bundle], options, processes=processes)
            stack.enter_context(workers)
        reader = _table_reader(settings, request, bundle, options, workers)
        with counting("Reading", len(found.images)) as advance:
            version = model_version(bundle, options).fingerprint

            def on_row(row: Row) -> None:
                advance()
                if request.sheet and not row.error:
                    candidates[row.file] = _candidate(row)

            written = write_results(found.images, request.out, reader, version, on_row)
        _say_written(request, len(found.images), written)
        if request.sheet and workers:
            _write_sheets(request.sheet, list(candidates.values()), bundle, workers)
    return written.failed


def _read_files(
    files: list[Path | SheetFile], models: Sequence[Model], options: Options
) -> list[Row | SheetPage]:
    """Read a few files for the table or for a sheet."""
    rows = read_rows([each for each in files if isinstance(each, Path)], models, options)
    pages = [each for each in files if isinstance(each, SheetFile)]
    return [*rows, *read_sheet_pages(pages, models, options)]


def _table_reader(
    settings: Settings,
    request: Request,
    bundle: Bundle,
    options: Options,
    workers: FileWorkers[Path | SheetFile, Row | SheetPage] | None,
) -> Callable[[list[Path]], Iterator[Row]]:
    """Return what reads files for the table: a Ray cluster, or processes of this machine."""
    if request.ray:
        return partial(
            request.ray.read_files,
            folder=settings.model_dir,
            model=bundle.metadata.name,
            options=options,
        )

    def read(files: list[Path]) -> Iterator[Row]:
        for row in workers.read(files) if workers else ():
            if isinstance(row, Row):
                yield row

    return read


def _say_written(request: Request, files: int, written: Written) -> None:
    say(f"{files} images, {written.failed} of them unreadable: {request.out}")
    if written.resumed:
        say(f"{written.resumed} of them were in the table already and were not read again.")
    if written.replaced:
        say(
            f"{written.replaced} of them were in the table already and were read again, because"
            " the file, the model, an option or the version of digitscope has changed, or because"
            " the file could not be read."
        )


def _check_sheet(sheet: Path, bundle: Bundle) -> None:
    """Raise an `InvalidInputError` for a sheet that cannot be made, before anything is read."""
    if sheet.suffix.lower() not in SHEET_SUFFIXES:
        raise InvalidInputError(f"The name of the sheet must end in .html: {sheet}.")
    check_place(sheet)
    longer = [name for name in bundle.metadata.classes if len(name) != 1]
    if longer:
        raise InvalidInputError(
            f"A sheet needs a model whose classes have names of one character, which can be typed;"
            f" {bundle.metadata.name} has {longer[0]!r}."
        )


def _candidate(row: Row) -> SheetCandidate:
    digits, doubtful = len(json.loads(row.digits)), len(json.loads(row.doubtful))
    return SheetCandidate(Path(row.file), digits, doubtful, float(row.confidence or 0))


def _write_sheets(
    out: Path,
    candidates: list[SheetCandidate],
    bundle: Bundle,
    workers: FileWorkers[Path | SheetFile, Row | SheetPage],
) -> None:
    """Write the sheets, and say what is on them."""
    if not candidates:
        fail("There are no digits to correct, so no sheet was written.")
        return
    metadata = bundle.metadata
    base = common_folder(each.path for each in candidates)
    context = SheetContext(f"{metadata.name} {metadata.version}", VERSION, metadata.classes, base)
    with counting("Pages of sheets", len(choose_pages(candidates))) as advance:

        def read(files: Iterable[SheetFile]) -> Iterator[SheetPage]:
            for page in workers.read(files):
                advance()
                if isinstance(page, SheetPage):
                    yield page

        sheets = write_sheets(out, candidates, context, read)
    if sheets.paths:
        to = f" to {sheets.paths[-1]}" if len(sheets.paths) > 1 else ""
        say(f"{sheets.pages} of these files can be corrected on {sheets.paths[0]}{to}.")
    if sheets.unreadable:
        fail(f"{sheets.unreadable} pages have changed since they were read: run the command again.")
    if sheets.left_out:
        say(
            f"{sheets.left_out} pages have no place on the sheets, which hold up to"
            f" {MAX_DIGITS * MAX_SHEETS:,} digits. Those with doubtful digits come first; for the"
            " others, give fewer files at a time."
        )
