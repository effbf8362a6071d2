"""`digitscope predict`: answers without a server."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.samples import sample_png
from app.settings import REPOSITORY
from digitscope import command


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Three digits as files."""
    for digit in (3, 1, 4):
        (tmp_path / f"{digit}.png").write_bytes(sample_png(digit))
    return [str(tmp_path / f"{digit}.png") for digit in (3, 1, 4)]


def test_json_gives_a_line_for_each_file(files: list[str]) -> None:
    """With --json each file gets one object with the fields of the HTTP answer."""
    result = CliRunner().invoke(command, ["predict", "--json", *files])
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [row["file"] for row in rows] == files
    assert [row["digit"] for row in rows] == [3, 1, 4]
    assert rows[0]["model"]["name"] == "compact"


def test_table_names_file_and_digit(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --json a table lists file, digit and verdict."""
    monkeypatch.setenv("COLUMNS", "300")
    printed = CliRunner().invoke(command, ["predict", *files]).stdout
    for path, digit in zip(files, "314", strict=True):
        (line,) = [line for line in printed.splitlines() if path in line]
        assert digit in line.replace(path, "")


def test_failed_file_fails_the_command_but_not_the_others(files: list[str], tmp_path: Path) -> None:
    """Missing files and files that are no image are reported, the rest is answered, code 1."""
    (tmp_path / "text.png").write_text("no image")
    wrong = [str(tmp_path / "missing.png"), str(tmp_path / "text.png")]
    result = CliRunner().invoke(command, ["predict", "--json", *wrong, *files])
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert ["error" in row for row in rows] == [True, True, False, False, False]


def test_unknown_model_names_the_valid_ones(files: list[str]) -> None:
    """An unknown model ends the command with the names that exist."""
    result = CliRunner().invoke(command, ["predict", "--model", "clasic", files[0]])
    assert result.exit_code == 1
    assert "classic" in result.stderr.replace("'clasic'", "")


def test_service_runs_where_keras_is_but_no_training(tmp_path: Path) -> None:
    """As in an image with the extra `tensorflow`: the command works without the training's code."""
    shutil.copy(REPOSITORY / "digitscope.py", tmp_path)
    (tmp_path / "app").symlink_to(REPOSITORY / "app")
    # -S, so that the path file of this environment's editable installation is not read.
    done = subprocess.run(
        [sys.executable, "-S", "digitscope.py", "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout
    assert "distill" not in done.stdout
