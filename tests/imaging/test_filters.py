"""Tests of the image filters; SciPy gives the expected results."""

import numpy as np
import pytest
from scipy import ndimage

from app.imaging.filters import (
    MAX_EXACT_SIZE,
    box_mean,
    dilate,
    grow,
    label,
    otsu,
    quantile,
    sample,
)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (40, 53)])
@pytest.mark.parametrize("size", [3, 5, 9])
def test_dilation_and_box_mean(shape: tuple[int, int], size: int) -> None:
    """Dilation and box mean equal SciPy's filters with repeated border pixels."""
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    expected = ndimage.maximum_filter(values, size, mode="nearest")
    np.testing.assert_array_equal(dilate(values, size), expected)
    expected = ndimage.uniform_filter(values, size, mode="nearest")
    np.testing.assert_allclose(box_mean(values, size), expected, atol=1e-5)


@pytest.mark.parametrize("size", [3, 5, 9])
def test_grown_masks(size: int) -> None:
    """A grown mask equals SciPy's dilation, also at the border and where it is thinner."""
    for shape in ((40, 53), (2, 9), (1, 1)):
        mask = np.random.default_rng(1).random(shape) < 0.1
        expected = ndimage.binary_dilation(mask, np.ones((size, size)))
        np.testing.assert_array_equal(grow(mask, size), expected)


def test_quantile_is_numpys_to_the_last_bit() -> None:
    """Every number of values, from one up."""
    values = (255 * np.random.default_rng(0).random(400)).astype(np.float32)
    for share in (0.75, 0.9):
        for count in range(1, len(values)):
            assert quantile(values[:count], share) == np.quantile(values[:count], share)


def test_sample_is_spread_over_the_image() -> None:
    """A small image counts whole; of a large one, every row and every column has its share."""
    small = np.zeros((256, MAX_EXACT_SIZE // 256), np.float32)
    assert sample(small).size == small.size
    rows, columns = np.indices((300, 512)).astype(np.float32)
    for places in (rows, columns):
        chosen = sample(places)
        assert chosen.size < places.size / 4
        assert len(np.unique(chosen)) == len(np.unique(places))
        np.testing.assert_allclose(chosen.mean(), places.mean(), rtol=0.01)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.6, 0.9])
def test_label(share: float) -> None:
    """Labels equal SciPy's with 8-connectivity, in the raster order of the first pixels."""
    mask = np.random.default_rng(1).random((60, 80)) < share
    ours, count = label(mask)
    theirs, expected = ndimage.label(mask, np.ones((3, 3)))
    assert count == expected
    np.testing.assert_array_equal(ours, theirs)


def test_empty_mask_has_no_components() -> None:
    """An empty mask has no components."""
    assert label(np.zeros((5, 5), bool))[1] == 0


def test_otsu_separates_two_levels() -> None:
    """Two levels are split in their middle with all variance explained; one level with none."""
    values = np.repeat([20.0, 200.0], [300, 100]).astype(np.float32)
    threshold, explained = otsu(values)
    assert threshold == pytest.approx(109.5, abs=1)
    assert explained == pytest.approx(1)
    assert otsu(np.full(10, 7, np.float32))[1] == 0
