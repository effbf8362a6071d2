"""Prints the figures of an evaluation as tables in a terminal.

Knows figures; knows nothing of how they were measured.
"""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Column, Table

from app.evaluation.schema import (
    DigitFigures,
    Figures,
    ModelFigures,
    UnusedFile,
)
from app.evaluation.wording import (
    comparison_sentence,
    digit_rows,
    interval,
    page_rows,
    percent,
    unread_sentences,
)
from app.terminal import cell

MAX_LISTED = 20  # files, folders or pictures of one table
MAX_MATRIX = 12  # classes of a confusion matrix that fits a terminal


def print_figures(figures: Figures, console: Console) -> None:
    """Print all figures; long lists are cut, and say so."""
    for table in _overview(figures.models):
        console.print(table)
    for sentence in unread_sentences(figures):
        console.print(cell(sentence))
    for comparison in figures.comparisons:
        console.print(cell(comparison_sentence(comparison)))
    for model in figures.models:
        if model.digits:
            _print_details(model.name, model.digits, figures.classes, console)
        if model.pages and model.pages.misread:
            names = [page.name for page in model.pages.misread]
            _print_listed(f"Pages that {model.name} misreads", names, console)
    _print_unused("Files that were not used", figures.unused, console)
    _print_unused("Labelled files that cannot be read", figures.unreadable, console)


def _overview(models: Sequence[ModelFigures]) -> list[Table]:
    """Return tables for pictures of one digit and for pages, with a column for each model."""
    digits = [(model.name, digit_rows(model.digits)) for model in models if model.digits]
    pages = [(model.name, page_rows(model.pages)) for model in models if model.pages]
    titled = (("Pictures of one digit", digits), ("Pages", pages))
    return [_side_by_side(title, columns) for title, columns in titled if columns]


def _side_by_side(title: str, columns: Sequence[tuple[str, dict[str, str]]]) -> Table:
    table = Table("", *(name for name, _ in columns), title=title)
    for row in columns[0][1]:
        table.add_row(row, *(column[row] for _, column in columns))
    return table


def _print_details(
    name: str, digits: DigitFigures, classes: Sequence[str], console: Console
) -> None:
    if len(digits.folders) > 1:
        folders = Table(
            "Folder", "Pictures", "Wrong", "Error", "95 % interval", "Unsure or refused",
            title=f"Folders, {name}",
        )  # fmt: skip
        for each in digits.folders[:MAX_LISTED]:
            folders.add_row(
                cell(each.folder),
                f"{each.pictures:,}",
                f"{each.wrong:,}",
                percent(each.error_rate),
                interval(each.interval),
                f"{each.refused:,}",
            )
        console.print(folders)
        _print_rest(len(digits.folders), console)
    if not digits.wrong:
        return
    if len(classes) <= MAX_MATRIX:
        columns = [Column(cell(name), justify="right") for name in classes]
        matrix = Table("Label", *columns, title=f"Answers of {name} for each label")
        for label, row in zip(classes, digits.confusion, strict=True):
            matrix.add_row(cell(label), *(str(count) if count else "" for count in row))
        console.print(matrix)
    misread = Table("File", "Label", "Answer", "Confidence", "Verdict", title=f"Misread by {name}")
    for picture in digits.misread[:MAX_LISTED]:
        misread.add_row(
            cell(picture.name),
            cell(picture.label),
            cell(picture.answer),
            percent(picture.confidence),
            picture.verdict,
        )
    console.print(misread)
    _print_rest(len(digits.misread), console)


def _print_unused(title: str, files: Sequence[UnusedFile], console: Console) -> None:
    _print_listed(title, [f"{each.name}: {each.reason}" for each in files], console)


def _print_listed(title: str, lines: Sequence[str], console: Console) -> None:
    if not lines:
        return
    console.print(cell(f"{title}: {len(lines):,}", style="bold"))
    for line in lines[:MAX_LISTED]:
        console.print(cell(f"- {line}"), soft_wrap=True)
    _print_rest(len(lines), console)


def _print_rest(count: int, console: Console) -> None:
    if count > MAX_LISTED:
        console.print(f"... and {count - MAX_LISTED:,} more; --json lists all.")
