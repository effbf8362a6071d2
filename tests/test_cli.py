"""Tests of the command line: `digitscope predict` and `digitscope serve`."""

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.samples import sample_png
from app.settings import REPOSITORY
from app.version import VERSION
from digitscope import command


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Write three digits to PNG files and return their paths."""
    for digit in (3, 1, 4):
        (tmp_path / f"{digit}.png").write_bytes(sample_png(digit))
    return [str(tmp_path / f"{digit}.png") for digit in (3, 1, 4)]


def test_json_output_has_one_line_per_file(files: list[str]) -> None:
    """With --json, each file gets one object with the fields of the HTTP response."""
    result = CliRunner().invoke(command, ["predict", "--json", *files])
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [row["file"] for row in rows] == files
    assert [row["digit"] for row in rows] == [3, 1, 4]
    assert rows[0]["model"]["name"] == "compact"


def test_table_shows_file_and_digit(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --json, a table shows the digit of each file."""
    monkeypatch.setenv("COLUMNS", "300")
    printed = CliRunner().invoke(command, ["predict", *files]).stdout
    for path, digit in zip(files, "314", strict=True):
        (line,) = [line for line in printed.splitlines() if path in line]
        assert digit in line.replace(path, "")


def test_unreadable_files_do_not_stop_the_others(files: list[str], tmp_path: Path) -> None:
    """Missing and damaged files get an error, the others a digit, and the exit code is 1."""
    (tmp_path / "text.png").write_text("no image")
    wrong = [str(tmp_path / "missing.png"), str(tmp_path / "text.png")]
    result = CliRunner().invoke(command, ["predict", "--json", *wrong, *files])
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert ["error" in row for row in rows] == [True, True, False, False, False]


def test_unknown_model_error_lists_the_available_models(files: list[str]) -> None:
    """An unknown model ends the command with the names of the available models."""
    result = CliRunner().invoke(command, ["predict", "--model", "clasic", files[0]])
    assert result.exit_code == 1
    assert "classic" in result.stderr.replace("'clasic'", "")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_serve_says_that_the_port_is_in_use(host: str) -> None:
    """A port in use ends `serve` with a message that suggests another port."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = CliRunner().invoke(command, ["serve", "--host", host, "--port", str(port)])
    assert result.exit_code == 1
    assert f"Port {port} is already in use" in result.stderr
    assert f"--port {port + 1}" in result.stderr


def test_serve_says_that_it_cannot_listen_on_an_address() -> None:
    """An address of another machine ends `serve` with a message that names it."""
    result = CliRunner().invoke(command, ["serve", "--host", "192.0.2.1", "--port", "0"])
    assert result.exit_code == 1
    assert "cannot listen on 192.0.2.1" in result.stderr


def test_command_works_with_keras_but_without_training_code(tmp_path: Path) -> None:
    """A container image with the extra `tensorflow` has Keras but no training code."""
    shutil.copy(REPOSITORY / "digitscope.py", tmp_path)
    (tmp_path / "app").symlink_to(REPOSITORY / "app")
    # -S ignores the editable installation of this environment.
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


def test_version_is_printed() -> None:
    """`digitscope --version` prints the version and exits."""
    result = CliRunner().invoke(command, ["--version"])
    assert (result.exit_code, result.output) == (0, f"digitscope {VERSION}\n")


def test_predict_prints_no_log_lines_of_its_libraries(files: list[str]) -> None:
    """The standard error stream of `digitscope predict` is empty."""
    done = subprocess.run(
        [sys.executable, "digitscope.py", "predict", "--json", *files],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "clasic"], "There is no recipe 'clasic'"),
        (["--data", "nothing.npz"], "nothing.npz does not exist"),
    ],
)
def test_train_checks_its_options_before_it_imports_keras(
    options: list[str], message: str, tmp_path: Path
) -> None:
    """A wrong recipe or data path is reported without the seconds that importing Keras takes."""
    checked = (
        "import sys\n"
        "from digitscope import command\n"
        "try:\n"
        "    command()\n"
        "finally:\n"
        "    assert 'keras' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", checked, "train", *options, "--runs", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
