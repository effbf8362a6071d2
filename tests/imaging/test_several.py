"""`/predict` tells when an image shows several digits, and what `/read` reads there."""

import base64

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.imaging.components import Components
from app.imaging.decode import Upload
from app.imaging.several import separate_marks
from app.inference.model import Model
from app.inference.registry import Registry
from app.page_reading import find_several, read_page
from app.recognise import Options, recognise, recognise_many
from tests.conftest import Digits
from tests.imaging.samples import KINDS, encode, enlarge, photographed, sheet

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


def _pair(
    first: np.ndarray, second: np.ndarray, share: float, place: tuple[int, int]
) -> np.ndarray:
    """Return a page, 0..1, with a digit of 200 pixels and one of a share of that elsewhere."""
    page = np.zeros((450, 600), np.float32)
    small = enlarge(second, round(280 * share))
    for ink, (top, left) in ((enlarge(first, 280), (100, 60)), (small, place)):
        part = page[top : top + len(ink), left : left + len(ink)]
        np.maximum(part, ink, out=part)
    return page


@pytest.mark.parametrize("share", [0.3, 0.45, 0.6])
@pytest.mark.parametrize("place", [(20, 420), (200, 400), (260, 420)], ids=["up", "beside", "down"])
def test_digits_of_very_different_size_are_named(
    share: float, place: tuple[int, int], compact: Model, digits: Digits
) -> None:
    """A digit that is much smaller is warned of, on plain paper and in a photo."""
    rng, missed = np.random.default_rng(int(100 * share)), []
    for _ in range(2):
        first, second = rng.integers(0, len(digits.images), 2)
        page = _pair(digits.images[first], digits.images[second], share, place)
        for data in (encode(np.round(255 * (1 - page)).astype(np.uint8)), photographed(page, rng)):
            warnings = " ".join(recognise(data, compact, OPTIONS).prepared.warnings)
            if "look like digits" not in warnings and "seems to show 2 digits" not in warnings:
                missed.append((digits.labels[[first, second]], warnings))
    assert len(missed) <= 2, missed


def test_a_small_digit_beside_another_in_28x28_is_named(compact: Model, digits: Digits) -> None:
    """So is one of 8 pixels beside one of 17."""
    large, small = (
        np.asarray(Image.fromarray(digits.images[at][4:24, 4:24]).resize((side, side)))
        for at, side in ((4, 17), (2, 8))
    )
    picture = np.zeros((28, 28), np.uint8)
    picture[5:22, 0:17], picture[10:18, 20:28] = large, small
    (warning,) = recognise(encode(picture), compact, OPTIONS).prepared.warnings
    labels = ", ".join(str(digits.labels[at]) for at in (4, 2))
    assert f"look like digits: {labels}." in warning


def test_marks_that_are_no_digits_are_not_named(compact: Model, digits: Digits) -> None:
    """Specks, a blot and a line beside a digit get no warning, nor does a texture of marks."""
    rng = np.random.default_rng(5)
    page = np.zeros((450, 600), np.float32)
    page[100:380, 60:340] = enlarge(digits.images[5], 280)
    blotted, lined, grainy = page.copy(), page.copy(), page.copy()
    blotted[200:260, 450:520] = 1
    lined[420:424, 380:560] = 1
    grainy[rng.integers(0, 450, 60), rng.integers(360, 600, 60)] = 1
    for marked in (page, blotted, lined, grainy):
        data = encode(np.round(255 * (1 - marked)).astype(np.uint8))
        assert not any(
            "look like digits" in warning
            for warning in recognise(data, compact, OPTIONS).prepared.warnings
        )


def test_texture_of_marks_is_not_looked_at() -> None:
    """Of thousands of marks none is brought into MNIST's form."""
    labels = np.zeros((600, 600), np.int32)
    tops, lefts = (side.ravel() * 30 for side in np.mgrid[0:20, 0:20])
    count = len(tops)
    components = Components(
        labels, np.ones(count), np.full(count, 100), tops, tops + 20, lefts, lefts + 10
    )
    every = np.ones(count, bool)
    assert separate_marks(components, every, every) == []
    few = np.arange(count) < 3
    assert [mask.sum() for mask in separate_marks(components, few, few)] == [1, 1, 1]


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
