"""Tests of the command line: `digitscope predict` and `digitscope serve`."""

import json
import os
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
from tests.imaging.files import tiff_with_damaged_tags
from tests.server.process import PATIENCE_S


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


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """A pipe, a device, a folder and a socket each get one sentence; none stops the others."""
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.png"))
    kinds = {
        str(tmp_path / "pipe.png"): "this is a pipe",
        "/dev/zero": "this is a device",
        str(tmp_path): "this is a folder",
        str(tmp_path / "socket.png"): "this is a socket",
    }
    done = subprocess.run(
        [sys.executable, "-m", "digitscope", "predict", "--json", *kinds],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [row["file"] for row in rows] == list(kinds)
    for row in rows:
        assert row["error"] == f"Only regular files can be read; {kinds[row['file']]}."


def test_large_file_is_not_read(tmp_path: Path) -> None:
    """A file that is larger than any image within the limit is refused by its size."""
    with (tmp_path / "large.png").open("wb") as stream:
        stream.truncate(1 << 40)  # more than any memory; takes no space on the disk
    result = CliRunner().invoke(command, ["predict", "--json", str(tmp_path / "large.png")])
    assert result.exit_code == 1
    assert "1099511627776 bytes; at most" in json.loads(result.stdout)["error"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc on this system")
def test_file_without_a_size_is_not_read() -> None:
    """A file of the kernel declares 0 bytes but has content."""
    result = CliRunner().invoke(command, ["predict", "--json", "/proc/self/status"])
    assert result.exit_code == 1
    assert "grew" in json.loads(result.stdout)["error"]


# Names that a console library takes as markup or emoji, or that drive a terminal.
STRANGE_NAMES = {
    "x[/b].png": "x[/b].png",
    "[red]y[/red].png": "[red]y[/red].png",
    "a:smile:.png": "a:smile:.png",
    "esc\x1b[31m\x1b]0;title\x07.png": r"esc\x1b[31m\x1b]0;title\x07.png",
    "c1\x9b31m.png": r"c1\x9b31m.png",
    "two\nlines.png": r"two\nlines.png",
    "gnp.\u202eexe.png": r"gnp.\u202eexe.png",
    os.fsdecode(b"caf\xe9.png"): r"caf\udce9.png",
}


@pytest.fixture
def strange_files(tmp_path: Path) -> list[str]:
    """Write a digit to a file of each strange name, one of them damaged; return their paths."""
    folder = tmp_path / "strange"
    for name in STRANGE_NAMES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample_png(7))
    return [str(folder / name) for name in STRANGE_NAMES]


def test_file_names_are_printed_as_they_are(
    strange_files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are no markup in the table; what drives a terminal is escaped."""
    monkeypatch.setenv("COLUMNS", "300")
    result = CliRunner().invoke(command, ["predict", *strange_files])
    assert result.exit_code == 0, result.output
    for shown in STRANGE_NAMES.values():
        assert f"/{shown} " in result.stdout
    assert result.stdout.replace("\n", "").isprintable()


def test_long_file_names_are_printed_whole(
    strange_files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a narrow terminal a name takes several lines of its cell."""
    monkeypatch.setenv("COLUMNS", "60")
    path = strange_files[0]
    printed = CliRunner().invoke(command, ["predict", path]).stdout
    cells = [line.split("│")[1].strip() for line in printed.splitlines() if "│" in line]
    assert "".join(cells) == path


@pytest.mark.parametrize("name", ["[/b]:smile:", "\x1b[31m\u202e\nb"])
def test_messages_print_names_as_they_are(
    name: str, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors, settings and the end of `read` show a name without taking it as markup."""
    monkeypatch.setenv("COLUMNS", "300")
    shown = name.encode("unicode_escape").decode()
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    for arguments, exit_code in (
        (["predict", name], 1),
        (["predict", "--model", name, files[0]], 1),
        (["read", name, "--out", f"{name}.csv"], 1),
        (["read", *files, "--model", name], 1),
        (["read", *files, "--out", f"no folder/{name}.csv"], 2),
        (["read", *files, "--out", name], 2),
        (["serve", "--host", name], 1),
        (["train", "--recipe", name], 2),
        (["evaluate", name], 1),
    ):
        result = CliRunner().invoke(command, arguments)
        assert result.exit_code == exit_code, (arguments, result.output)
        said = result.stdout + result.stderr
        assert shown in said, arguments
        assert said.replace("\n", "").isprintable(), arguments
    monkeypatch.setenv("DIGITSCOPE_MODEL_DIR", f"/nothing/{name}")
    assert f"/nothing/{shown}" in CliRunner().invoke(command, ["settings"]).stdout
    assert f"/nothing/{shown}" in CliRunner().invoke(command, ["predict", "x.png"]).stderr


def test_warnings_of_the_decoder_are_not_printed(tmp_path: Path) -> None:
    """A TIFF with hundreds of damaged tags leaves no line on the terminal."""
    path = tmp_path / "damaged.tif"
    path.write_bytes(tiff_with_damaged_tags(300))
    done = subprocess.run(
        [sys.executable, "-m", "digitscope", "predict", path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


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
    (tmp_path / "digitscope").symlink_to(REPOSITORY / "digitscope")
    (tmp_path / "app").symlink_to(REPOSITORY / "app")
    # -S ignores the editable installation of this environment.
    done = subprocess.run(
        [sys.executable, "-S", "-m", "digitscope", "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout
    assert "distill" not in done.stdout


@pytest.mark.parametrize("workers", ["-1", "0", "257"])
def test_serve_refuses_a_number_of_workers_out_of_range(workers: str) -> None:
    """Without a worker, the port would be open and nobody would answer."""
    result = CliRunner().invoke(command, ["serve", "--port", "0", "--workers", workers])
    assert result.exit_code == 2
    assert "--workers" in result.stderr
    assert "Input should be" in result.stderr


@pytest.mark.parametrize(("max_connections", "warns"), [("200", True), ("20", False)])
def test_serve_warns_of_too_few_open_files(max_connections: str, warns: bool) -> None:
    """A limit on open files below what the connections need is logged with both numbers."""
    serve = f"ulimit -n 256; exec '{sys.executable}' -m digitscope serve --port 0"
    with subprocess.Popen(
        ["sh", "-c", serve],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "DIGITSCOPE_MAX_CONNECTIONS": max_connections,
            "DIGITSCOPE_THREADS": "2",
            "DIGITSCOPE_DRAIN_DELAY_S": "0",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        assert server.stdout
        lines = []
        for line in server.stdout:
            lines.append(line)
            if "running on" in line:
                server.terminate()
    assert any("running on" in line for line in lines), lines
    warnings = [line for line in lines if "WARNING" in line]
    if warns:
        (warning,) = warnings
        assert "may open 256 files" in warning
        assert "needs 304 for the 200 connections" in warning
    else:
        assert warnings == []


def test_version_is_printed() -> None:
    """`digitscope --version` prints the version and exits."""
    result = CliRunner().invoke(command, ["--version"])
    assert (result.exit_code, result.output) == (0, f"digitscope {VERSION}\n")


def test_predict_prints_no_log_lines_of_its_libraries(files: list[str]) -> None:
    """The standard error stream of `digitscope predict` is empty."""
    done = subprocess.run(
        [sys.executable, "-m", "digitscope", "predict", "--json", *files],
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


@pytest.mark.parametrize("arguments", [["import", "x.keras"], ["adapt", "--images", "x"]])
def test_training_names_the_extra_that_is_missing(arguments: list[str]) -> None:
    """Without Keras, `import` and `adapt` say what to install; the exit code is 2."""
    without = (
        "import importlib.util, sys; find = importlib.util.find_spec;"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'keras' else find(name);"
        f"sys.argv = ['digitscope', *{arguments}, '--input', '0..1'];"
        "import digitscope; digitscope.command()"
    )
    done = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True)
    assert done.returncode == 2
    assert "install the extra 'train'" in done.stderr
