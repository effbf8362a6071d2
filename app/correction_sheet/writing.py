"""Chooses the pages of sheets, has them read, and writes the sheets.

Knows pages and files; the caller supplies the processes that read.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from app.correction_sheet.document import SheetContext, sheet_html
from app.correction_sheet.pages import SheetFile, SheetPage
from app.whole_file import replacing

MAX_DIGITS = 1000  # of a sheet; each is a field, and browsers slow down with many
MAX_BYTES = 24 << 20  # of the pictures of a sheet, in base64
MAX_SHEETS = 10


class SheetCandidate(NamedTuple):
    """A file that may be on a sheet.

    Attributes:
        path: The file.
        digits: Number of marks on it.
        doubtful: Number of marks that are unsure or no digit.
        confidence: Smallest probability among them.
    """

    path: Path
    digits: int
    doubtful: int
    confidence: float


@dataclass
class WrittenSheets:
    """The sheets of a run.

    Attributes:
        paths: The files.
        pages: Number of pages on them.
        left_out: Number of pages that have no place on them.
        unreadable: Number of pages that could not be read when the sheets were made.
    """

    paths: list[Path]
    pages: int = 0
    left_out: int = 0
    unreadable: int = 0


def choose_pages(candidates: Iterable[SheetCandidate]) -> list[SheetCandidate]:
    """Return the pages that are read for sheets: those with doubtful digits first.

    Within both groups the page with the smallest confidence comes first.
    """
    ordered = sorted(candidates, key=lambda each: (not each.doubtful, each.confidence))
    digits, chosen = 0, list[SheetCandidate]()
    for each in ordered:
        if digits >= MAX_DIGITS * MAX_SHEETS:
            break
        chosen.append(each)
        digits += each.digits
    return chosen


def common_folder(paths: Iterable[Path]) -> str:
    """Return the absolute path of the deepest folder that holds all files."""
    return os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])


def write_sheets(
    out: Path,
    candidates: list[SheetCandidate],
    context: SheetContext,
    read: Callable[[Iterable[SheetFile]], Iterator[SheetPage]],
) -> WrittenSheets:
    """Write one or more sheets; files that exist are replaced.

    Args:
        out: The first sheet; others get a number: `sheet-2.html`.
        candidates: The files of the run with at least one mark.
        context: What the sheets have in common.
        read: Reads files and yields their pages in order.

    Raises:
        OSError: A file cannot be written.
    """
    chosen, written = choose_pages(candidates), WrittenSheets([])
    pages, digits, size = list[SheetPage](), 0, 0

    def finish() -> None:
        number = len(written.paths) + 1
        path = out if number == 1 else out.with_name(f"{out.stem}-{number}{out.suffix}")
        with replacing(path) as partial:
            partial.write_text(sheet_html(pages, context, number), encoding="utf-8")
        written.paths.append(path)
        written.pages += len(pages)
        pages.clear()

    for page in read(SheetFile(each.path) for each in chosen):
        if page.error or not page.digits:
            written.unreadable += 1
            continue
        page_size = len(page.picture) + sum(len(digit.pixels) for digit in page.digits)
        is_full = digits + len(page.digits) > MAX_DIGITS or size + page_size > MAX_BYTES
        if pages and is_full:
            finish()
            digits = size = 0
            if len(written.paths) == MAX_SHEETS:
                break
        pages.append(page)
        digits += len(page.digits)
        size += page_size
    if pages:
        finish()
    written.left_out = len(candidates) - written.pages - written.unreadable
    return written
