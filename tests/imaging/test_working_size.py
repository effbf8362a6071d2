"""A large image of one digit is prepared with as many pixels as the digit needs."""

import numpy as np
import pytest
from PIL import Image

from app.errors import BlankImageError
from app.imaging.decode import Upload, from_pixels
from app.imaging.prepare import prepare
from app.imaging.stages import NetworkInput
from app.samples import sample_pixels


def _page(side: int, digit_side: int, *, ink: int = 255) -> Upload:
    """Return a white page, `side` pixels wide, with a 3 drawn into a square of `digit_side`."""
    digit = Image.fromarray(sample_pixels(3)).resize((digit_side, digit_side))
    page = np.full((side * 3 // 4, side), 255, np.uint8)
    page[40 : 40 + digit_side, 60 : 60 + digit_side] -= (np.asarray(digit) * (ink / 255)).astype(
        np.uint8
    )
    return from_pixels(page)


def _width(prepared: NetworkInput) -> int:
    """Return the width of the image that was prepared, in pixels."""
    return prepared.stages[0].image.shape[1]


@pytest.mark.parametrize(
    ("side", "digit_side", "width"),
    [(799, 300, 799), (1600, 800, 400), (1600, 300, 800), (1600, 60, 1600)],
)
def test_a_digit_gets_the_pixels_that_it_needs(side: int, digit_side: int, width: int) -> None:
    """A small digit on a large image is prepared with more of its pixels, at its right place."""
    prepared = prepare(_page(side, digit_side), record=True)
    assert _width(prepared) == width
    plain = prepare(_page(600, 300))
    assert np.abs(prepared.pixels.astype(int) - plain.pixels).mean() < 12  # of other digits: 40
    place = prepared.placement
    middle = np.array([place.offset_x + place.scale_x * 14, place.offset_y + place.scale_y * 14])
    drawn = np.array([60, 40]) + digit_side / 2
    np.testing.assert_allclose(middle, drawn, atol=0.04 * digit_side + 2)


def test_transparency_is_reduced_with_its_image() -> None:
    """A drawing without a background looks the same at a reduced size."""
    page = _page(1600, 800)
    black = np.zeros((*page.pixels.shape, 3), np.uint8)
    for pixels in (black, black[..., 0]):
        drawing = Upload(pixels, 255 - page.pixels, "png", page.width, page.height)
        prepared = prepare(drawing, record=True)
        assert _width(prepared) == 400
        np.testing.assert_allclose(prepared.pixels.astype(int), prepare(page).pixels, atol=3)


def test_hairlines_are_found_at_full_size() -> None:
    """Ink that is too pale once it is reduced is looked for in the whole image."""
    page = np.full((1200, 1600), 255, np.uint8)
    page[300:900, 800] -= 45
    assert _width(prepare(from_pixels(page), record=True)) == 1600
    with pytest.raises(BlankImageError):
        prepare(from_pixels(np.full((1200, 1600), 255, np.uint8)))
