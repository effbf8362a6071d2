"""Tests of `digitscope read`, which reads folders of images into tables."""

import json
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from app.batch_files import doubtful_places, find_images, read_file, read_rows
from app.boxes import Box
from app.group_reading import PageDigit
from app.inference.model import Model
from app.recognise import Options
from app.samples import sample_png
from app.verdict import Verdict
from digitscope import command
from tests.conftest import Digits
from tests.imaging.form_samples import boxes

NO_PIXELS = np.zeros((28, 28), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with ten digits, a file that only looks like an image, and a text file."""
    (tmp_path / "scans" / "deep").mkdir(parents=True)
    for digit in range(10):
        place = tmp_path / "scans" / ("deep" if digit > 6 else "")
        (place / f"{digit}.png").write_bytes(sample_png(digit))
    (tmp_path / "scans" / "broken.png").write_bytes(b"nothing")
    (tmp_path / "scans" / "notes.txt").write_text("no image")
    return tmp_path / "scans"


@pytest.mark.slow
def test_read_command_reads_a_folder(folder: Path, tmp_path: Path) -> None:
    """Every image gets a row; a damaged one gets an error and makes the exit code 1."""
    out = tmp_path / "results.jsonl"
    result = CliRunner().invoke(command, ["read", str(folder), "--out", str(out)])
    assert result.exit_code == 1, result.output
    rows = {Path(row["file"]).name: row for row in map(json.loads, out.read_text().splitlines())}
    assert len(rows) == 11
    assert [rows[f"{digit}.png"]["text"] for digit in range(10)] == list("0123456789")
    assert "image" in rows["broken.png"]["error"]


def test_pipe_gets_a_row_with_its_error(tmp_path: Path, classic: Model) -> None:
    """A named pipe in a folder of images is not opened, because it may never begin."""
    os.mkfifo(tmp_path / "pipe.png")
    (pipe,) = find_images([tmp_path]).images
    row = read_file(pipe, classic, Options())
    assert row.error == "Only regular files can be read; this is a pipe."


def test_files_that_are_read_together_get_their_own_rows(
    folder: Path, tmp_path: Path, classic: Model
) -> None:
    """Small and large, blank, missing and damaged files: each has the row that it gets alone."""
    digit = np.asarray(Image.open(BytesIO(sample_png(7))))
    Image.fromarray(np.tile(255 - digit, (3, 4))).save(folder / "page.png")
    Image.fromarray(np.zeros_like(digit)).save(folder / "blank.png")
    Image.fromarray(np.hstack([digit, digit])).save(folder / "two.png")
    paths = [*find_images([folder]).images, tmp_path / "missing.png"]
    rows = read_rows(paths, [classic], Options())
    assert rows == [read_file(path, classic, Options()) for path in paths]
    assert sum(bool(row.error) for row in rows) == 3
    assert {Path(row.file).name: row.text for row in rows}["two.png"] == "77"


def test_warnings_of_a_page_are_in_its_row(tmp_path: Path, classic: Model) -> None:
    """A page with more digits than are read is not silently incomplete in the table."""
    digit = np.asarray(Image.open(BytesIO(sample_png(7))))
    Image.fromarray(np.tile(255 - digit, (21, 21))).save(tmp_path / "page.png")
    row = read_file(tmp_path / "page.png", classic, Options())
    assert row.error == ""
    assert "Only the 400 marks" in row.warnings


def test_fields_of_a_form_are_in_its_row(tmp_path: Path, classic: Model, digits: Digits) -> None:
    """Each box of a form is a field, in reading order, with its text and its place."""
    rng = np.random.default_rng(5)
    form = boxes([(int(digits.labels[index]), digits.images[index]) for index in range(4)], rng)
    Image.fromarray(form.image).save(tmp_path / "form.png")
    row = read_file(tmp_path / "form.png", classic, Options())
    fields = json.loads(row.fields)
    assert [field["text"] for field in fields] == list(form.text)
    assert [field["box"][0] for field in fields] == sorted(field["box"][0] for field in fields)


def test_doubtful_digits_are_marked_in_text_and_fields() -> None:
    """The places count characters of the text, line feeds included."""
    verdicts: list[Verdict] = ["digit", "unsure", "not-a-digit", "digit"]
    marks = [
        PageDigit(
            place, str(place), 0.9, np.zeros(10, np.float32), verdict, Box(0, 0, 1, 1), NO_PIXELS
        )
        for place, verdict in enumerate(verdicts)
    ]
    assert doubtful_places([(marks[0], marks[1]), (marks[3],), (marks[2], marks[1])]) == [1, 5, 6]
    assert doubtful_places([]) == []


def test_links_to_folders_are_named(folder: Path, tmp_path: Path) -> None:
    """They are not followed, also because they may lead in a circle; links to files are."""
    (folder / "deep" / "up").symlink_to(folder)
    (folder / "link.png").symlink_to(folder / "1.png")
    found = find_images([folder])
    assert folder / "link.png" in found.images
    assert len(found.images) == 12
    (sentence,) = found.skipped
    assert "1 link to a folder is not followed" in sentence
    assert f"{folder}/deep/up" in sentence
    assert find_images([folder / "deep" / "up"]).images  # given by itself, it is
