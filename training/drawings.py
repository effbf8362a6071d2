"""Draws pictures that are no digits from their strokes: faces, wandering pens, polygons and stars.

Outliers for training. The kinds that test the verdict (`training.nondigits`, `training.unseen`) are
drawn by other code; houses, flowers, stick figures and Greek letters are drawn there alone.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.pens import Points, distort, ink, place, random_jitter
from training.resample import Batch, uniform

RADIUS = 0.45, 1.9  # half the width of the pen, pixels; wider pens fill eyes and corners
# Points per drawing; a stroke needs one for every pixel of its length.
OUTLINE, EYE, MOUTH, NOSE = 84, 12, 32, 8
WALK, CORNERED = 360, 170
PENTAGON = 5  # regular polygons with more corners look like a 0
Corners = NDArray[np.float64]  # (K, 2), (y, x)


def draw_faces(n: int, rng: np.random.Generator) -> Batch:
    """Draw faces, float32 `[n, 28, 28]`: a closed outline, two eyes, a mouth, some with a nose."""
    angle = np.linspace(0, 2 * np.pi, OUTLINE, dtype=np.float32)
    power = uniform(rng, 0.7, 1.0, n)[..., 0]  # below 1, the outline is nearly a square
    outline = [np.sign(f) * np.abs(f) ** power / 2 for f in (np.cos(angle), np.sin(angle))]
    level, apart = uniform(rng, -0.24, -0.02, n)[..., 0], uniform(rng, 0.11, 0.26, n)[..., 0]
    size = uniform(rng, 0.0, 0.075, n)[..., 0]
    flat = rng.choice([0.0, 1.0, 1.0], size=(n, 1)).astype(np.float32)  # closed eyes are dashes
    around = np.linspace(0, 2 * np.pi, EYE, dtype=np.float32)
    eye_y, eye_x = level + flat * size * np.cos(around), (size + 0.01) * np.sin(around)
    half, curve = uniform(rng, 0.1, 0.3, n)[..., 0], uniform(rng, -0.14, 0.2, n)[..., 0]
    s = np.linspace(-1, 1, MOUTH, dtype=np.float32)
    mouth_y = uniform(rng, 0.14, 0.3, n)[..., 0] + curve * (0.5 - s**2)
    mouth_x = half * s
    length = uniform(rng, 0.05, 0.2, n)[..., 0]
    nose_y = level + 0.05 + length * np.linspace(0, 1, NOSE, dtype=np.float32)
    has_nose = rng.random((n, 1)) < 0.35
    nose_y = np.where(has_nose, nose_y, mouth_y[:, :1])
    nose_x = np.where(has_nose, 0, mouth_x[:, :1]) + np.zeros_like(nose_y)
    y = np.concatenate([outline[0], eye_y, eye_y, mouth_y, nose_y], axis=1)
    x = np.concatenate([outline[1], eye_x - apart, eye_x + apart, mouth_x, nose_x], axis=1)
    return _ink(np.stack([y, x], axis=2), rng)


def draw_walks(n: int, rng: np.random.Generator) -> Batch:
    """Draw the paths of pens that wander smoothly, float32 `[n, 28, 28]`.

    A path has about 40 to 100 directions: one with few of them may be a digit.
    """
    steps, smooth = int(rng.integers(340, 480)), float(rng.uniform(4, 8))
    turns = ndimage.gaussian_filter1d(rng.standard_normal((n, steps, 2)), smooth, axis=1)
    path = np.cumsum(turns, axis=1)
    path -= path.min(axis=1, keepdims=True)
    sides = path.max(axis=1, keepdims=True)
    as_square = rng.random((n, 1, 1)) < 0.75
    path /= np.where(as_square, sides, sides.max(axis=2, keepdims=True))
    along = np.linspace(0, steps - 1, WALK)
    points = ndimage.map_coordinates(
        path, np.meshgrid(np.arange(n), along, np.arange(2), indexing="ij"), order=1
    )
    return _ink(points.astype(np.float32), rng)


def draw_polygons(n: int, rng: np.random.Generator) -> Batch:
    """Draw triangles, squares, stars, arrows and asterisks, float32 `[n, 28, 28]`."""
    makers = (_polygon, _polygon, _star, _star, _arrow, _asterisk)
    drawn = [_along(makers[rng.integers(len(makers))](rng)) for _ in range(n)]
    return _ink(np.asarray(drawn, np.float32), rng)


def _polygon(rng: np.random.Generator) -> Corners:
    """Return a closed polygon of three or four corners, some of five."""
    count = int(rng.choice([3, 4, PENTAGON], p=[0.45, 0.43, 0.12]))
    angles = np.arange(count + 1) * 2 * np.pi / count + rng.uniform(0, 2 * np.pi)
    moved = angles + np.append(rng.uniform(-0.12, 0.12, count), 0)
    moved[-1] = moved[0]
    return np.stack([np.sin(moved), np.cos(moved)], axis=1) / 2


def _star(rng: np.random.Generator) -> Corners:
    """Return the outline of a star, or a star of chords such as a pentagram."""
    spikes = int(rng.integers(5, 9))
    start = rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.5:
        angles = np.arange(spikes + 1) * 2 * (2 if spikes % 2 else 3) * np.pi / spikes + start
        radius = np.ones(spikes + 1)
    else:
        angles = np.arange(2 * spikes + 1) * np.pi / spikes + start
        radius = np.where(np.arange(2 * spikes + 1) % 2, rng.uniform(0.3, 0.6), 1)
    return np.stack([radius * np.sin(angles), radius * np.cos(angles)], axis=1) / 2


def _arrow(rng: np.random.Generator) -> Corners:
    """Return an arrow with two barbs, in any direction."""
    barb, width = rng.uniform(0.25, 0.45), rng.uniform(0.2, 0.4)
    path = np.array([(0.0, 0.0), (1, 0), (1 - barb, width), (1, 0), (1 - barb, -width)])
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(path @ turn)


def _asterisk(rng: np.random.Generator) -> Corners:
    """Return three to five lines through one point."""
    lines = int(rng.integers(3, 6))
    angles = np.arange(lines) * np.pi / lines + rng.uniform(0, np.pi)
    ends = np.stack([np.sin(angles), np.cos(angles)], axis=1) / 2
    middle = np.zeros_like(ends)
    return np.stack([ends, -ends, middle], axis=1).reshape(-1, 2)


def _along(corners: Corners) -> Corners:
    """Return evenly spaced points on the path through corners, `[CORNERED, 2]`."""
    steps = np.hypot(*np.diff(corners, axis=0).T)
    along = np.concatenate([[0], np.cumsum(steps)])
    at = np.linspace(0, along[-1], CORNERED)
    return np.stack([np.interp(at, along, corners[:, axis]) for axis in range(2)], axis=1)


def _ink(points: Points, rng: np.random.Generator) -> Batch:
    """Bend, slant and ink drawings, placed as the service places what it finds."""
    n = len(points)
    low, high = np.log(RADIUS)
    radius = np.exp(rng.uniform(float(low), float(high), n)).astype(np.float32)
    moved = distort(points, rng, slant_deg=16, turn_deg=12, bend=0.02)
    return ink(place(moved, radius, random_jitter(n, rng)), radius, rng, nib=0.2)
