"""Tests of the file that keeps answers between runs."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import InvalidInputError
from app.evaluation.answer_file import AnswerFile
from app.evaluation.answers import Answer, Place, Reading
from app.labelled_images import LabelledImage
from app.model_version import ModelVersion

IMAGE = LabelledImage(Path("/scans/3/a.png"), "3/a.png", "3", "", 500, 17, ".")
MODEL = ModelVersion("compact", 7, "abc", "auto auto 100")
RIGHT = Answer(reading=Reading("3", 0.99, "digit", "8"))
PAGE = Answer(
    places=(Place("3", Reading("8", 0.5, "unsure", prepared="xyz")), Place("1", None)),
    marks=1,
    warnings=("Two.",),
)


def _filled(path: Path, *answers: tuple[LabelledImage, Answer]) -> Path:
    with AnswerFile(path) as file:
        for image, answer in answers:
            file.add(image, MODEL, answer)
    return path


def test_answers_are_found_again(tmp_path: Path) -> None:
    """What was added in one run is known in the next one, which adds to it."""
    other = replace(IMAGE, path=Path("/scans/\udce9.png"), label="", text="31")
    path = _filled(tmp_path / "a.jsonl", (IMAGE, RIGHT))
    _filled(path, (other, PAGE))
    with AnswerFile(path) as file:
        assert file.find(IMAGE, MODEL) == RIGHT
        assert file.find(other, MODEL) == PAGE


@pytest.mark.parametrize(
    "change",
    [{"size": 501}, {"modified_ns": 18}, {"label": "8"}, {"path": Path("/other/3/a.png")}],
)
def test_changed_file_is_not_known(tmp_path: Path, change: dict[str, object]) -> None:
    """Another size, time, label or place of the file is read again."""
    with AnswerFile(_filled(tmp_path / "a.jsonl", (IMAGE, RIGHT))) as file:
        assert file.find(replace(IMAGE, **change), MODEL) is None


@pytest.mark.parametrize(
    "change", [{"name": "classic"}, {"version": 8}, {"digest": "x"}, {"options": "none"}]
)
def test_other_model_is_not_known(tmp_path: Path, change: dict[str, object]) -> None:
    """Another model, version, content or option reads again."""
    with AnswerFile(_filled(tmp_path / "a.jsonl", (IMAGE, RIGHT))) as file:
        assert file.find(IMAGE, replace(MODEL, **change)) is None


def test_other_program_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of digitscope may prepare pictures in another way."""
    path = _filled(tmp_path / "a.jsonl", (IMAGE, RIGHT))
    monkeypatch.setattr("app.evaluation.answer_file.VERSION", "99.0.0")
    with AnswerFile(path) as file:
        assert file.find(IMAGE, MODEL) is None


def test_errors_are_not_kept(tmp_path: Path) -> None:
    """A file that could not be read is tried again."""
    path = _filled(tmp_path / "a.jsonl", (IMAGE, Answer(error="It is broken.")))
    assert path.read_bytes() == b""


def test_incomplete_last_line_is_dropped(tmp_path: Path) -> None:
    """A run that was killed while it wrote loses one answer, not the file."""
    other = replace(IMAGE, label="8")
    path = _filled(tmp_path / "a.jsonl", (IMAGE, RIGHT), (other, RIGHT))
    path.write_bytes(path.read_bytes()[:-20])
    _filled(path, (other, PAGE))
    with AnswerFile(path) as file:
        assert file.find(IMAGE, MODEL) == RIGHT
        assert file.find(other, MODEL) == PAGE


@pytest.mark.parametrize(
    "content",
    [
        b"my notes",
        b"my notes\n",
        b'{"answers": 1, "file": 3}\n',
        b'{"answers": 1, "file": [}\n',
        b'{"file": "a.png", "text": "7"}\n',
        b'{"answers": 2, "file": "a.png"}\n',
        b"\x89PNG\r\n",
    ],
)
def test_other_file_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    """A file that holds no answers is refused and not changed."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match="did not write it"):
        AnswerFile(path)
    assert path.read_bytes() == content


def test_damaged_line_does_not_lose_the_others(tmp_path: Path) -> None:
    """A blank or damaged line stays in the file, and the other answers are known."""
    path = _filled(tmp_path / "a.jsonl", (IMAGE, RIGHT))
    content = path.read_text() + '\n{"answers": 1, "file\n[]\n'
    path.write_text(content)
    with AnswerFile(path) as file:
        assert file.find(IMAGE, MODEL) == RIGHT
        assert file.damaged_lines == 2
    assert path.read_text() == content


def test_full_disk_names_the_file(tmp_path: Path) -> None:
    """A message says which file cannot be written."""
    file = AnswerFile(tmp_path / "a.jsonl")
    with open("/dev/full", "w") as full:
        os.dup2(full.fileno(), file._stream.fileno())
    file.add(IMAGE, MODEL, RIGHT)
    with pytest.raises(InvalidInputError, match=r"a\.jsonl cannot be written: No space left"):
        file.__exit__()


def test_damaged_line_is_refused(tmp_path: Path) -> None:
    """A line in the middle that was changed by hand is not overwritten."""
    path = _filled(tmp_path / "a.jsonl", (IMAGE, RIGHT))
    line = json.loads(path.read_text())
    line["reading"]["more"] = 1
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(InvalidInputError, match="did not write it"):
        AnswerFile(path)
