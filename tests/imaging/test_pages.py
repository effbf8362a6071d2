"""Pages are read whatever else is on the picture: a table, shadows, cracks, holes, signs."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from app.imaging.components import find_components, stroke_mask
from app.imaging.cracks import remove_cracks
from app.imaging.frames import remove_frames
from app.imaging.ink import extract_ink
from app.imaging.stroke_groups import StrokeBox, are_signs
from app.imaging.surroundings import without_surroundings
from app.imaging.text_lines import line_slope, text_lines
from app.inference.model import Model
from app.page_reading import read_page
from app.recognise import Options
from tests.conftest import Digits
from tests.imaging.form_samples import boxes
from tests.imaging.page_samples import PAGES, Labelled, expression, turned
from tests.imaging.samples import encode, enlarge, reinked


def _chosen(digits: Digits, rng: np.random.Generator, count: int) -> list[Labelled]:
    at = rng.integers(0, len(digits.images), count)
    return [(int(digits.labels[index]), digits.images[index]) for index in at]


def _by_digit(digits: Digits, text: str, skip: int = 0) -> dict[str, np.ndarray]:
    return {
        digit: digits.images[np.flatnonzero(digits.labels == int(digit))[skip]]
        for digit in text
        if digit.isdigit()
    }


def _read(image: np.ndarray, model: Model) -> str:
    return read_page(encode(image), model, Options()).text


@pytest.mark.slow
@pytest.mark.parametrize("kind", PAGES)
def test_pages_are_read_exactly(kind: str, classic: Model, digits: Digits) -> None:
    """At most three of twelve pages of a kind are read with an error."""
    rng = np.random.default_rng(21)
    wrong = []
    for _ in range(12):
        page = PAGES[kind](_chosen(digits, rng, int(rng.integers(4, 13))), rng)
        text = _read(page.image, classic)
        if text != page.text:
            wrong.append((text, page.text))
    assert len(wrong) <= 3, wrong


@pytest.mark.parametrize("angle", [-8.0, 8.0])
def test_edges_of_a_turned_page_are_no_digits(angle: float, classic: Model, digits: Digits) -> None:
    """A page turned by 8 degrees has as many lines as were written, and no other marks."""
    page = turned(_chosen(digits, np.random.default_rng(4), 8), np.random.default_rng(4), angle)
    text = _read(page.image, classic)
    assert [len(line) for line in text.split("\n")] == [len(x) for x in page.text.split("\n")]


@pytest.mark.parametrize("text", ["-4", "3.5", "1,25", "2=8", "-0"])
def test_signs_are_question_marks_beside_their_digits(
    text: str, classic: Model, digits: Digits
) -> None:
    """A low sign is neither a digit nor a part of the digit next to it."""
    page = expression(text, _by_digit(digits, text, 3), np.random.default_rng(5))
    assert _read(page.image, classic) == page.text


def test_low_boxes_are_signs_only_next_to_digits() -> None:
    """A dash beside a digit is a sign; small digits of the same height are none."""
    dash, four = StrokeBox(40, 46, 0, 20, (1,)), StrokeBox(20, 70, 30, 60, (2,))
    small = [StrokeBox(0, 20, left, left + 15, (left,)) for left in (100, 120, 140)]
    assert are_signs([dash, four]) == [True, False]
    assert are_signs(small) == [False, False, False]
    assert are_signs([four, StrokeBox(40, 60, 200, 215, (4,))]) == [False, False]


@pytest.mark.parametrize("degrees", [-12, -8, 0, 8, 12])
def test_lines_of_a_turned_page_stay_together(degrees: int) -> None:
    """Three lines with wide gaps between the digits are three lines at every angle."""
    slope = np.tan(np.deg2rad(degrees))
    placed = [
        StrokeBox(top, top + 40, left, left + 25, (row, left))
        for row in range(3)
        for left in (0, 90, 200, 330)
        for top in (int(300 + 75 * row + slope * left),)
    ]
    assert line_slope(placed) == pytest.approx(slope, abs=0.03)
    lines = text_lines(placed, ())
    assert [[box.labels for box in line] for line in lines] == [
        [(row, left) for left in (0, 90, 200, 330)] for row in range(3)
    ]


def _written_page(digits: Digits) -> np.ndarray:
    page = np.full((240, 320), 235, np.float32)
    for at, left in enumerate((60, 120, 180)):
        ink = reinked(enlarge(digits.images[at], 60), 1)
        page[90:150, left : left + 60] -= 205 * ink
    return page


def test_what_is_around_the_paper_is_replaced(digits: Digits) -> None:
    """A table at two sides, a dark corner and punched holes become paper; the writing stays."""
    page = _written_page(digits)
    y, x = np.mgrid[0:240, 0:320]
    other = page.copy()
    other[(y > 215 - 0.1 * x) | (x > 300 - 0.1 * y)] = 80
    other[x + y < 40] = 30
    for middle in (80, 140):
        other[np.hypot(x - 25, y - middle) < 12] = 60
    found = without_surroundings(other)
    np.testing.assert_array_equal(found[85:155, 55:245], page[85:155, 55:245])
    assert np.abs(found - page).max() < 30
    assert without_surroundings(page) is page


def test_a_shadow_with_digits_in_it_stays(digits: Digits) -> None:
    """A region at the border that has strokes in it is part of the paper."""
    page = _written_page(digits)
    page[:, 170:] *= 0.5
    assert without_surroundings(page) is page


def test_digits_in_a_hard_shadow_are_read(classic: Model, digits: Digits) -> None:
    """A shadow with a sharp edge over a third of the page is no ink."""
    page = _written_page(digits)
    text = _read(page.astype(np.uint8), classic)
    page[:, 180:] *= 0.55
    assert _read(page.astype(np.uint8), classic) == text


def test_long_thin_lines_are_removed_and_digits_stay(digits: Digits) -> None:
    """A crack from border to border that touches a digit goes; the digits' ink stays."""
    page = 255 - _written_page(digits) - 20
    clean, _ = extract_ink(page, "light-on-dark")
    assert remove_cracks(clean, find_components(clean, stroke_mask(clean))) is clean
    picture = Image.fromarray(page)
    ImageDraw.Draw(picture).line([(0, 30), (85, 92), (110, 170), (150, 230)], fill=190, width=1)
    cracked, _ = extract_ink(np.asarray(picture), "light-on-dark")
    found = remove_cracks(cracked, find_components(cracked, stroke_mask(cracked)))
    assert found.amount[:80].max() == found.amount[165:].max() == 0
    kept = found.amount[85:155, 120:245] / np.maximum(clean.amount[85:155, 120:245], 1)
    assert kept[clean.amount[85:155, 120:245] > 0.5 * clean.peak].min() > 0.9


@pytest.mark.parametrize("side", [30, 50, 90])
def test_bold_zeros_are_no_frames(side: int, digits: Digits) -> None:
    """A zero in a bold hand has straight sides, but no sharp walls."""
    for image in digits.images[digits.labels == 0][:30]:
        page = np.pad(255 * reinked(enlarge(image, side), side // 30), 20).astype(np.float32)
        ink, _ = extract_ink(page, "light-on-dark")
        assert remove_frames(ink) == (ink, ())


def test_frames_paler_than_all_writing_are_found(digits: Digits) -> None:
    """Walls need no ink as dark as the digits'."""
    form = boxes(_chosen(digits, np.random.default_rng(3), 4), np.random.default_rng(5))
    page = np.where(form.image < 120, form.image, 250).astype(np.float32)
    picture = Image.fromarray(page)
    ImageDraw.Draw(picture).rectangle((4, 4, page.shape[1] - 5, page.shape[0] - 5), outline=170)
    ink, _ = extract_ink(np.asarray(picture), "dark-on-light")
    _, frames = remove_frames(ink)
    assert any(frame.box.width == page.shape[1] - 8 for frame in frames)
