"""The whole pipeline reads digits on simulated paper, with every pen and light."""

from dataclasses import astuple

import numpy as np
import pytest

from app.errors import BlankImageError
from app.imaging.candidates import candidates
from app.imaging.decode import decode, from_pixels
from app.imaging.prepare import prepare
from app.inference.model import Model
from app.page_reading import read_page
from app.recognise import Options, recognise
from tests.conftest import Digits
from tests.imaging.samples import KINDS, encode, enlarge, photographed, sheet, tight


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


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("side", [64, 200])
def test_one_stroke_from_edge_to_edge_is_ink(axis: int, side: int) -> None:
    """A single line across the image is not removed as a ruled line, because it may be a 1."""
    page = np.full((side, side), 255, np.uint8)
    page[(slice(None),) * axis + (slice(side // 2, side // 2 + 3),)] = 0
    prepared = prepare(from_pixels(page))
    assert prepared.pixels.max() > 200


def test_cropped_digits_are_read_in_both_polarities(classic: Model, digits: Digits) -> None:
    """At most 2 of 30 digits that are cropped to their ink are misread."""
    wrong = 0
    for at in range(15):
        ink = np.round(255 * tight(enlarge(digits.images[at], 150))).astype(np.uint8)
        for page in (ink, 255 - ink):
            wrong += recognise(encode(page), classic, Options()).digit != digits.labels[at]
    assert wrong <= 2


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
