"""Tests of the processes that read files for `digitscope read`.

Each runs in a program of its own, because processes are forked and pytest has threads.
"""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.file_workers import MAX_TASK_BYTES, MAX_TASK_FILES, _tasks
from app.samples import sample_png
from tests.server.process import PATIENCE_S, children_of, eventually, hold_interrupt

REPOSITORY = Path(__file__).parents[1]
MANY = 6000  # files of a run that a test stops
ATTEMPTS = 6  # to stop a run before its end; on a busy machine the test may come too late


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files for three tasks: digits, one broken file, and one that is no regular file."""
    for number in range(2 * MAX_TASK_FILES + 5):
        (tmp_path / f"{number:03}.png").write_bytes(sample_png(number % 10))
    (tmp_path / "040.png").write_bytes(b"nothing")
    (tmp_path / "050.png").unlink()
    (tmp_path / "050.png").mkdir()
    return tmp_path


def _start(folder: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "digitscope",
            "read",
            str(folder),
            "--out",
            str(out),
            "--processes",
            "2",
        ],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _rows(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(out.read_text().splitlines()))


def test_rows_are_in_the_order_of_the_files(folder: Path, tmp_path: Path) -> None:
    """Several processes read the files; the table has each once, in order, bad ones with errors."""
    process = _start(folder, tmp_path / "out.csv")
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, output
    assert "69 images, 2 of them unreadable" in output
    rows = _rows(tmp_path / "out.csv")
    assert [row["file"] for row in rows] == sorted(map(str, folder.glob("*.png")))
    failed = {Path(row["file"]).name: row["error"] for row in rows if row["error"]}
    assert sorted(failed) == ["040.png", "050.png"]
    assert "regular files" in failed["050.png"]
    texts = [row["text"] for row in rows if not row["error"]]
    assert texts == [str(n % 10) for n in range(len(rows)) if n not in (40, 50)]


def test_run_whose_process_is_killed_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    """A killed process ends the run with one sentence; a second run completes the table."""
    out = tmp_path / "out.csv"

    def kill_a_child(process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGSTOP)  # so that there is work left when the child is killed
        for child in sorted(children_of(process.pid))[-1:]:
            os.kill(child, signal.SIGKILL)
        process.send_signal(signal.SIGCONT)

    code, output = _stop_a_run(folder, out, kill_a_child)
    assert code == 1
    assert "Run the command again" in output
    assert "Traceback" not in output
    _start(folder, out).communicate(timeout=PATIENCE_S)
    assert len(_rows(out)) == 2 * MAX_TASK_FILES + 5 + MANY


def _wait_for_workers(process: subprocess.Popen[str]) -> None:
    """Wait until both workers run, or the run has ended; imports have one child for a moment."""
    eventually(
        lambda: len(children_of(process.pid)) == 2 or process.poll() is not None, every_s=0.001
    )


def _stop_a_run(
    folder: Path, out: Path, stop: Callable[[subprocess.Popen[str]], None]
) -> tuple[int, str]:
    """Start runs over many files until one is stopped before its end.

    Returns:
        Its exit code, and its output in one line.
    """
    for number in range(MANY):
        os.link(folder / "000.png", folder / f"more-{number}.png")
    for _ in range(ATTEMPTS):
        out.unlink(missing_ok=True)
        process = _start(folder, out)
        _wait_for_workers(process)
        stop(process)
        output, _ = process.communicate(timeout=PATIENCE_S)  # ends when nobody holds the output
        if "images, 2 of them unreadable" not in output:  # the sentence at the end of a whole run
            break
    return process.returncode, " ".join(output.split())


def test_interrupted_run_ends_its_processes(folder: Path, tmp_path: Path) -> None:
    """A Ctrl-C that is held, which all processes get, ends the run with one sentence."""
    code, output = _stop_a_run(folder, tmp_path / "out.csv", hold_interrupt)
    assert code in (130, -signal.SIGINT)
    assert "Interrupted. Run the command again" in output
    assert "Traceback" not in output


def test_processes_end_with_a_killed_command(folder: Path, tmp_path: Path) -> None:
    """No process stays behind that would hold memory, and the output of the command."""
    process = _start(folder, tmp_path / "out.csv")
    _wait_for_workers(process)
    process.kill()
    process.communicate(timeout=PATIENCE_S)  # ends when nobody holds the output


def test_large_files_are_handed_over_one_by_one(tmp_path: Path) -> None:
    """Small and missing files come together; a photo is a task of its own."""
    small, photo = tmp_path / "small.png", tmp_path / "photo.jpg"
    small.write_bytes(b"x")
    photo.write_bytes(bytes(MAX_TASK_BYTES))
    files = [small, tmp_path / "missing.png", photo, photo, *[small] * (MAX_TASK_FILES + 1)]
    assert [len(task) for task in _tasks(files)] == [3, 1, MAX_TASK_FILES, 1]
