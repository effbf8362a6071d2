"""Forms that are filled in with digits are read, whatever is printed around the digits."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from app.imaging.decode import from_pixels
from app.imaging.frames import is_framed, remove_frames
from app.imaging.ink import extract_ink
from app.imaging.prepare import PRINT_REMOVED
from app.imaging.sheet import without_desk
from app.inference.model import Model
from app.page_reading import read_page
from app.recognise import Options, recognise
from tests.conftest import Digits
from tests.imaging.form_samples import FORMS, Labelled, boxes, table
from tests.imaging.samples import encode, enlarge


def _chosen(digits: Digits, rng: np.random.Generator, count: int) -> list[Labelled]:
    at = rng.integers(0, len(digits.images), count)
    return [(int(digits.labels[index]), digits.images[index]) for index in at]


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMS)
def test_forms_are_read_exactly(kind: str, classic: Model, digits: Digits) -> None:
    """At most two of twelve forms of a kind are read with an error."""
    rng = np.random.default_rng(11)
    wrong = []
    for _ in range(12):
        form = FORMS[kind](_chosen(digits, rng, 2 * int(rng.integers(2, 5))), rng)
        text = read_page(encode(form.image), classic, Options()).text
        if text != form.text:
            wrong.append((text, form.text))
    assert len(wrong) <= 2, wrong


def test_each_box_is_a_field_with_its_digit(classic: Model, digits: Digits) -> None:
    """Separate boxes are fields in reading order, each around its digit."""
    form = boxes(_chosen(digits, np.random.default_rng(3), 4), np.random.default_rng(5))
    fields = read_page(encode(form.image), classic, Options()).fields
    assert "".join(field.text for field in fields) == form.text
    for field, (x, y, width, height) in zip(fields, form.boxes, strict=True):
        assert field.box.x <= x + width / 2 < field.box.right
        assert field.box.y <= y + height / 2 < field.box.bottom


def test_a_table_is_one_field_with_a_text_of_lines(classic: Model, digits: Digits) -> None:
    """The rows of a table are lines, at whatever height the digits stand in their cells."""
    form = table(_chosen(digits, np.random.default_rng(6), 6), np.random.default_rng(6))
    page = read_page(encode(form.image), classic, Options())
    assert page.text == form.text
    assert [field.text for field in page.fields] == [form.text]


def test_a_digit_in_a_frame_is_read_alone(classic: Model, digits: Digits) -> None:
    """`/predict` reads the digit in a printed frame and warns that the frame was removed."""
    ink = np.round(255 * enlarge(digits.images[7], 120)).astype(np.uint8)
    page = Image.new("L", (240, 240), 255)
    page.paste(Image.fromarray(255 - ink), (60, 60))
    ImageDraw.Draw(page).rectangle((30, 30, 210, 210), outline=0, width=2)
    found = recognise(encode(np.asarray(page)), classic, Options())
    assert found.digit == digits.labels[7]
    assert PRINT_REMOVED in found.prepared.warnings


def test_an_empty_frame_is_read_as_any_image(classic: Model) -> None:
    """A drawn square without writing gets an answer; without its walls nothing would be left."""
    page = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(page).polygon([(100, 30), (170, 100), (100, 170), (30, 100)], outline=0, width=9)
    for angle in range(0, 90, 15):
        upload = from_pixels(np.asarray(page.rotate(angle, fillcolor=255)))
        assert recognise(upload, classic, Options()).verdict


def test_an_image_without_ink_is_not_framed() -> None:
    """A black 28x28 has no walls."""
    assert not is_framed(np.zeros((28, 28), np.uint8))


@pytest.mark.parametrize("label", range(10))
def test_digits_alone_are_no_frames(label: int, digits: Digits) -> None:
    """No stroke of 20 digits of a class is taken for a wall."""
    chosen = digits.images[digits.labels == label][:20]
    for image in chosen:
        page = np.pad(np.round(255 * enlarge(image, 100)).astype(np.float32), 20)
        ink, _ = extract_ink(page, "light-on-dark")
        assert remove_frames(ink) == (ink, ())


@pytest.mark.parametrize("label", [0, 1, 4, 7, 8])
def test_light_digits_are_no_sheets(label: int, digits: Digits) -> None:
    """Thick light digits on black, cropped or not, are ink, not paper with writing on it."""
    for image in digits.images[digits.labels == label][:10]:
        for side, margin in ((60, 0), (150, 5), (300, 40)):
            page = np.pad(255 * enlarge(image, side), margin).astype(np.float32)
            assert without_desk(page) is page


def test_shadows_and_grids_are_no_sheets() -> None:
    """Squared paper under a strong gradient of light has no edge of paper."""
    y, x = np.mgrid[0:300, 0:400].astype(np.float32)
    page = 220 - 0.35 * x - 0.3 * y
    page[(y % 60 < 3) | (x % 60 < 3)] -= 40
    page[80:200, 100:115] = 20
    assert without_desk(page) is page


def test_desk_is_replaced_by_paper() -> None:
    """Only the desk changes: the sheet and what is written on it stay."""
    page = np.full((200, 300), 60, np.float32)
    page[40:160, 50:250] = 240
    page[90:110, 100:105] = 20
    found = without_desk(page)
    np.testing.assert_array_equal(found[60:140, 70:230], page[60:140, 70:230])
    assert found[:30].min() == found[:, :40].min() == 240
    assert from_pixels(found.astype(np.uint8)).pixels.min() == 20


def test_nested_frames_are_examined_up_to_a_total_area() -> None:
    """Of frames inside each other, only as many are examined as four pages hold."""
    page = Image.new("L", (600, 600), 0)
    for inset in range(4, 290, 4):
        ImageDraw.Draw(page).rectangle((inset, inset, 599 - inset, 599 - inset), outline=255)
    ink, _ = extract_ink(np.asarray(page, np.float32), "light-on-dark")
    _, frames = remove_frames(ink)
    assert 3 <= len(frames) <= 8
