"""Tests of the image filters; SciPy gives the expected results."""

import numpy as np
import pytest
from scipy import ndimage

from app.imaging.filters import box_mean, dilate, label, otsu


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (40, 53)])
@pytest.mark.parametrize("size", [3, 5, 9])
def test_dilation_and_box_mean(shape: tuple[int, int], size: int) -> None:
    """Dilation and box mean equal SciPy's filters with repeated border pixels."""
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    expected = ndimage.maximum_filter(values, size, mode="nearest")
    np.testing.assert_array_equal(dilate(values, size), expected)
    expected = ndimage.uniform_filter(values, size, mode="nearest")
    np.testing.assert_allclose(box_mean(values, size), expected, atol=1e-5)


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
