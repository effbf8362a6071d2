"""Files are replaced as a whole, or stay as they were."""

from pathlib import Path

import pytest

from app.errors import InvalidInputError
from app.whole_file import check_place, replacing


def test_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    """Readers see the old content until all of the new one is written."""
    path = tmp_path / "table.csv"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_failure_leaves_the_old_file_alone(tmp_path: Path) -> None:
    """The old content stays, and no part of the new one."""
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(OSError, match="full"):
        _fill_disk(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def _fill_disk(path: Path) -> None:
    with replacing(path) as partial:
        partial.write_text("ne")
        raise OSError("the disk is full")


@pytest.mark.parametrize(("name", "reason"), [("no/a.csv", "no folder"), ("folder", "is a folder")])
def test_places_that_take_no_file_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    """A missing folder, and a folder in the file's place, are said before the work begins."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidInputError, match=reason):
        check_place(tmp_path / name)
    check_place(tmp_path / "a.csv")
