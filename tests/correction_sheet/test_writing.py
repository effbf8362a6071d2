"""Tests of which pages get onto sheets, and of the files."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from app.correction_sheet import writing
from app.correction_sheet.pages import SheetFile, SheetPage
from app.correction_sheet.writing import (
    SheetCandidate,
    choose_pages,
    common_folder,
    write_sheets,
)
from tests.correction_sheet.sheets import make_context, make_page


def _candidate(name: str, digits: int = 1, doubtful: int = 0, confidence: float = 0.9):
    return SheetCandidate(Path(name), digits, doubtful, confidence)


def _paths(sheet: Path) -> list[str]:
    """Return the paths in a sheet, as its script reads them."""
    start = '<script type="application/json" id="data">'
    return json.loads(sheet.read_text().split(start)[1].split("</script>")[0])["paths"]


def _read(files: Iterable[SheetFile]) -> Iterator[SheetPage]:
    yield from (make_page(file.path, "1 2? 3") for file in files)


def test_doubtful_pages_come_first() -> None:
    """Then the pages with the smallest confidence."""
    pages = [
        _candidate("sure.png", confidence=0.99),
        _candidate("b.png", doubtful=1, confidence=0.7),
        _candidate("less.png", confidence=0.6),
        _candidate("a.png", doubtful=3, confidence=0.4),
    ]
    chosen = [each.path.name for each in choose_pages(pages)]
    assert chosen == ["a.png", "b.png", "less.png", "sure.png"]


def test_no_more_pages_are_read_than_fit() -> None:
    """The number of digits of all sheets is bounded."""
    pages = [_candidate(f"{number}.png", digits=400) for number in range(100)]
    assert len(choose_pages(pages)) == -(-writing.MAX_DIGITS * writing.MAX_SHEETS // 400)


@pytest.mark.parametrize("bound", ["MAX_DIGITS", "MAX_BYTES"])
def test_full_sheet_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """Pages stay whole; what has no place on the last sheet is counted."""
    one = make_page(tmp_path / "0.png", "1 2? 3")
    size = len(one.picture) + sum(len(digit.pixels) for digit in one.digits)
    monkeypatch.setattr(writing, bound, 7 if bound == "MAX_DIGITS" else 2 * size)
    monkeypatch.setattr(writing, "MAX_SHEETS", 3)
    candidates = [_candidate(str(tmp_path / f"{number}.png"), 1) for number in range(8)]
    out = tmp_path / "sheet.html"
    written = write_sheets(out, candidates, make_context(tmp_path), _read)
    assert [path.name for path in written.paths] == ["sheet.html", "sheet-2.html", "sheet-3.html"]
    assert [_paths(path) for path in written.paths] == [
        [f"{number}.png" for number in pair] for pair in ((0, 1), (2, 3), (4, 5))
    ]
    assert (written.pages, written.left_out, written.unreadable) == (6, 2, 0)


def test_pages_that_have_become_unreadable_are_counted(tmp_path: Path) -> None:
    """Files may change between the table and the sheet."""
    candidates = [_candidate(str(tmp_path / name)) for name in ("a.png", "b.png")]

    def read(files: Iterable[SheetFile]) -> Iterator[SheetPage]:
        for file in files:
            is_gone = file.path.name == "a.png"
            yield SheetPage(file.path, error="gone") if is_gone else make_page(file.path, "1")

    written = write_sheets(tmp_path / "sheet.html", candidates, make_context(tmp_path), read)
    assert (written.pages, written.unreadable, written.left_out) == (1, 1, 0)


def test_common_folder_holds_all_files(tmp_path: Path) -> None:
    """Paths are exported relative to it, so that one table can list them all."""
    paths = [tmp_path / "a" / "b" / "1.png", tmp_path / "a" / "c" / "2.png"]
    assert common_folder(paths) == str(tmp_path / "a")
    assert common_folder(paths[:1]) == str(tmp_path / "a" / "b")
