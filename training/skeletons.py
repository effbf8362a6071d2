"""Strokes of training digits, to draw the digits again with other pens.

A digit is thinned to lines of one pixel (Zhang and Suen, 1984, "A fast parallel algorithm for
thinning digital patterns"), the lines are moved to the middle of the ink, and their points are
distorted and inked again. Varga and Bunke (2003, "Generation of synthetic training data for an
HMM-based handwriting recognition system") vary handwriting by such perturbations; drawing the
strokes again gives every digit every pen, which no change of pixels does.
"""

import numpy as np
from numpy.typing import NDArray

from training.pens import Points, distort, ink, place, random_jitter, random_pen
from training.resample import Batch

POINTS = 110  # of a digit; 99 % of the training digits have fewer
INK = 130  # grey value of a stroke's edge; with less, small loops close
CHUNK = 5000  # digits that are thinned together


def trace(images: NDArray[np.uint8]) -> Points:
    """Return the points of digits' strokes, in 20ths of a digit's height.

    Args:
        images: uint8 `[N, 28, 28]`, ink high; about 0.3 ms each.

    Returns:
        float32 `[N, POINTS, 2]`; digits with fewer points repeat them.
    """
    parts = [_points(images[at : at + CHUNK]) for at in range(0, len(images), CHUNK)]
    return np.concatenate(parts) / np.float32(20)


def redraw(strokes: Points, rng: np.random.Generator) -> Batch:
    """Draw digits again with other slants, bends and pens.

    Args:
        strokes: Points from `trace`, `[N, POINTS, 2]`.
        rng: The source of every random choice.

    Returns:
        float32 `[N, 28, 28]`, 0..255.
    """
    radius = random_pen(len(strokes), rng)
    moved = distort(strokes, rng, slant_deg=24, turn_deg=16, bend=0.045)
    placed = place(moved, radius, random_jitter(len(strokes), rng))
    return ink(placed, radius, rng, nib=0.35)


def thin(strokes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Thin strokes to lines of one pixel, all images at once (Zhang and Suen, 1984).

    Args:
        strokes: bool `[N, H, W]`; the border is empty.

    Returns:
        bool `[N, H, W]`.
    """
    left = strokes.astype(np.uint8)
    while True:
        before = left.copy()
        for step in (0, 1):
            around = _neighbours(left)
            count = np.sum(around, axis=0, dtype=np.uint8)
            follows = np.roll(around, -1, axis=0)
            rises = np.sum((around == 0) & (follows == 1), axis=0, dtype=np.uint8)
            north, east, south, west = around[0], around[2], around[4], around[6]
            if step == 0:
                loose = (north & east & south) | (east & south & west)
            else:
                loose = (north & east & west) | (north & south & west)
            gone = (left == 1) & (count >= 2) & (count <= 6) & (rises == 1) & (loose == 0)
            left[gone] = 0
        if np.array_equal(before, left):
            return left.astype(bool)


def _neighbours(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the eight neighbours of each pixel, clockwise from the north, `[8, N, H, W]`."""
    around = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
    return np.stack([np.roll(image, (-dy, -dx), axis=(1, 2)) for dy, dx in around])


def _points(images: NDArray[np.uint8]) -> Points:
    """Return the points of the digits' skeletons, `[N, POINTS, 2]`, with repeats."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1))).astype(np.float32)
    skeleton = thin(padded > INK)
    # The centre of the ink in 3x3 pixels is nearer to the middle of a stroke than its pixel.
    weight, shift_y, shift_x = (np.zeros_like(padded) for _ in range(3))
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            value = np.roll(padded, (-dy, -dx), axis=(1, 2))
            weight += value
            shift_y += dy * value
            shift_x += dx * value
    axis = np.arange(padded.shape[1], dtype=np.float32) - 1
    y = axis[:, None] + shift_y / np.maximum(weight, 1)
    x = axis[None, :] + shift_x / np.maximum(weight, 1)
    pieces = [(*np.nonzero(skeleton),)]
    owner = [pieces[0][0]]
    ys, xs = [y[skeleton]], [x[skeleton]]
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):  # the middle between two neighbours
        both = skeleton & np.roll(skeleton, (-dy, -dx), axis=(1, 2))
        if dy and dx:  # a diagonal step beside a corner is no stroke
            corner = np.roll(skeleton, -dy, axis=1) | np.roll(skeleton, -dx, axis=2)
            both &= ~corner
        owner.append(np.nonzero(both)[0])
        ys.append((0.5 * (y + np.roll(y, (-dy, -dx), axis=(1, 2))))[both])
        xs.append((0.5 * (x + np.roll(x, (-dy, -dx), axis=(1, 2))))[both])
    return _by_digit(np.concatenate(owner), np.concatenate(ys), np.concatenate(xs), len(images))


def _by_digit(
    owner: NDArray[np.intp], y: NDArray[np.float32], x: NDArray[np.float32], n: int
) -> Points:
    """Return every digit's points in rows of equal length; short rows repeat their points."""
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=n)
    starts = np.cumsum(counts) - counts
    picked = starts[:, None] + np.arange(POINTS) % np.maximum(counts, 1)[:, None]
    rows = order[np.minimum(picked, len(order) - 1)]
    return np.asarray(np.stack([y[rows], x[rows]], 2), np.float32)
