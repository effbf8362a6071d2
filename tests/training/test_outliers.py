"""Pictures that are no digits: those that training draws, and those that test the verdict."""

from collections.abc import Callable

import numpy as np
import pytest

from app.imaging.decode import decode
from training.drawings import draw_faces, draw_polygons, draw_walks
from training.nondigits import NONDIGITS, UNSEEN_NONDIGITS
from training.photographs import draw_photographs
from training.resample import Batch

Drawn = Callable[[int, np.random.Generator], Batch]


@pytest.mark.parametrize("draw", [draw_faces, draw_polygons, draw_walks, draw_photographs])
def test_pictures_differ_and_repeat_with_the_seed(draw: Drawn) -> None:
    """Pictures of one batch differ; the same generator draws the same ones."""
    first, second = (draw(20, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (20, 28, 28)
    assert first.dtype == np.float32
    assert first.min() >= 0
    assert first.max() <= 255
    assert len(np.unique(first.reshape(20, -1), axis=0)) >= 18


@pytest.mark.parametrize("draw", [draw_faces, draw_polygons, draw_walks])
def test_drawings_have_the_size_and_place_of_digits(draw: Drawn) -> None:
    """A drawing's longer side is about 20 pixels, as the service scales what it finds."""
    inked = draw(200, np.random.default_rng(2)) > 60
    heights, widths = inked.any(axis=2).sum(axis=1), inked.any(axis=1).sum(axis=1)
    longer = np.maximum(heights, widths)
    assert 18 <= np.median(longer) <= 22
    assert longer.max() <= 26


def test_faces_have_features_inside_an_outline() -> None:
    """From the left edge to the right one, a row through a face crosses its outline twice."""
    faces = draw_faces(100, np.random.default_rng(3)) > 100
    rows = faces[:, 12:16].astype(int)
    crossings = (np.diff(rows, axis=2) == 1).sum(axis=2)
    assert (crossings.max(axis=1) >= 2).mean() > 0.9
    assert (crossings.max(axis=1) >= 3).mean() > 0.4  # eyes or a nose between


def test_photographs_are_what_the_preparation_leaves() -> None:
    """Most of a prepared picture is black, and its ink reaches the range of a digit's."""
    made = draw_photographs(60, np.random.default_rng(4))
    assert np.median((made < 30).mean(axis=(1, 2))) > 0.4
    assert np.median(made.max(axis=(1, 2))) > 200


@pytest.mark.parametrize("kind", NONDIGITS | UNSEEN_NONDIGITS)
def test_nondigits_are_files_with_ink(kind: str) -> None:
    """Each kind that tests the verdict is drawn as an image file, never twice the same."""
    make, rng = (NONDIGITS | UNSEEN_NONDIGITS)[kind], np.random.default_rng(5)
    drawn = [decode(make(rng), max_pixels=100_000).pixels for _ in range(4)]
    assert all(np.ptp(pixels) > 100 for pixels in drawn)
    assert len({pixels.tobytes() for pixels in drawn}) == 4
