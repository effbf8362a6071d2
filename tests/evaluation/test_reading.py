"""Tests of reading labelled pictures and pages with several models."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.bundle import DIGITS
from app.evaluation import alignment, reading
from app.evaluation.answers import Answer
from app.evaluation.reading import read_labelled
from app.inference.model import Model
from app.inference.registry import Registry
from app.labelled_images import LabelledImage, find_labelled_images
from app.recognise import Options, recognise
from app.samples import sample_pixels, sample_png


def _row_of(digits: str) -> Image.Image:
    """Return a page with a line of sample digits, dark on white."""
    page = np.full((60, 40 * len(digits) + 20), 255, np.uint8)
    for index, digit in enumerate(digits):
        page[16:44, 40 * index + 16 : 40 * index + 44] -= sample_pixels(int(digit))
    return Image.fromarray(page)


@pytest.fixture
def images(tmp_path: Path) -> list[LabelledImage]:
    """Three pictures of digits, the second with a wrong label, a page, and two broken files."""
    (tmp_path / "3.png").write_bytes(sample_png(3))
    Image.fromarray(sample_pixels(5)).resize((99, 99)).save(tmp_path / "large.png")
    (tmp_path / "8.png").write_bytes(sample_png(8))
    _row_of("31415").save(tmp_path / "page.png")
    for name in ("broken.png", "broken-page.png"):
        (tmp_path / name).write_bytes(b"nothing")
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
    (tmp_path / "labels.csv").write_text(
        "path,label,text\n3.png,3,\nlarge.png,1,\n8.png,8,\npage.png,,3 1-4\nbroken.png,3,\n"
        "broken-page.png,,3\nblank.png,3,\n"
    )
    found = find_labelled_images(tmp_path, DIGITS)
    assert not found.refused
    return found.images


def _decoded(data: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_answers_are_those_of_the_service(
    images: list[LabelledImage], registry: Registry, classic: Model
) -> None:
    """Each model answers for each picture as it does in /predict, and a broken file is an error."""
    models = [registry.wait_for("compact"), classic]
    read = read_labelled(images, models, Options())
    assert [len(answers) for answers in read] == [2] * len(images)
    for image, answers in zip(images[:3], read, strict=False):
        for model, answer in zip(models, answers, strict=True):
            expected = recognise(image.path.read_bytes(), model, Options())
            assert answer.reading is not None
            assert answer.reading.answer == str(expected.digit)
            assert answer.reading.confidence == pytest.approx(expected.confidence, abs=1e-5)
            assert answer.reading.verdict == expected.verdict
            assert answer.reading.runner_up == str(expected.runner_up)
    digests = [{answer.file_digest for answer in answers} for answers in read]
    assert all(len(each) == 1 for each in digests)
    assert digests[4] == digests[5] != digests[0]  # the broken files have the same bytes
    errors = [[answer.error for answer in answers] for answers in read[4:]]
    assert all("cannot be read" in error for each in errors[:2] for error in each)
    assert all("No ink" in error for error in errors[2]), errors[2]


def test_misread_picture_is_kept_as_the_network_received_it(
    images: list[LabelledImage], classic: Model
) -> None:
    """A wrong answer has its 28x28 and a small copy of the picture; a right one has neither."""
    right, wrong, *_ = (answer for (answer,) in read_labelled(images, [classic], Options()))
    assert right.reading
    assert not right.reading.prepared
    assert wrong.reading
    assert _decoded(wrong.reading.prepared).size == (28, 28)
    assert max(_decoded(wrong.picture).size) == 96
    expected = recognise(images[1].path.read_bytes(), classic, Options()).prepared.pixels
    assert np.array_equal(np.asarray(_decoded(wrong.reading.prepared)), expected)


def test_page_is_aligned_with_its_text(images: list[LabelledImage], classic: Model) -> None:
    """Spaces and signs of the text do not count; two digits more than it says are extra."""
    (answer,) = read_labelled(images, [classic], Options())[3]
    assert [place.expected for place in answer.places] == ["3", "1", "4", "", ""]
    read = [place.reading.answer for place in answer.places if place.reading]
    assert read == list("31415")
    prepared = [bool(place.reading and place.reading.prepared) for place in answer.places]
    assert prepared == [False, False, False, True, True]


def test_answers_survive_json(images: list[LabelledImage], classic: Model) -> None:
    """An answer from JSON is the one that was written."""
    for (answer,) in read_labelled(images, [classic], Options()):
        assert Answer.from_json(answer.as_json()) == answer


def test_page_with_too_many_digits_is_an_error(
    images: list[LabelledImage], classic: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of the alignment is bounded."""
    assert reading.MAX_LENGTH == alignment.MAX_LENGTH
    monkeypatch.setattr(reading, "MAX_LENGTH", 4)
    (answer,) = read_labelled(images, [classic], Options())[3]
    assert answer.error.startswith("The text has 3 digits and 5 were read; pages of at most 4")
