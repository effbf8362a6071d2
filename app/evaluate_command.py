"""The command `digitscope evaluate --images`: measures models on labelled pictures.

Knows settings, processes and the terminal; the figures come from `app.evaluation`.
"""

import json
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import typer

from app.bundle import Bundle
from app.errors import BundleError, DigitscopeError, InvalidInputError
from app.evaluation.answer_file import AnswerFile
from app.evaluation.html_report import write_report
from app.evaluation.reading import read_labelled
from app.evaluation.run import (
    Collected,
    check_same_classes,
    collect_answers,
    make_figures,
)
from app.evaluation.sample_warnings import label_warnings
from app.evaluation.schema import Figures
from app.evaluation.tables import MAX_LISTED, print_figures
from app.file_workers import FileWorkers
from app.imaging.polarity import Polarity
from app.interrupts import INTERRUPTED
from app.label_rules import LabelSource
from app.labelled_images import TABLE_NAMES, LabelledImages, find_labelled_images
from app.model_version import model_version
from app.models import find_bundle
from app.page_reading import find_several
from app.recognise import Options, Preprocess
from app.settings import Settings
from app.terminal import counting, fail, say
from app.whole_file import check_place

REPORT_SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class Request:
    """What a user has asked for.

    Attributes:
        images: A folder or a table of labelled pictures.
        models: Names of the models; the default model if there are none.
        labels: What gives the labels of a folder.
        preprocess: How pictures of one digit are prepared.
        polarity: Which side is ink.
        processes: Number of processes that read.
        out: File that keeps the answers; None keeps none.
        report: HTML file to write; None writes none.
        as_json: Print the figures as JSON instead of tables.
    """

    images: Path
    models: Sequence[str]
    labels: LabelSource
    preprocess: Preprocess
    polarity: Polarity
    processes: int
    out: Path | None
    report: Path | None
    as_json: bool


def evaluate_images(settings: Settings, request: Request) -> None:
    """Measure models on labelled pictures, and show the figures.

    What goes wrong ends the program with a message: exit code 2 for a wrong option, 1 if nothing
    could be measured. Single files that cannot be used are listed and change no exit code.
    """
    try:
        _evaluate(settings, request)
    except BundleError as error:
        fail(error.detail)
        raise typer.Exit(1) from error
    except DigitscopeError as error:
        fail(error.detail)
        raise typer.Exit(2) from error
    except BrokenProcessPool as error:
        fail(
            "A process that read pictures has ended, such as one that was killed for its memory."
            + _how_to_continue(request)
        )
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        fail("Interrupted." + _how_to_continue(request))
        raise typer.Exit(INTERRUPTED) from error
    except BrokenPipeError:  # the reader of the output has gone, such as head
        raise
    except OSError as error:  # such as a system that starts no more processes
        about = f"{error.filename}: " if error.filename else ""
        fail(f"The evaluation cannot go on: {about}{error.strerror}.{_how_to_continue(request)}")
        raise typer.Exit(1) from error


def _how_to_continue(request: Request) -> str:
    if request.out:
        return " Run the command again to read the pictures that are missing."
    return " With --out FILE.jsonl the next run continues where this one has ended."


def _evaluate(settings: Settings, request: Request) -> None:
    _check_outputs(request)
    names = list(dict.fromkeys(request.models)) or [settings.default_model]
    bundles = [find_bundle(settings.model_dir, name) for name in names]
    classes = check_same_classes(bundles)
    found = find_labelled_images(request.images, classes, request.labels)
    if not found.images:
        _fail_without_pictures(request.images, found)
    options = Options(
        preprocess=request.preprocess,
        polarity=request.polarity,
        max_pixels=settings.max_pixels,
        find_several=find_several,
    )
    collected = _read(request, found, bundles, options)
    figures = make_figures(request.images, found, bundles, collected)
    for warning in figures.warnings:
        fail(warning)
    if (found.warnings or label_warnings(figures.models)) and request.labels == "auto":
        fail("--labels suffix takes the ends of names as labels, --labels folder the folders.")
    _print(figures, collected, request)
    if request.report:  # after the figures, which are not lost if it cannot be written
        _write_report(figures, request.report)
        if not request.as_json:
            say(f"The report is {request.report}.")
    if len(figures.unreadable) == len(found.images):
        raise typer.Exit(1)


def _print(figures: Figures, collected: Collected, request: Request) -> None:
    """Print the figures.

    Raises:
        InvalidInputError: The standard output cannot be written, such as a file on a full disk.
        BrokenPipeError: Its reader has gone.
    """
    try:
        if request.as_json:
            # As escape sequences, names need not be UTF-8.
            sys.stdout.write(json.dumps(figures.model_dump(mode="json"), indent=1) + "\n")
        else:
            from rich.console import Console

            print_figures(figures, Console())
            if collected.resumed:
                say(
                    f"{collected.resumed:,} pictures were not read again: {request.out} knows them."
                )
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InvalidInputError(f"The figures cannot be printed: {error.strerror}.") from error


def _write_report(figures: Figures, path: Path) -> None:
    try:
        write_report(figures, path)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror}.") from error


def _check_outputs(request: Request) -> None:
    """Raise an `InvalidInputError` for files that cannot be written, before anything is read."""
    if request.report and request.report.suffix.lower() not in REPORT_SUFFIXES:
        raise InvalidInputError(f"The name of the report must end in .html: {request.report}.")
    if request.out and request.out.suffix.lower() != ".jsonl":
        raise InvalidInputError(
            f"The name of the file of answers must end in .jsonl: {request.out}."
        )
    if request.out and request.out.name.lower() in TABLE_NAMES:
        raise InvalidInputError(
            f"{request.out} has the name of a table of labels. Choose another name for the answers."
        )
    for path in filter(None, (request.report, request.out)):
        check_place(path)


def _fail_without_pictures(place: Path, found: LabelledImages) -> None:
    fail(f"There are no labelled pictures in {place}.")
    for refused in found.refused[:MAX_LISTED]:
        fail(f"- {refused.name}: {refused.reason}")
    if len(found.refused) > MAX_LISTED:
        fail(f"... and {len(found.refused) - MAX_LISTED:,} more.")
    if not found.refused:
        fail(
            "Put each picture into a folder named like its label (3/abc.png), end its name with the"
            " label (abc_3.png), or list the pictures in labels.csv."
        )
    raise typer.Exit(1)


def _read(
    request: Request, found: LabelledImages, bundles: Sequence[Bundle], options: Options
) -> Collected:
    """Read the pictures with a progress bar on the standard error stream."""
    versions = [model_version(bundle, options) for bundle in bundles]
    with ExitStack() as stack:
        store = stack.enter_context(AnswerFile(request.out)) if request.out else None
        if store and store.damaged_lines:
            fail(f"{store.damaged_lines:,} damaged lines of {request.out} are left out.")
        # Before the bar, which has a thread.
        processes = min(request.processes, len(found.images))
        workers = stack.enter_context(
            FileWorkers(read_labelled, bundles, options, processes=processes)
        )
        on_read = stack.enter_context(counting("Reading", len(found.images)))
        return collect_answers(found.images, versions, workers.read, store, on_read)
