"""Ruled and grid lines are found at any slope and strength and subtracted; strokes stay."""

import numpy as np
import pytest

from app.imaging.ruled_lines import MAX_SLOPE, find_lines, subtract_lines
from tests.imaging.samples import enlarge


def _ruled(slope: float, strength: float, *, thick: int = 2, pitch: int = 40) -> np.ndarray:
    """Return the ink of a page with parallel lines, some of which leave it at the top."""
    y, x = np.mgrid[0:240, 0:320]
    return np.where((y - slope * x) % pitch < thick, strength, 0).astype(np.float32)


@pytest.mark.parametrize("slope", [-0.05, 0.0, 0.02, 0.06])
@pytest.mark.parametrize("strength", [12.0, 60.0, 200.0])
def test_lines_are_subtracted(slope: float, strength: float) -> None:
    """Pale and dark lines, horizontal or tilted, leave almost no ink."""
    page = _ruled(slope, strength)
    cleaned, lines = subtract_lines(page, noise=0.0)
    assert lines >= 5
    assert (cleaned > 0.3 * strength).mean() < 0.05 * (page > 0).mean()


def test_grids_are_subtracted() -> None:
    """Vertical lines are subtracted as well as horizontal ones."""
    page = np.maximum(_ruled(0.01, 80.0), _ruled(0.01, 80.0).T[:240, :240].repeat(2, 1)[:, :320])
    cleaned, lines = subtract_lines(page, noise=0.0)
    assert lines >= 8
    assert cleaned.sum() < 0.1 * page.sum()


def test_strokes_on_lines_stay(digits) -> None:
    """A dark digit on paler lines keeps its ink; the lines around it are removed."""
    ink = np.zeros((240, 320), np.float32)
    ink[40:220, 70:250] = 220 * enlarge(digits.images[3], 180)
    cleaned, _ = subtract_lines(np.maximum(ink, _ruled(0.01, 70.0)), noise=0.0)
    core = ink > 200
    assert (cleaned[core] > 110).mean() > 0.99
    assert (cleaned[ink == 0] > 35).mean() < 0.005


def test_digits_are_not_lines(digits) -> None:
    """None of 50 page-filling digits is detected as a line."""
    for image in digits.images[:50]:
        page = 255 * enlarge(image, 100)
        assert find_lines(page, 0.0) == []
        assert find_lines(np.ascontiguousarray(page.T), 0.0) == []


def test_steep_lines_are_strokes() -> None:
    """A line steeper than the tilt of a page is a stroke and stays."""
    y, x = np.mgrid[0:200, 0:200]
    stroke = np.where(np.abs(y - 30 - 3 * MAX_SLOPE * x) < 2, 200, 0).astype(np.float32)
    assert find_lines(stroke, 0.0) == []


@pytest.mark.parametrize("shape", [(64, 64), (64, 300), (63, 500), (1, 900)])
def test_noise_of_any_shape_is_accepted(shape: tuple[int, int]) -> None:
    """Noise on a page of any shape gives a finite array of the same shape."""
    noise = np.random.default_rng(1).random(shape, np.float32) * 200
    cleaned, _ = subtract_lines(noise, noise=10.0)
    assert cleaned.shape == shape
    assert np.isfinite(cleaned).all()
