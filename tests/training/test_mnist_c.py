"""The corruptions of MNIST-C: what the published parameters make of a digit, a page and a dot."""

from itertools import product

import numpy as np
import pytest

from training.data import Split
from training.mnist_c import (
    CORRUPTIONS,
    dotted_line,
    fog,
    glass_blur,
    motion_blur,
    shear,
    spatter,
    translate,
    zigzag,
)

BLACK = np.zeros((28, 28), np.uint8)
WHITE = np.full((28, 28), 255, np.uint8)
AXIS = np.arange(28)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_generator_decides(train_digits: Split, kind: str) -> None:
    """Each kind changes a digit, gives pixels, and the same ones for the same generator."""
    for image in train_digits.images[:5]:
        made = CORRUPTIONS[kind](image, np.random.default_rng(1))
        assert (made.shape, made.dtype) == ((28, 28), np.uint8)
        assert (made != image).any()
        np.testing.assert_array_equal(made, CORRUPTIONS[kind](image, np.random.default_rng(1)))


@pytest.mark.parametrize("kind", ["scale", "shear", "rotate", "glass blur", "motion blur"])
def test_ink_is_kept_but_for_its_area(train_digits: Split, kind: str) -> None:
    """What only moves or blurs keeps the ink, times the factor by which it changes areas."""
    rng, images = np.random.default_rng(2), train_digits.images[:100]
    made = np.stack([CORRUPTIONS[kind](image, rng) for image in images])
    factor = {"scale": 0.7**2, "shear": 1 / np.cos(0.4)}.get(kind, 1)
    assert made.sum() / images.sum() == pytest.approx(factor, rel=0.02)


def test_glass_does_not_blur_along_rows() -> None:
    """Where an upright stroke ends at column 12, two passes of swaps bring ink to 14, no further.

    A blur in both directions would smear it beyond.
    """
    stroke = BLACK.copy()
    stroke[:, 8:13] = 255
    made = np.stack([glass_blur(stroke, np.random.default_rng(seed)) for seed in range(20)])
    assert made[:, :, 14].any()
    assert not made[:, :, 15:].any()


def test_motion_trails_to_the_left() -> None:
    """A dot is drawn out to its left only, within 45 degrees."""
    dot = BLACK.copy()
    dot[14, 20] = 255
    for seed in range(20):
        made = motion_blur(dot, np.random.default_rng(seed))
        rows, columns = np.nonzero(made)
        assert columns.max() == 20
        assert columns.min() < 16
        assert (np.abs(rows - 14) <= 20 - columns).all()


def test_shear_leans_both_ways() -> None:
    """An upright stroke leans by an angle of 0.4 and grows in height, some to either side."""
    stroke = BLACK.copy()
    stroke[8:20, 13:15] = 255
    made = np.stack([shear(stroke, np.random.default_rng(seed)) for seed in range(20)])
    row, column = AXIS[:, None] - 13.5, AXIS - 13.5
    leans = np.arctan((made * row * column).sum((1, 2)) / (made * row * row).sum((1, 2)))
    assert set(np.round(leans, 1)) == {-0.4, 0.4}
    height = made.sum((1, 2)) / stroke.sum()
    np.testing.assert_allclose(height, 1 / np.cos(0.4), atol=0.03)


def test_translation_reaches_the_corners() -> None:
    """A dot goes to the four corners of a square of three pixels to each side, unblurred."""
    dot = BLACK.copy()
    dot[14, 14] = 255
    reached = set()
    for seed in range(40):
        made = translate(dot, np.random.default_rng(seed))
        ((row, column),) = np.argwhere(made)
        assert made[row, column] == 255
        reached.add((int(row), int(column)))
    assert reached == set(product((11, 17), repeat=2))


def test_fog_is_bright_and_leaves_a_quarter_of_the_ink(train_digits: Split) -> None:
    """Clouds are at 100 on the mean, and what lies under them has a quarter of its contrast."""
    digits = train_digits.images[:100]
    digits = digits[digits.max(axis=(1, 2)) == 255]
    fogged = [fog(image, np.random.default_rng(seed)) for seed, image in enumerate(digits)]
    assert 90 <= np.mean(fogged) <= 110
    for seed, (image, made) in enumerate(zip(digits, fogged, strict=True)):
        page = BLACK.copy()
        page[0, 0] = 255  # full ink, so that the fog is as thick
        alone = fog(page, np.random.default_rng(seed))
        differ = made.astype(int) - alone
        np.testing.assert_allclose(differ, (image.astype(int) - page) / 4, atol=1)


def test_mud_takes_the_place_of_ink() -> None:
    """Mud is of grey 63 at most on black, and darkens white to that: it is not laid over as light.

    Some half of the page is above the threshold, and a good part of that is covered.
    """
    on_black = np.stack([spatter(BLACK, np.random.default_rng(seed)) for seed in range(50)])
    on_white = np.stack([spatter(WHITE, np.random.default_rng(seed)) for seed in range(50)])
    assert on_black.max() == 63
    assert on_white.min() == 63
    np.testing.assert_array_equal(on_black > 0, on_white < 255)
    covered = on_black > 0
    assert on_black[covered].min() == 50  # 0.8 of 63: thinner mud counts as none
    assert 0.05 < covered.mean() < 0.3


def test_dots_are_two_columns_wide_and_fade() -> None:
    """Two columns are free, two drawn; ink fades above and below the line, within three pixels."""
    made = np.stack([dotted_line(BLACK, np.random.default_rng(seed)) for seed in range(50)])
    drawn = (AXIS % 4 >= 2) & (AXIS < 27)
    assert not made[:, :, ~drawn].any()
    strokes = made.transpose(0, 2, 1)[:, drawn]  # (N, columns, rows)
    assert strokes.max(axis=2).min() >= 192  # half a pixel off at most
    assert strokes.max() == 255
    assert set((strokes > 0).sum(axis=2).ravel()) <= {1, 2, 3}  # one at the border
    fading = 255 * (1 + np.log(1 - 1 / 2.3))  # a pixel beside the middle
    assert np.rint(fading) in strokes


def test_zigzag_has_soft_teeth() -> None:
    """From column 2 to 25, six teeth that go two pixels to either side of a line, grey at edges."""
    made = np.stack([zigzag(BLACK, np.random.default_rng(seed)) for seed in range(100)])
    assert not made[:, :, :2].any()
    assert not made[:, :, 26:].any()
    assert ((made > 0) & (made < 255)).sum() > (made == 255).sum()
    inside = made[~made[:, [0, -1]].any(axis=(1, 2))][:, :, 3:25].astype(float)
    assert len(inside) > 30
    height = (AXIS @ inside) / inside.sum(axis=1)  # (N, 22), of the ink's middle in each column
    for line in height:
        off = line - np.polyval(np.polyfit(AXIS[3:25], line, 1), AXIS[3:25])
        assert 1.2 < np.abs(off).max() < 2.6
        assert np.count_nonzero(np.diff(np.sign(off))) == 5
