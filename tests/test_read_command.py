"""Tests of the command `digitscope read` with sheets and folders.

Runs that read files are programs of their own, because processes are forked and pytest has threads.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.samples import sample_png
from app.settings import REPOSITORY
from digitscope import command
from tests.server.process import PATIENCE_S


def _run(*arguments: object) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "digitscope", "read", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder with ten digits, one of a strange name, a damaged file and a link to itself."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for digit in range(9):
        (folder / f"{digit}.png").write_bytes(sample_png(digit))
    (folder / os.fsdecode(b"\xe9\n.png")).write_bytes(sample_png(9))
    (folder / "broken.png").write_bytes(b"nothing")
    (folder / "loop").symlink_to(folder)
    return folder


@pytest.mark.slow
def test_table_and_sheet_are_written_and_renewed(scans: Path, tmp_path: Path) -> None:
    """The second run reads only the damaged file again; the sheet has all pages in both."""
    arguments = [scans, "--out", tmp_path / "t.csv", "--sheet", tmp_path / "s.html"]
    sheets = []
    for run in range(2):
        status, printed, errors = _run(*arguments, "--processes", 2)
        assert status == 1, errors
        assert "11 images, 1 of them unreadable" in printed
        assert f"10 of these files can be corrected on {tmp_path / 's.html'}." in printed
        assert ("10 of them were in the table already" in printed) == bool(run)
        assert "Pages of sheets" in errors
        assert "10/10" in errors
        assert "1 link to a folder is not followed" in " ".join(errors.split())
        sheets.append((tmp_path / "s.html").read_text())
        assert sheets[-1].count("<article") == 10
    assert sheets[0] == sheets[1]


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        ("sheet.txt", "must end in .html"),
        ("nowhere/sheet.html", "There is no folder"),
        ("folder.html", "is a folder"),
    ],
)
def test_sheet_that_cannot_be_written_is_refused_first(
    scans: Path, tmp_path: Path, sheet: str, message: str
) -> None:
    """Nothing is read for a sheet that cannot be made."""
    (tmp_path / "folder.html").mkdir()
    out = tmp_path / "t.csv"
    result = CliRunner().invoke(
        command, ["read", str(scans), "--out", str(out), "--sheet", str(tmp_path / sheet)]
    )
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not out.exists()
