"""Digits of hands that MNIST lacks, drawn from their strokes.

MNIST was written in the United States. Other schools teach a 1 with a long flag or a foot, a
crossed 7, a 2 with a loop, an open or a crossed 4; forms and engineers slash the 0. Each shape here
is a few strokes through control points; every point, the roundness of the corners, the slant, the
width and the pen vary at random.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from training.pens import Points, distort, ink, place, random_jitter, random_pen
from training.resample import Batch
from training.shapes import NO_DIGIT, SHAPES

POINTS = 96  # of a drawn digit; its strokes share them by their length


def draw_hands(n: int, rng: np.random.Generator) -> tuple[Batch, NDArray[np.int64]]:
    """Draw `n` digits.

    Returns:
        Pixels, float32 `[n, 28, 28]`, 0..255, and labels, int64 `[n]`.
    """
    digits = rng.integers(10, size=n)
    kinds = np.zeros(n, np.int64)
    for digit in range(10):
        rows = np.flatnonzero(digits == digit)
        of_digit = [k for k, shape in enumerate(SHAPES) if shape.digit == digit]
        shares = np.array([SHAPES[k].share for k in of_digit])
        kinds[rows] = rng.choice(of_digit, size=len(rows), p=shares / shares.sum())
    return draw_shapes(kinds, rng), digits


def draw_signs(n: int, rng: np.random.Generator) -> Batch:
    """Draw `n` signs that are no digits, float32 `[n, 28, 28]`, 0..255."""
    kinds = [kind for kind, shape in enumerate(SHAPES) if shape.digit == NO_DIGIT]
    return draw_shapes(rng.choice(kinds, size=n), rng)


def draw_shapes(kinds: NDArray[np.int64], rng: np.random.Generator) -> Batch:
    """Draw shapes, given as positions in `SHAPES`, int64 `[N]`."""
    points = np.zeros((len(kinds), POINTS, 2), np.float32)
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        points[rows] = _trace(int(kind), len(rows), rng)
    radius = random_pen(len(kinds), rng)
    moved = distort(points, rng, slant_deg=28, turn_deg=11, bend=0.035)
    return ink(place(moved, radius, random_jitter(len(kinds), rng)), radius, rng, nib=0.35)


def _trace(kind: int, n: int, rng: np.random.Generator) -> Points:
    """Return the points of `n` drawings of a shape, float32 `[n, POINTS, 2]`."""
    shape = SHAPES[kind]
    straight, curved = _paths(kind)
    controls = np.array([control for stroke in shape.strokes for control in stroke], np.float32)
    noise = rng.uniform(-1, 1, (n, len(controls), 2)).astype(np.float32)
    at = controls[:, :2] + noise * controls[:, 2:]
    roundness = rng.uniform(*shape.round, (n, 1, 1)).astype(np.float32)
    path = (1 - roundness) * (straight @ at) + roundness * (curved @ at)
    return np.asarray(path[..., ::-1], np.float32)  # (y, x)


@cache
def _paths(kind: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return matrices `[POINTS, controls]`: control points to lines, and to Catmull-Rom curves."""
    strokes = SHAPES[kind].strokes
    lengths = []
    for stroke in strokes:
        corners = np.array([control[:2] for control in stroke])
        lengths.append(np.hypot(*np.diff(corners, axis=0).T).sum() + 0.05)
    shares = np.cumsum(lengths) / np.sum(lengths) * POINTS
    ends = [0, *(round(float(share)) for share in shares)]
    total = sum(len(stroke) for stroke in strokes)
    straight, curved = (np.zeros((POINTS, total), np.float32) for _ in range(2))
    column = 0
    for stroke, start, end in zip(strokes, ends, ends[1:], strict=False):
        corners = np.array([control[:2] for control in stroke])
        steps = np.hypot(*np.diff(corners, axis=0).T) + 1e-6
        along = np.concatenate([[0], np.cumsum(steps)])
        for row, s in enumerate(np.linspace(0, along[-1], end - start), start=start):
            piece = min(int(np.searchsorted(along, s, side="right")) - 1, len(steps) - 1)
            _weigh(
                straight, curved, row, column, piece, len(stroke), (s - along[piece]) / steps[piece]
            )
        column += len(stroke)
    return straight, curved


def _weigh(
    straight: NDArray[np.float32],
    curved: NDArray[np.float32],
    row: int,
    column: int,
    piece: int,
    controls: int,
    t: float,
) -> None:
    """Add the weights of a point, a share `t` along a piece of a stroke (Catmull and Rom, 1974)."""
    straight[row, column + piece] += 1 - t
    straight[row, column + piece + 1] += t
    cubic = (
        -0.5 * t**3 + t**2 - 0.5 * t,
        1.5 * t**3 - 2.5 * t**2 + 1,
        -1.5 * t**3 + 2 * t**2 + 0.5 * t,
        0.5 * t**3 - 0.5 * t**2,
    )
    for offset, weight in zip(range(-1, 3), cubic, strict=True):
        nearest = min(max(piece + offset, 0), controls - 1)
        curved[row, column + nearest] += weight
