"""Augmentation: what it may change and what it may not."""

from collections.abc import Callable

import numpy as np
import pytest

from training.augment import Augmentation, augment
from training.corruptions import CORRUPTIONS
from training.damage import DAMAGE
from training.data import Split
from training.outliers import KINDS, outliers
from training.resample import Batch
from training.skeletons import trace
from training.strokes import draw_segments

STRONG = Augmentation(
    rotation_deg=15,
    shift_px=2,
    scale=0.1,
    shear_deg=10,
    elastic_px=1,
    thickness=0.5,
    corruption=0.5,
)


def test_zero_ranges_change_nothing(train_digits: Split) -> None:
    """With all ranges at zero the digits stay as they are."""
    images = train_digits.images[:20]
    np.testing.assert_allclose(
        augment(images, Augmentation(), np.random.default_rng(1)), images, atol=0.02
    )


def test_seed_decides(train_digits: Split) -> None:
    """The same generator gives the same images, another generator gives others."""
    images = train_digits.images[:50]
    first, same, other = (augment(images, STRONG, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_values_stay_pixels(train_digits: Split) -> None:
    """The strongest augmentation keeps shape and range of pixels, without NaN."""
    made = augment(train_digits.images, STRONG, np.random.default_rng(3))
    assert (made.shape, made.dtype) == ((500, 28, 28), np.float32)
    assert made.min() >= 0
    assert made.max() <= 255


def test_shift_moves_the_centre_of_mass(train_digits: Split) -> None:
    """A shift of up to three pixels moves the ink by at most three pixels and keeps its amount."""
    images = train_digits.images[:200]
    moved = augment(images, Augmentation(shift_px=3), np.random.default_rng(4))
    rows = np.arange(28)
    before = (images.sum(axis=2) @ rows) / images.sum(axis=(1, 2))
    after = (moved.sum(axis=2) @ rows) / moved.sum(axis=(1, 2))
    assert 2.5 < np.abs(after - before).max() <= 3.1
    assert np.median(moved.sum(axis=(1, 2)) / images.sum(axis=(1, 2))) == pytest.approx(1, abs=0.02)


def test_rotation_turns_the_main_axis() -> None:
    """A vertical stroke is rotated in both directions, by at most the largest angle."""
    stroke = np.zeros((300, 28, 28), np.uint8)
    stroke[:, 4:24, 13:15] = 255
    turned = augment(stroke, Augmentation(rotation_deg=20), np.random.default_rng(5))
    y, x = np.mgrid[0:28, 0:28] - 13.5
    slope = (turned * x * y).sum(axis=(1, 2)) / (turned * y * y).sum(axis=(1, 2))
    angles = np.rad2deg(np.arctan(slope))
    assert angles.min() < -15
    assert angles.max() > 15
    assert np.abs(angles).max() < 21


EVERY_HARM = CORRUPTIONS | DAMAGE


@pytest.mark.parametrize("kind", EVERY_HARM)
def test_corruption_changes_every_digit(train_digits: Split, kind: str) -> None:
    """A corruption changes nearly every digit, damage many, equally for equal generators."""
    batch = train_digits.images[:50].astype(np.float32)
    made = EVERY_HARM[kind](batch, np.random.default_rng(6))
    assert made.shape == batch.shape
    assert np.isfinite(made).all()
    assert (np.abs(np.clip(made, 0, 255) - batch).mean(axis=(1, 2)) > 0.1).mean() > (
        0.8 if kind in CORRUPTIONS else 0.2
    )
    np.testing.assert_array_equal(made, EVERY_HARM[kind](batch, np.random.default_rng(6)))


@pytest.mark.parametrize("make", KINDS)
def test_outliers_have_ink(make: Callable[..., Batch], train_digits: Split) -> None:
    """Each kind of non-digit is an image with ink."""
    made = make(train_digits.images[:50], np.random.default_rng(7))
    assert made.shape == (50, 28, 28)
    assert made.min() >= 0
    assert made.max() <= 255
    assert (made.std(axis=(1, 2)) > 5).mean() > 0.8


def test_outliers_mix_all_kinds(train_digits: Split) -> None:
    """A batch of outliers has one image per digit, all different."""
    made = outliers(train_digits.images[:64], np.random.default_rng(8))
    assert len(np.unique(made.reshape(64, -1), axis=0)) == 64


def test_all_shares_together_change_every_digit(train_digits: Split) -> None:
    """Digits that are prepared anew or drawn again are MNIST-sized, whatever they looked like."""
    how = Augmentation(prepared=0.5, redrawn=0.5)
    images = train_digits.images[:200]
    made = augment(images, how, np.random.default_rng(9))
    assert (np.abs(made - images).mean(axis=(1, 2)) > 2).mean() > 0.95
    inked = made > 60
    heights, widths = inked.any(axis=2).sum(axis=1), inked.any(axis=1).sum(axis=1)
    assert 15 <= np.median(np.maximum(heights, widths)) <= 22
    same = augment(images, how, np.random.default_rng(9), trace(images))
    np.testing.assert_array_equal(made, same)


def test_segment_is_drawn_with_soft_edges() -> None:
    """A segment has full ink, half ink at the edge of the pen, and none two pixels away."""
    start, end = np.array([[[14, 5]]], np.float32), np.array([[[14, 20]]], np.float32)
    (image,) = draw_segments(start, end, np.array([1.0], np.float32))
    assert image[14, 10] == 255
    assert image[16, 10] == 0
    assert image[15, 10] == pytest.approx(127.5)
