"""Tests of the command `digitscope evaluate --images`.

Runs that read pictures are programs of their own, because processes are forked and pytest has
threads.
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from app.evaluate_cli import evaluate
from app.evaluation.schema import Figures
from app.samples import sample_png
from app.settings import REPOSITORY
from digitscope import command
from tests.server.process import PATIENCE_S, children_of, eventually, hold_interrupt

STRANGE = os.fsdecode(b"3/\x1b[31mcaf\xe9.png")


def _start(
    *arguments: object, stdout: IO[str] | int = subprocess.PIPE, **environment: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "digitscope", "evaluate", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "COLUMNS": "100", **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _run(*arguments: object) -> tuple[int, str, str]:
    process = _start(*arguments)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in err, err
    return process.returncode, out, err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten digits in folders, a wrong label, a damaged picture, and files that are no pictures."""
    root = tmp_path / "scans"
    for digit in range(10):
        (root / str(digit)).mkdir(parents=True)
        (root / str(digit) / "a.png").write_bytes(sample_png(digit))
    (root / "5" / "wrong.png").write_bytes(sample_png(3))
    (root / "8" / "damaged.png").write_bytes(sample_png(8)[:40])
    (root / "notes.txt").write_text("no picture")
    (root / "3" / "out.png").symlink_to(REPOSITORY / "app" / "samples" / "3.png")
    (root / STRANGE).write_bytes(sample_png(8))
    return root


def _add_photos(folder: Path, count: int) -> None:
    """Add pictures that take some ms each, so that there is work left when a run is stopped."""
    large = Image.open(io.BytesIO(sample_png(7))).resize((400, 400))
    large.save(folder / "7" / "large.png")
    for number in range(count - 1):
        with suppress(FileExistsError):
            os.link(folder / "7" / "large.png", folder / "7" / f"more-{number}.png")


@pytest.mark.slow
def test_folder_is_measured_and_continued(folder: Path, tmp_path: Path) -> None:
    """Two models are measured and compared; a second run reads only what has changed."""
    out, report = tmp_path / "answers.jsonl", tmp_path / "report.html"
    options = ["--images", folder, "--model", "compact", "--model", "classic", "--out", out]
    status, printed, errors = _run(*options, "--report", report, "--json", "--processes", 2)
    assert status == 0, errors
    figures = Figures.model_validate(json.loads(printed))
    assert [model.name for model in figures.models] == ["compact", "classic"]
    for model in figures.models:
        assert model.digits
        assert (model.digits.pictures, model.digits.wrong) == (12, 2)
        assert {each.name for each in model.digits.misread} == {"5/wrong.png", STRANGE}
    assert [(each.only_first_wrong, each.p_value) for each in figures.comparisons] == [(0, 1.0)]
    assert [each.name for each in figures.unreadable] == ["8/damaged.png"]
    assert {each.name for each in figures.unused} == {"notes.txt", "3/out.png"}
    assert "5/wrong.png" in report.read_text()

    os.utime(folder / "0" / "a.png", (1, 1))
    lines = out.read_text().splitlines()
    status, printed, errors = _run(*options)
    assert status == 0, errors
    assert "11 pictures were not read again" in printed
    assert r"\x1b[31mcaf\udce9.png" in printed
    new = [json.loads(line) for line in out.read_text().splitlines()[len(lines) :]]
    assert [(Path(line["file"]).parent.name, line["model"]) for line in new] == [
        ("0", "compact"),
        ("0", "classic"),
    ]


@pytest.mark.slow
def test_killed_process_says_how_to_continue(folder: Path, tmp_path: Path) -> None:
    """A killed process ends the run with one sentence; a second run reads the rest."""
    out = tmp_path / "answers.jsonl"
    for photos in (150, 600, 2400):  # a fast machine may end before its process is killed
        _add_photos(folder, photos)
        process = _start("--images", folder, "--out", out, "--processes", 2)
        eventually(lambda: out.exists() and out.stat().st_size, every_s=0.002)
        process.send_signal(signal.SIGSTOP)  # so that it does not end in the meantime
        for child in sorted(children_of(process.pid))[-1:]:
            os.kill(child, signal.SIGKILL)
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=PATIENCE_S)
        if process.returncode:
            break
        out.unlink()
    assert process.returncode == 1
    assert "Run the command again" in " ".join(errors.split())
    assert "Traceback" not in errors
    status, printed, _ = _run("--images", folder, "--out", out)
    assert status == 0
    assert str(12 + photos) in printed
    assert "were not read again" in printed


@pytest.mark.slow
def test_interrupted_run_says_how_to_continue(folder: Path, tmp_path: Path) -> None:
    """A Ctrl-C that is held ends the run and its processes with one sentence."""
    _add_photos(folder, 3000)
    out = tmp_path / "answers.jsonl"
    process = _start("--images", folder, "--out", out, "--processes", 2)
    eventually(lambda: out.exists() and out.stat().st_size)
    hold_interrupt(process)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (130, -signal.SIGINT)
    assert "Interrupted. Run the command again to read" in " ".join(errors.split())
    assert "Traceback" not in errors


@pytest.mark.slow
def test_full_disk_is_no_fault_of_the_answers(tmp_path: Path) -> None:
    """Figures that cannot be printed are named, and a terminal without umlauts is no error."""
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "gr\u00fcn.png").write_bytes(sample_png(8))
    images = ("--images", tmp_path)
    process = _start(*images, "--out", tmp_path / "a.jsonl", PYTHONIOENCODING="ascii")
    out, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert r"3/gr\xfcn.png" in out
    with open("/dev/full", "w") as full:
        process = _start(*images, "--out", tmp_path / "a.jsonl", stdout=full)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert "The figures cannot be printed: No space left on device." in " ".join(errors.split())
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


def _fails(*arguments: object) -> tuple[int, str]:
    """Return the exit code and the message of a command that reads nothing."""
    result = CliRunner().invoke(command, ["evaluate", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ([], 1, "There are no labelled pictures in {0}. Put each picture into a folder"),
        (["--report", "report.pdf"], 2, "The name of the report must end in .html: report.pdf."),
        (["--out", "answers.csv"], 2, "must end in .jsonl: answers.csv."),
        (["--out", "gone/answers.jsonl"], 2, "There is no folder gone for answers.jsonl."),
        (["--model", "other"], 1, "There is no model 'other'"),
        (["--images", ""], 2, "is empty, such as a variable that is not set"),
        (["--out", "{0}/labels.jsonl"], 2, "has the name of a table of labels"),
        (["--labels", "names"], 2, "Invalid value for '--labels'"),
        (["--all"], 2, "MODEL, --data and --all measure on MNIST"),
    ],
)
def test_wrong_options_give_a_sentence(
    tmp_path: Path, options: list[str], status: int, message: str
) -> None:
    """An empty folder and wrong options end with one message."""
    code, said = _fails("--images", tmp_path, *(each.format(tmp_path) for each in options))
    assert code == status
    assert message.format(tmp_path) in said


def test_wrong_places_give_a_sentence(tmp_path: Path) -> None:
    """A folder that is missing and a folder without labels are named."""
    assert _fails("--images", tmp_path / "gone")[0] == 2
    (tmp_path / "a.png").write_bytes(sample_png(3))
    (tmp_path / "two\nlines.png").write_bytes(sample_png(3))
    status, said = _fails("--images", tmp_path)
    assert status == 1
    assert "- a.png: has no label: neither its folder nor the end of its name" in said
    assert r"- two\nlines.png: has no label" in said


@pytest.mark.parametrize(
    "options", [["--report", "a.html"], ["--model", "compact"], ["--labels", "suffix"], ["--json"]]
)
def test_options_for_pictures_need_pictures(options: list[str]) -> None:
    """The test split of MNIST is not opened by a command that forgot its folder."""
    status, said = _fails(*options)
    assert status == 2
    assert "go without --images" in said


def test_models_with_other_classes_are_not_compared(tmp_path: Path) -> None:
    """Two models must know the same classes."""
    models = tmp_path / "model"
    for name in ("compact", "classic"):
        shutil.copytree(REPOSITORY / "model" / name, models / name)
    metadata = models / "classic" / "metadata.json"
    fields = json.loads(metadata.read_text())
    fields["classes"] = list("abcdefghij")
    metadata.write_text(json.dumps({**fields, "schema_version": 2}))
    result = CliRunner().invoke(
        command,
        ["evaluate", "--images", str(tmp_path), "--model", "compact", "--model", "classic"],
        env={"DIGITSCOPE_MODEL_DIR": str(models)},
    )
    assert result.exit_code == 2
    assert "know different classes" in " ".join(result.stderr.split())


def test_command_without_training_needs_pictures() -> None:
    """Where training is not installed, the command says what measuring on MNIST needs."""
    alone = typer.Typer()
    alone.command()(evaluate)
    result = CliRunner().invoke(alone, [])
    assert result.exit_code == 2
    assert "Give your labelled pictures: --images FOLDER." in " ".join(result.stderr.split())


@pytest.mark.slow
def test_training_adds_no_options_of_its_own_names() -> None:
    """With training code installed, the command has every option that it has without."""
    from training.cli.bundles import evaluate as with_mnist

    ours, theirs = evaluate.__annotations__, with_mnist.__annotations__
    assert {name: theirs[name] for name in ours} == ours
