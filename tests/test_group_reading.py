"""Tests of reading stroke groups: cut where that is likelier, and only then."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from app.group_reading import read_groups
from app.imaging.decode import from_pixels
from app.imaging.segment import Segmentation, segment
from app.inference.model import Model
from app.inference.runtime import Outputs, Pixels, Runtime
from tests.conftest import Digits


@dataclass
class _CountingRuntime:
    """A runtime that counts the images that it runs; all others' methods are the real one's."""

    real: Runtime
    images: int = 0

    def predict(self, images: Pixels) -> Outputs:
        self.images += len(images)
        return self.real.predict(images)

    def inspect(self, images: Pixels) -> dict[str, np.ndarray]:
        return self.real.inspect(images)


def _count_parts(found: Segmentation) -> int:
    return sum(len(found.page.find_spans(group.box)) for group in found.groups)


def _close_together(digits: Digits, count: int) -> np.ndarray:
    """Return `count` digits whose columns touch, uint8 `[H, W]`."""
    images = [digits.images[at] for at in range(count)]
    inked = [np.flatnonzero(image.any(axis=0)) for image in images]
    return np.hstack(
        [image[:, at[0] : at[-1] + 1] for image, at in zip(images, inked, strict=True)]
    )


def test_sure_digit_is_not_cut(classic: Model, digits: Digits) -> None:
    """The network runs once for a digit that it is sure of, however wide that is."""
    wide = next(
        image
        for image in digits.images[digits.labels == 0]
        if _count_parts(segment(from_pixels(image))) > 3
    )
    runtime = _CountingRuntime(classic.runtime)
    (((digit,),),) = read_groups([segment(from_pixels(wide))], replace(classic, runtime=runtime))
    assert (digit.digit, digit.verdict, runtime.images) == (0, "digit", 1)


@pytest.mark.parametrize("count", [2, 3])
def test_touching_digits_are_cut(classic: Model, digits: Digits, count: int) -> None:
    """A group that is not one digit is read in parts."""
    found = segment(from_pixels(np.pad(_close_together(digits, count), 4)))
    read = [digit for group in read_groups([found], classic)[0] for digit in group]
    assert len(read) == count


def test_parts_have_ink(classic: Model, digits: Digits) -> None:
    """Every segment that is offered has ink, and its box lies in the box of its group."""
    found = segment(from_pixels(np.pad(_close_together(digits, 5), 4)))
    for group in found.groups:
        for part in found.page.make_segments(group.box, found.page.find_spans(group.box)):
            left, top, width, height = part.box
            assert part.pixels.max() > 200
            assert group.box.left <= left
            assert left + width <= group.box.right
            assert group.box.top <= top
            assert top + height <= group.box.bottom
