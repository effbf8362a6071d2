"""Digits that are drawn from strokes, and digits that are drawn again."""

import numpy as np
import pytest
from scipy import ndimage

from app.bundle import open_bundle
from app.inference.litert_runtime import open_runtime
from app.settings import REPOSITORY
from training.data import Split
from training.hands import draw_hands, draw_shapes, draw_signs
from training.pens import ink, place
from training.shapes import NO_DIGIT, SHAPES
from training.skeletons import redraw, thin, trace


@pytest.mark.parametrize("kind", range(len(SHAPES)))
def test_every_shape_is_drawn_as_mnist_is(kind: int) -> None:
    """A shape has MNIST's size and lies inside the image, with every pen; no two are alike."""
    made = draw_shapes(np.full(40, kind), np.random.default_rng(1))
    assert (made.min(), made.max()) == (0, 255)
    inked = made > 60
    heights, widths = inked.any(axis=2).sum(axis=1), inked.any(axis=1).sum(axis=1)
    assert 15 <= np.median(np.maximum(heights, widths)) <= 22
    assert len(np.unique(made.reshape(40, -1), axis=0)) == 40
    assert np.median(made[:, [0, -1]].max(axis=(1, 2))) == 0


def test_all_digits_are_drawn_and_signs_are_not_among_them() -> None:
    """Drawn digits have every label; a crossed shape has the label of its digit."""
    pixels, labels = draw_hands(400, np.random.default_rng(2))
    assert pixels.shape == (400, 28, 28)
    assert set(labels.tolist()) == set(range(10))
    assert {shape.digit for shape in SHAPES} == {*range(10), NO_DIGIT}
    assert draw_signs(5, np.random.default_rng(2)).shape == (5, 28, 28)


def test_width_of_the_pen() -> None:
    """A stroke is as wide as its pen, and placed with its middle at 14."""
    line = np.stack([np.linspace(0, 1, 80), np.zeros(80)], axis=1)[None].astype(np.float32)
    radius = np.array([1.5], np.float32)
    placed = place(line, radius, np.zeros((1, 3), np.float32))
    (image,) = ink(placed, radius, np.random.default_rng(3))
    assert image[14].sum() / 255 == pytest.approx(3, abs=1)
    assert image.sum(axis=0).argmax() == 14
    assert (image[:, 14] > 60).sum() == pytest.approx(20, abs=1)


def test_thinning_keeps_the_form(train_digits: Split) -> None:
    """A skeleton is thin, and has as many parts and holes as the digit."""
    strokes = np.pad(train_digits.images[:60] > 130, ((0, 0), (1, 1), (1, 1)))
    skeletons = thin(strokes)
    assert (skeletons <= strokes).all()
    around = np.ones((3, 3))
    for stroke, skeleton in zip(strokes, skeletons, strict=True):
        assert ndimage.label(stroke, around)[1] == ndimage.label(skeleton, around)[1]
        assert ndimage.label(~stroke)[1] == ndimage.label(~skeleton)[1]
        assert not ndimage.minimum_filter(skeleton, 3).any()


def test_redrawn_digits_are_the_same_digits(train_digits: Split) -> None:
    """Drawn again with any pen, most digits are read as before, and none looks as before."""
    images, labels = train_digits.images[:200], train_digits.labels[:200]
    made = redraw(trace(images), np.random.default_rng(4))
    assert (made.shape, made.dtype) == ((200, 28, 28), np.float32)
    answers = open_runtime(open_bundle(REPOSITORY / "model" / "compact")).predict(made)
    assert (answers.probabilities.argmax(axis=1) == labels).mean() > 0.85
    assert (np.abs(made - images).mean(axis=(1, 2)) > 5).all()
