"""Ink strokes that are given as points, with pens of any width, and place them as in MNIST.

Knows points and pixels; knows nothing of digits.
"""

import numpy as np
from numpy.typing import NDArray

from training.resample import AXIS, SIDE, Batch, uniform

Points = NDArray[np.float32]  # (N, P, 2), (y, x) in pixels
LONGER_SIDE = 20.0  # pixels of the ink's bounding box, as in MNIST
CENTRE = 14.0  # index of the centre of mass on both axes, as in MNIST


def ink(
    points: Points, radius: NDArray[np.float32], rng: np.random.Generator, *, nib: float = 0.0
) -> Batch:
    """Draw a dot at every point; dots that are less than a pixel apart join to strokes.

    Args:
        points: float32 `[N, P, 2]`.
        radius: float32 `[N]`, half the width of the pen, pixels.
        rng: Turns the pens and varies the pressure.
        nib: Largest relative difference between the two widths of a flat pen, 0..1.

    Returns:
        float32 `[N, 28, 28]`, 0..255.
    """
    n, count = points.shape[:2]
    y, x = np.meshgrid(AXIS, AXIS, indexing="ij")
    grid = np.stack([y.ravel(), x.ravel()])  # (2, 784)
    angle = np.asarray(rng.uniform(0, np.pi, n), np.float32)
    flat = np.asarray(1 + rng.uniform(0, 2 * nib + 1e-6, n), np.float32)
    # The pen is round in coordinates that are turned by `angle` and stretched by `flat`.
    turn = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], 1)
    metric = turn.reshape(n, 2, 2)
    metric[:, 1] *= flat[:, None]
    moved, seen = points @ metric.transpose(0, 2, 1), metric @ grid
    pressure = (0.5 * radius**2 * rng.uniform(0, 1, n)).astype(np.float32)[:, None]
    wave = np.sin(
        np.linspace(0, 1, count, dtype=np.float32) * rng.uniform(2, 14, (n, 1)).astype(np.float32)
        + rng.uniform(0, 6, (n, 1)).astype(np.float32)
    )
    offset = (moved**2).sum(2) - pressure * wave
    left = np.concatenate([-2 * moved, offset[..., None], np.ones((n, count, 1), np.float32)], 2)
    right = np.concatenate(
        [seen, np.ones((n, 1, SIDE**2), np.float32), (seen**2).sum(1, keepdims=True)], 1
    )
    nearest = (left @ right).min(axis=1)  # squared distance to the nearest point
    distance = np.sqrt(np.maximum(nearest, 0)).reshape(n, SIDE, SIDE)
    return np.asarray(255 * np.clip(radius[:, None, None] + 0.5 - distance, 0, 1), np.float32)


def place(points: Points, radius: NDArray[np.float32], jitter: NDArray[np.float32]) -> Points:
    """Scale and move points so that the ink has MNIST's size and place.

    Args:
        points: float32 `[N, P, 2]`, in any unit.
        radius: float32 `[N]`, half the width of the pen, pixels.
        jitter: float32 `[N, 3]`: relative change of the size, and shift along y and x in pixels.
    """
    low, high = points.min(axis=1), points.max(axis=1)
    longer = np.maximum((high - low).max(axis=1), 1e-3)
    side = (LONGER_SIDE - 1 - 2 * radius) * (1 + jitter[:, 0])
    scaled = (points - points.mean(axis=1, keepdims=True)) * (side / longer)[:, None, None]
    placed = scaled + CENTRE + jitter[:, None, 1:]
    # A heavy end can push the other end out of the image; keep all ink inside.
    margin = radius[:, None] + 0.5
    below = np.maximum(0, margin - placed.min(axis=1))
    above = np.maximum(0, placed.max(axis=1) - (SIDE - 1 - margin))
    return np.asarray(placed + (below - above)[:, None, :], np.float32)


def distort(
    points: Points, rng: np.random.Generator, *, slant_deg: float, turn_deg: float, bend: float
) -> Points:
    """Change points as hands differ: narrow or wide, slanted, turned, bent by slow waves.

    Args:
        points: float32 `[N, P, 2]`, about as high as 1 and centred at any place.
        rng: The source of every random choice.
        slant_deg: Largest slant to the right, degrees; half of it to the left.
        turn_deg: Largest turn, degrees.
        bend: Largest amplitude of a wave, in heights.
    """
    n = len(points)
    centred = points - points.mean(axis=1, keepdims=True)
    y, x = centred[..., 0], centred[..., 1] * uniform(rng, 0.6, 1.3, n)[:, :, 0]
    for _ in range(2):
        phase = rng.uniform(0, 2 * np.pi, (2, n, 1)).astype(np.float32)
        pace = rng.uniform(-6, 6, (4, n, 1)).astype(np.float32)
        size = bend * rng.uniform(0, 1, (2, n, 1)).astype(np.float32)
        y, x = (
            y + size[0] * np.sin(pace[0] * y + pace[1] * x + phase[0]),
            x + size[1] * np.sin(pace[2] * y + pace[3] * x + phase[1]),
        )
    x = x - y * np.tan(np.deg2rad(uniform(rng, -slant_deg / 2, slant_deg, n)[:, :, 0]))
    angle = np.deg2rad(uniform(rng, -turn_deg, turn_deg, n)[:, :, 0])
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(np.stack([cos * y + sin * x, cos * x - sin * y], 2), np.float32)


def random_pen(n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw pen radii from a fineliner's to a marker's, float32 `[n]`, pixels, log-uniform."""
    return np.exp(rng.uniform(np.log(0.45), np.log(2.5), n)).astype(np.float32)


def random_jitter(n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw small changes of size and place, float32 `[n, 3]`, for `place`."""
    return rng.uniform((-0.1, -1.5, -1.5), (0.06, 1.5, 1.5), (n, 3)).astype(np.float32)
