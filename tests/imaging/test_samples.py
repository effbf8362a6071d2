"""The whole pipeline reads digits on simulated paper, with every pen and light."""

from dataclasses import astuple

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from app.errors import BlankImageError
from app.imaging.candidates import candidates
from app.imaging.decode import decode, from_pixels
from app.imaging.polarity import measure_polarity
from app.imaging.prepare import PRINT_REMOVED, prepare
from app.imaging.segment import segment
from app.inference.model import Model
from app.inference.registry import Registry
from app.page_reading import read_page
from app.recognise import Options, recognise, recognise_many
from tests.conftest import Digits
from tests.imaging.samples import (
    KINDS,
    Pixels,
    encode,
    enlarge,
    photographed,
    sheet,
    smooth_noise,
    tight,
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_digits_are_read_on_every_paper(kind: str, classic: Model, digits: Digits) -> None:
    """At most one of 20 digits on each kind of paper is misread."""
    rng = np.random.default_rng(8)
    chosen = rng.permutation(len(digits.images))[:20]
    wrong = [
        int(at)
        for at in chosen
        if recognise(KINDS[kind](digits.images[at], rng), classic, Options()).digit
        != digits.labels[at]
    ]
    assert len(wrong) <= 1, wrong


@pytest.mark.slow
@pytest.mark.parametrize("paper", ["plain", "ruled"])
def test_photos_of_pages_are_read(paper: str, classic: Model, digits: Digits) -> None:
    """At most one of twelve digits on a photographed page is misread."""
    rng = np.random.default_rng(4)
    chosen = rng.integers(0, len(digits.images), 12)
    page = sheet([(int(digits.labels[at]), digits.images[at]) for at in chosen], rng)
    photo = photographed(1 - page.image.astype(np.float32) / 255, rng, paper)
    text = read_page(photo, classic, Options()).text
    assert len(text) == len(page.text)
    assert sum(a != b for a, b in zip(text, page.text, strict=True)) <= 1


def test_boxes_lie_on_the_digits(classic: Model, digits: Digits) -> None:
    """Each box of a clean page matches its digit to within 6 pixels."""
    rng = np.random.default_rng(5)
    page = sheet([(int(digits.labels[at]), digits.images[at]) for at in range(8)], rng, per_line=4)
    lines = read_page(encode(page.image), classic, Options()).lines
    found = [read.box for line in lines for read in line]
    assert len(found) == len(page.boxes)
    for box, expected in zip(found, page.boxes, strict=True):
        assert np.abs(np.array(astuple(box)) - expected).max() <= 6


def test_pages_in_several_inks_are_read_whole(classic: Model, digits: Digits) -> None:
    """No digit is lost because its ink is paler, or of another hue, than the others."""
    inks = ((20, 20, 120), (250, 220, 40), (20, 200, 230), (230, 30, 30))
    page = sheet(
        [(int(digits.labels[at]), digits.images[at]) for at in range(8)],
        np.random.default_rng(5),
        per_line=4,
    )
    cover = 1 - page.image.astype(np.float32)[..., None] / 255
    coloured = np.full((*page.image.shape, 3), 255.0)
    for (x, y, width, height), ink in zip(page.boxes, inks * 2, strict=True):
        view = (slice(y, y + height), slice(x, x + width))
        coloured[view] += (np.array(ink) - 255.0) * cover[view]
    found = read_page(encode(coloured.astype(np.uint8)), classic, Options()).text
    assert [len(line) for line in found.split()] == [4, 4]
    assert sum(a != b for a, b in zip(found, page.text, strict=True)) <= 1


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("side", [64, 200])
def test_one_stroke_from_edge_to_edge_is_ink(axis: int, side: int) -> None:
    """A single line across the image is not removed as a ruled line, because it may be a 1."""
    page = np.full((side, side), 255, np.uint8)
    page[(slice(None),) * axis + (slice(side // 2, side // 2 + 3),)] = 0
    prepared = prepare(from_pixels(page))
    assert prepared.pixels.max() > 200


# Corners of digits whose strokes are straight, in a grid of 9 columns and 13 rows.
STRAIGHT = {
    2: [[(0, 3), (2, 0), (6, 0), (8, 3), (0, 13), (9, 13)]],
    4: [[(6, 0), (0, 8), (9, 8)], [(6, 0), (6, 13)]],
    7: [[(0, 0), (9, 0), (3, 13)]],
    9: [[(7, 4), (4, 6), (1, 4), (2, 1), (5, 0), (7, 2), (7, 13)]],
}


@pytest.mark.parametrize("label", STRAIGHT)
@pytest.mark.parametrize("unit", [8, 14, 25])
def test_straight_strokes_of_a_crop_are_no_ruling(
    label: int, unit: int, registry: Registry
) -> None:
    """A thin straight stroke across a crop stays: no model gives a sure wrong answer."""
    margin = unit // 2
    page = Image.new("L", (9 * unit + 2 * margin, 13 * unit + 2 * margin), 255)
    for corners in STRAIGHT[label]:
        points = [(x * unit + margin, y * unit + margin) for x, y in corners]
        ImageDraw.Draw(page).line(points, fill=0, width=max(2, unit // 4), joint="curve")
    for name in ("classic", "compact"):
        found = recognise(encode(np.asarray(page)), registry.get(name), Options())
        assert found.digit == label or found.verdict != "digit"
        assert not found.prepared.warnings


def test_removed_lines_are_a_warning(classic: Model, digits: Digits) -> None:
    """A digit on a printed line is read without it, and the answer says so."""
    page = np.full((200, 300), 255, np.uint8)
    page[20:160, 80:220] -= np.round(255 * enlarge(digits.images[3], 140)).astype(np.uint8)
    page[120:122] = 0
    found = recognise(encode(page), classic, Options())
    assert found.digit == digits.labels[3]
    assert PRINT_REMOVED in found.prepared.warnings


def test_cropped_digits_are_read_in_both_polarities(classic: Model, digits: Digits) -> None:
    """At most 2 of 30 digits that are cropped to their ink are misread."""
    wrong = 0
    for at in range(15):
        ink = np.round(255 * tight(enlarge(digits.images[at], 150))).astype(np.uint8)
        for page in (ink, 255 - ink):
            wrong += recognise(encode(page), classic, Options()).digit != digits.labels[at]
    assert wrong <= 2


def _felt_pen(digit: Pixels, widened: int) -> Pixels:
    """Draw a digit with strokes widened by some pixels of the 28x28 on either side, cropped."""
    ink = Image.fromarray(np.pad(digit, 6)).filter(ImageFilter.MaxFilter(2 * widened + 1))
    crop = Image.fromarray(
        np.round(255 * tight(np.asarray(ink, np.float32) / 255)).astype(np.uint8)
    )
    return np.asarray(
        crop.resize((crop.width * 6, crop.height * 6), Image.Resampling.BICUBIC), np.uint8
    )


@pytest.mark.parametrize("widened", [1, 2])
def test_thick_crops_keep_their_polarity(widened: int, digits: Digits) -> None:
    """The corners tell what is ink, however thick the strokes are: of 60, one may be wrong."""
    wrong = 0
    for image in digits.images[:30]:
        light = _felt_pen(image, widened)
        for page, expected in ((light, "light-on-dark"), (255 - light, "dark-on-light")):
            wrong += measure_polarity(page.astype(np.float32)).polarity != expected
    assert wrong <= 1


def test_thick_strokes_are_not_hollowed(classic: Model, digits: Digits) -> None:
    """Of 40 very thick digits at the edge, at most one is a sure wrong answer."""
    uploads = [from_pixels(255 - _felt_pen(image, 2)) for image in digits.images[:40]]
    found = recognise_many(uploads, classic, Options()).predictions
    rows = zip(found.digits, found.verdicts, digits.labels.tolist(), strict=False)
    assert sum(verdict == "digit" and digit != label for digit, verdict, label in rows) <= 1


def test_shaded_paper_is_blank() -> None:
    """Uneven light on paper is no ink, though it is stronger than the grain; faint pencil is."""
    rng, refused = np.random.default_rng(6), 0
    for cells in (2, 3, 4, 5, 6, 8) * 2:
        page = 205 + rng.uniform(4, 9) * smooth_noise((400, 600), cells, rng)
        page += rng.normal(0, 1, page.shape)
        data = encode(np.clip(page, 0, 255).astype(np.uint8), "JPEG", quality=85)
        for read in (candidates, segment):
            try:
                read(decode(data, max_pixels=1_000_000))
            except BlankImageError:
                refused += 1
    assert refused == 24


@pytest.mark.parametrize("blur", [0, 2.5])
def test_faint_pencil_is_no_shading(blur: float, digits: Digits) -> None:
    """A digit that is 16 grey levels darker than the paper is ink, also if it is out of focus."""
    for image in digits.images[:10]:
        page = np.full((300, 400), 215.0)
        page[60:200, 100:240] -= 16 * enlarge(image, 140)
        photo = Image.fromarray(page.astype(np.uint8)).filter(ImageFilter.GaussianBlur(blur))
        assert candidates(from_pixels(np.asarray(photo)))[0].pixels.max() > 200


def test_a_drawn_square_is_no_error(classic: Model) -> None:
    """A square without anything in it is read without its removal as a frame."""
    page = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(page).polygon([(45, 45), (155, 40), (160, 150), (50, 155)], outline=0, width=18)
    assert recognise(encode(np.asarray(page)), classic, Options()).prepared.warnings == ()


def test_pale_pencil_in_noise_is_found(classic: Model, digits: Digits) -> None:
    """A small pale digit on a large noisy page is read; the same noise alone is blank."""
    rng = np.random.default_rng(3)
    page = np.full((480, 640), 215.0)
    page[200:320, 300:420] -= 60 * enlarge(digits.images[1], 120)
    page += rng.normal(0, 8, page.shape)
    data = encode(np.clip(page, 0, 255).astype(np.uint8), "JPEG", quality=80)
    assert recognise(data, classic, Options()).digit == digits.labels[1]
    with pytest.raises(BlankImageError):
        candidates(
            decode(
                encode(np.clip(rng.normal(215, 8, page.shape), 0, 255).astype(np.uint8)),
                max_pixels=1_000_000,
            )
        )
