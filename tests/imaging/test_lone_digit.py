"""The short way for small images comes to the same segments as all stages, bit by bit."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import BlankImageError
from app.imaging.decode import from_pixels
from app.imaging.filters import is_connected, label
from app.imaging.lone_digit import find_clean_ink, find_lone_digit
from app.imaging.segment import segment
from tests.conftest import Digits

Pixels = NDArray[np.uint8]
# A rule that `segment` does not know, so that it takes all stages.
ALL_STAGES = frozenset({"all stages"})


def _with_specks(image: Pixels, rng: np.random.Generator) -> Pixels:
    image = image.copy()
    for _ in range(int(rng.integers(1, 5))):
        row, column = rng.integers(0, 28, 2)
        image[row : row + 2, column : column + 2] = rng.integers(20, 256)
    return image


def _with_box(image: Pixels, rng: np.random.Generator) -> Pixels:
    image, (top, left), (bottom, right) = (
        image.copy(),
        rng.integers(0, 5, 2),
        rng.integers(22, 28, 2),
    )
    level = rng.integers(60, 256)
    image[[top, bottom], left : right + 1] = level
    image[top : bottom + 1, [left, right]] = level
    return image


def _sheet(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Return a light rectangle with something dark in it, as a sheet on a desk."""
    sheet = np.zeros_like(image)
    (top, left), (bottom, right) = rng.integers(1, 8, 2), rng.integers(16, 27, 2)
    sheet[top:bottom, left:right] = rng.integers(100, 256)
    sheet[top + 3 : top + 5, left + 4 : left + 5 + rng.integers(0, 3)] = rng.integers(0, 90)
    return sheet


DAMAGES: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "none": lambda image, rng: image,
    "moved": lambda image, rng: np.roll(image, tuple(rng.integers(-7, 8, 2)), (0, 1)),
    "faint": lambda image, rng: (image * rng.uniform(0.03, 0.5)).astype(np.uint8),
    "two levels": lambda image, rng: np.uint8(255) * (image > rng.integers(10, 230)),
    "grey background": lambda image, rng: np.maximum(image, np.uint8(rng.integers(1, 60))),
    "uneven": lambda image, rng: np.maximum(image, np.arange(28).astype(np.uint8)),
    "noise": lambda image, rng: np.maximum(image, rng.integers(0, 40, (28, 28)).astype(np.uint8)),
    "inverted": lambda image, rng: 255 - image,
    "specks": _with_specks,
    "box": _with_box,
    "sheet": _sheet,
    "two digits": lambda image, rng: np.hstack([image[:, 4:24:2], image[:, 4:24:2]]),
    "wide": lambda image, rng: image[::2][4:13],
    "small": lambda image, rng: image[4:24:2, 4:24:2],
    "parts": lambda image, rng: image * (np.arange(28) != rng.integers(8, 20))[:, None],
}


def _described(image: Pixels, skip: frozenset[str]) -> object:
    """Return all that `segment` finds on an image, or its error."""
    try:
        found = segment(from_pixels(image), skip=skip)
    except BlankImageError as error:
        return error.detail
    groups = []
    for group in found.groups:
        assert group.whole
        spans = found.page.find_spans(group.box)
        parts = [group.whole, *found.page.make_segments(group.box, spans)]
        groups.append(
            (
                group.box,
                group.is_sign,
                group.may_be_cut,
                [(part.span, part.box, part.pixels.tobytes()) for part in parts],
            )
        )
    return found.polarity, found.fields, found.warnings, groups


@pytest.mark.parametrize("damage", DAMAGES)
def test_short_way_finds_the_same(damage: str, digits: Digits) -> None:
    """Whatever a small image shows, the segments are those that all stages find."""
    rng = np.random.default_rng(1)
    for image in digits.images[:12]:
        changed = np.ascontiguousarray(DAMAGES[damage](image, rng), np.uint8)
        assert _described(changed, frozenset()) == _described(changed, ALL_STAGES)


def test_most_digits_take_the_short_way(digits: Digits) -> None:
    """Nearly all digits of MNIST are clean, and nine in ten are one component."""
    inks = [find_clean_ink(from_pixels(image)) for image in digits.images[:200]]
    clean = [ink for ink in inks if ink]
    assert len(clean) > 190
    assert sum(find_lone_digit(ink) is not None for ink in clean) > 175


@pytest.mark.parametrize("seed", range(3))
def test_flood_fill_agrees_with_labels(seed: int) -> None:
    """A mask is connected if it has one label."""
    rng, found = np.random.default_rng(seed), set[bool]()
    for _ in range(200):
        shape = rng.integers(1, 9, 2)
        mask = rng.random(shape) < rng.choice([0.2, 0.5, 0.8])
        found.add(is_connected(mask))
        assert is_connected(mask) == (label(mask)[1] == 1)
    assert found == {False, True}
