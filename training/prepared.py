"""Digits as the service prepares them: pens changed, slanted, turned or stretched, then placed.

The service scales the longer side of whatever it finds to 20 pixels and centres its mass. A digit
that is slanted by 30 degrees therefore arrives smaller, and a scan that was stretched to a square
arrives wide. The augmentation of single pixels (`training.augment`) keeps the digit's size instead.
"""

import numpy as np
from numpy.typing import NDArray

from training.pens import CENTRE, LONGER_SIDE
from training.resample import AXIS, SIDE, Batch, dilate, elastic_field, erode, sample, uniform

SLANT_DEG, TURN_DEG = 33.0, 32.0  # largest; beyond, a 1 lies and a 6 and a 9 begin to be alike
MAX_STRETCH = 4.5  # of the width; a narrow 1 becomes a block
INK = 60  # grey value at which a bounding box begins
CELLS = 16  # side of a small scan, as the United States Postal Service's digits have


def prepare_anew(images: NDArray[np.uint8], rng: np.random.Generator) -> Batch:
    """Change pens and outlines of digits strongly, and place the results as the service does.

    A third is slanted, a third turned, and a third stretched to a square; half of the last third is
    then scanned with 16x16 pixels of two levels.

    Args:
        images: uint8 `[N, 28, 28]`, MNIST-shaped.
        rng: The source of every random choice.

    Returns:
        float32 `[N, 28, 28]`, 0..255.
    """
    n = len(images)
    batch = _change_pen(images.astype(np.float32), rng)
    kind = rng.integers(3, size=(n, 1, 1))
    slant = np.where(kind == 0, uniform(rng, -SLANT_DEG, SLANT_DEG, n), uniform(rng, -8, 8, n))
    turn = np.where(kind == 1, uniform(rng, -TURN_DEG, TURN_DEG, n), uniform(rng, -6, 6, n))
    narrow = np.exp(uniform(rng, -0.25, 0.25, n))
    placed = _place(batch, slant, turn, np.where(kind == 2, 0, narrow), rng)
    scanned = np.flatnonzero((kind[:, 0, 0] == 2) & (rng.random(n) < 0.5))
    if len(scanned):
        placed[scanned] = _scan(placed[scanned], rng)
    return placed


def _change_pen(batch: Batch, rng: np.random.Generator) -> Batch:
    """Make the strokes of half of the digits up to four pixels wider, or thinner."""
    change = rng.choice(5, size=(len(batch), 1, 1), p=[0.5, 0.18, 0.14, 0.04, 0.14])
    wider = dilate(batch)
    widest = dilate(dilate(wider))
    changed = np.where(change == 1, wider, batch)
    changed = np.where(change == 2, dilate(wider), changed)
    changed = np.where(change == 3, widest, changed)
    thinner = batch + uniform(rng, 0.5, 0.9, len(batch)) * (erode(batch) - batch)
    thinner *= 255 / np.maximum(thinner.max(axis=(1, 2), keepdims=True), 90)
    return np.asarray(np.where(change == 4, thinner, changed), np.float32)


def _place(
    batch: Batch, slant: Batch, turn: Batch, narrow: Batch, rng: np.random.Generator
) -> Batch:
    """Slant, turn, bend and squeeze digits; then scale and centre them as MNIST's.

    Args:
        batch: The digits.
        slant: Degrees to the right, `[N, 1, 1]`.
        turn: Degrees, `[N, 1, 1]`.
        narrow: Factor of the width, `[N, 1, 1]`; 0 makes the bounding box a square.
        rng: Draws the bends and small errors of size and place.
    """
    n = len(batch)
    shear, angle = np.tan(np.deg2rad(slant)), np.deg2rad(turn)
    cos, sin = np.cos(angle), np.sin(angle)
    middle = (SIDE - 1) / 2
    y, x = np.meshgrid(AXIS - middle, AXIS - middle, indexing="ij")
    # Where each pixel of the digit goes: slanted, then turned.
    to_y = cos * y + sin * (x - shear * y)
    to_x = -sin * y + cos * (x - shear * y)
    inked = batch > INK
    far = np.float32(1000)
    low_y, high_y = _extent(to_y, inked, far)
    low_x, high_x = _extent(to_x, inked, far)
    height, width = high_y - low_y + 1, high_x - low_x + 1
    square = np.minimum(height / width, MAX_STRETCH)
    narrow = np.where(narrow == 0, square, narrow)
    size = LONGER_SIDE / np.maximum(height, width * narrow) * (1 + uniform(rng, -0.07, 0.07, n))
    mass = np.maximum(batch.sum(axis=(1, 2), keepdims=True), 1)
    mean_y = (to_y * batch).sum(axis=(1, 2), keepdims=True) / mass
    mean_x = (to_x * batch).sum(axis=(1, 2), keepdims=True) / mass
    bend_y, bend_x = elastic_field(n, 4.0, rng)
    strength = uniform(rng, 0, 0.7, n)
    shift_y, shift_x = uniform(rng, -1, 1, n), uniform(rng, -1, 1, n)
    from_y = (AXIS[:, None] - CENTRE - shift_y) / size + mean_y + strength * bend_y
    from_x = (AXIS[None, :] - CENTRE - shift_x) / (size * narrow) + mean_x + strength * bend_x
    # The inverse of the turn and the slant.
    source_y = cos * from_y - sin * from_x
    source_x = sin * from_y + cos * from_x + shear * source_y
    return sample(batch, source_y + middle, source_x + middle)


def _extent(position: Batch, inked: NDArray[np.bool_], far: np.float32) -> tuple[Batch, Batch]:
    """Return the smallest and largest position of ink, `[N, 1, 1]` each."""
    low = np.where(inked, position, far).min(axis=(1, 2), keepdims=True)
    high = np.where(inked, position, -far).max(axis=(1, 2), keepdims=True)
    return np.asarray(np.minimum(low, high)), np.asarray(np.maximum(low, high))


def _scan(batch: Batch, rng: np.random.Generator) -> Batch:
    """Scan the middle 20x20 pixels with 16x16 of two levels, and enlarge the scan again."""
    edges = np.linspace(4, 24, CELLS + 1, dtype=np.float32)
    stop, start = np.minimum(edges[1:, None], AXIS + 1), np.maximum(edges[:-1, None], AXIS)
    cover = np.clip(stop - start, 0, 1)  # (cells, 28)
    shrink = cover / cover.sum(axis=1, keepdims=True)
    small = shrink @ batch @ shrink.T
    level = uniform(rng, 50, 140, len(batch))
    binary = np.where(small > level, np.float32(255), np.float32(0))
    return np.asarray(cover.T @ binary @ cover, np.float32)
