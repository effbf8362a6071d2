"""`/predict` tells when an image shows several digits, and what `/read` reads there."""

import base64

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.imaging.decode import Upload
from app.inference.model import Model
from app.inference.registry import Registry
from app.page_reading import find_several, read_page
from app.recognise import Options, recognise, recognise_many
from tests.conftest import Digits
from tests.imaging.samples import KINDS, encode, enlarge, sheet

OPTIONS = Options(find_several=find_several)


def _row(digits: Digits, rng: np.random.Generator, count: int) -> tuple[bytes, str]:
    """Return a picture of a row of digits, and its text."""
    chosen = rng.integers(0, len(digits.images), count)
    row = sheet([(int(digits.labels[at]), digits.images[at]) for at in chosen], rng, per_line=count)
    return encode(row.image), row.text


def _cut(digit: np.ndarray, rng: np.random.Generator) -> bytes:
    """Return a digit whose upper part, such as the bar of a 5, is apart from the rest."""
    ink = enlarge(digit, 280)
    rows = np.flatnonzero((ink > 0.3).any(axis=1))
    at = rows[0] + int(rng.uniform(0.15, 0.3) * len(rows))
    apart = np.insert(ink, [at] * int(rng.integers(5, 20)), 0, axis=0)
    return encode(np.round(255 * (1 - apart)).astype(np.uint8))


@pytest.fixture(scope="module")
def compact(registry: Registry) -> Model:
    """The default model."""
    return registry.wait_for("compact")


@pytest.mark.parametrize("count", [2, 4, 6])
def test_rows_of_digits_are_named(count: int, compact: Model, digits: Digits) -> None:
    """The warning has the text of `/read`; of ten rows at most two go unnoticed."""
    rng = np.random.default_rng(count)
    missed = []
    for _ in range(10):
        data, text = _row(digits, rng, count)
        warnings = " ".join(recognise(data, compact, OPTIONS).prepared.warnings)
        if f'POST /read reads "{read_page(data, compact, OPTIONS).text}"' not in warnings:
            missed.append((text, warnings))
    assert len(missed) <= 2, missed


@pytest.mark.parametrize("label", [4, 5, 7])
def test_digit_in_two_parts_is_one(label: int, classic: Model, digits: Digits) -> None:
    """A digit with a detached stroke gets no warning."""
    rng = np.random.default_rng(label)
    for digit in digits.images[digits.labels == label][:12]:
        assert recognise(_cut(digit, rng), classic, OPTIONS).prepared.warnings == ()


def test_one_digit_is_not_read_as_a_page(classic: Model, digits: Digits) -> None:
    """On a photo of one digit, what `/read` does costs nothing: it is not done."""

    def never(upload: Upload, model: Model, options: Options, *, in_doubt: bool) -> str:
        raise AssertionError("the page was read")

    rng = np.random.default_rng(3)
    for kind in ("photo", "ruled", "pen_colours", "scanned", "placed_small"):
        recognise(KINDS[kind](digits.images[5], rng), classic, Options(find_several=never))


def test_long_text_is_cut(classic: Model, digits: Digits) -> None:
    """Of a page the warning tells the number of digits and the beginning of the text."""
    some = [(int(digits.labels[at]), digits.images[at]) for at in range(48)]
    page = sheet(some, np.random.default_rng(1), per_line=12)
    (warning,) = recognise(encode(page.image), classic, OPTIONS).prepared.warnings
    assert warning.startswith("The image seems to show 4")
    assert "..." in warning


def test_only_the_image_with_several_digits_is_warned_of(classic: Model, digits: Digits) -> None:
    """In a batch each image has its own warnings."""
    row, _ = _row(digits, np.random.default_rng(7), 3)
    single = encode(255 - digits.images[3])
    found = recognise_many([single, row, digits.images[4]], classic, OPTIONS)
    assert [len(summary.warnings) for summary in found.summaries] == [0, 1, 0]


def test_routes_tell_of_several_digits(client: TestClient, digits: Digits) -> None:
    """`/predict`, `/predict/batch` and `/preprocess` say the same."""
    row, text = _row(digits, np.random.default_rng(8), 4)
    assert client.post("/read", files={"file": row}).json()["text"] == text
    expected = [f'The image seems to show 4 digits; POST /read reads "{text}".']
    assert client.post("/predict", files={"file": row}).json()["input"]["warnings"] == expected
    batch = client.post("/predict/batch", json=[{"image": base64.b64encode(row).decode()}]).json()
    assert batch[0]["input"]["warnings"] == expected
    report = client.post("/preprocess", files={"file": row}).json()
    assert report["prediction"]["input"]["warnings"] == expected
