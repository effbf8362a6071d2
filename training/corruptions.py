"""Corruptions: digits blurred, dirtied and relit; one function a kind, `CORRUPTIONS` lists them.

The kinds follow the families of MNIST-C (Mu and Gilmer, 2019, arXiv:1906.02337), drawn here with
random, continuous parameters rather than with theirs.
"""

from collections.abc import Callable

import numpy as np

from training.resample import (
    AXIS,
    SIDE,
    Batch,
    dilate,
    elastic_field,
    erode,
    gaussian_matrix,
    sample,
    uniform,
)
from training.strokes import draw_segments


def _blur(batch: Batch, rng: np.random.Generator) -> Batch:
    smooth = np.stack([gaussian_matrix(s) for s in rng.uniform(0.4, 1.4, len(batch))])
    return np.asarray(smooth @ batch @ smooth.transpose(0, 2, 1))


def _motion_blur(batch: Batch, rng: np.random.Generator) -> Batch:
    angle, length = uniform(rng, 0, np.pi, len(batch)), uniform(rng, 1.0, 6.0, len(batch))
    y = np.broadcast_to(AXIS[:, None], batch.shape)
    x = np.broadcast_to(AXIS[None, :], batch.shape)
    steps = np.linspace(-0.5, 0.5, 7, dtype=np.float32)
    views = [
        sample(batch, y + s * length * np.sin(angle), x + s * length * np.cos(angle)) for s in steps
    ]
    return np.asarray(np.mean(views, axis=0, dtype=np.float32))


def _glass(batch: Batch, rng: np.random.Generator) -> Batch:
    bend_y, bend_x = elastic_field(len(batch), 0.6, rng)
    strength = uniform(rng, 0.4, 1.3, len(batch))
    y, x = AXIS[:, None] + strength * bend_y, AXIS[None, :] + strength * bend_x
    return sample(batch, y, x)


def _noise(batch: Batch, rng: np.random.Generator) -> Batch:
    noise = rng.standard_normal(batch.shape, dtype=np.float32)
    return batch + uniform(rng, 5, 60, len(batch)) * noise


def _shot_noise(batch: Batch, rng: np.random.Generator) -> Batch:
    photons = uniform(rng, 4, 60, len(batch))
    return np.asarray(rng.poisson(batch / 255 * photons) / photons * 255, np.float32)


def _impulse_noise(batch: Batch, rng: np.random.Generator) -> Batch:
    draw, share = rng.random(batch.shape), uniform(rng, 0.01, 0.3, len(batch))
    return np.where(draw < share / 2, 0, np.where(draw > 1 - share / 2, 255, batch))


def _light(batch: Batch, rng: np.random.Generator) -> Batch:
    floor = uniform(rng, 0, 150, len(batch))
    return floor + batch * (uniform(rng, 0.35, 1.2, len(batch)))


def _fog(batch: Batch, rng: np.random.Generator) -> Batch:
    """Add clouds: smooth noise of two scales, lit from 0 to a random brightness."""
    coarse, _ = elastic_field(len(batch), rng.uniform(3, 6), rng)
    fine, _ = elastic_field(len(batch), rng.uniform(0.8, 2), rng)
    clouds = coarse + 0.4 * fine
    clouds -= clouds.min(axis=(1, 2), keepdims=True)
    clouds /= clouds.max(axis=(1, 2), keepdims=True) + 1e-6
    fogged = batch / 255 + uniform(rng, 0.3, 1.6, len(batch)) * clouds
    return np.asarray(255 * fogged / np.maximum(1, fogged.max(axis=(1, 2), keepdims=True)))


def _line(batch: Batch, rng: np.random.Generator) -> Batch:
    """Draw a straight or zigzag line, solid or dotted, across the image."""
    n, corners = len(batch), int(rng.choice([2, 2, 4, 6]))
    angle, offset = uniform(rng, 0, 2 * np.pi, n), uniform(rng, -6, 6, n)
    along = np.linspace(-20, 20, corners, dtype=np.float32)[None, :, None]
    across = offset + rng.uniform(-4, 4, (n, corners, 1)).astype(np.float32) * (corners > 2)
    direction = np.concatenate([np.sin(angle), np.cos(angle)], axis=2)
    normal = np.concatenate([np.cos(angle), -np.sin(angle)], axis=2)
    points = 13.5 + along * direction + across * normal
    ink = draw_segments(points[:, :-1], points[:, 1:], uniform(rng, 0.6, 1.4, n)[:, 0, 0])
    if rng.random() < 0.5:
        position = AXIS[:, None] * direction[..., :1] + AXIS[None, :] * direction[..., 1:]
        ink *= np.mod(position, 4) < rng.uniform(1.2, 3)
    return np.asarray(np.maximum(batch, ink * uniform(rng, 0.5, 1, n)))


def _stripes(batch: Batch, rng: np.random.Generator) -> Batch:
    """Invert one or two bands of columns or rows."""
    position = np.broadcast_to(AXIS[None, None, :], batch.shape)
    inverted = np.zeros(batch.shape, bool)
    for _ in range(2):
        start, width = uniform(rng, -4, SIDE, len(batch)), uniform(rng, 2, 9, len(batch))
        inverted ^= (position >= start) & (position < start + width)
    upright = rng.random((len(batch), 1, 1)) < 0.7
    inverted = np.where(upright, inverted, inverted.transpose(0, 2, 1))
    return np.where(inverted, 255 - batch, batch)


def _spatter(batch: Batch, rng: np.random.Generator) -> Batch:
    drops, _ = elastic_field(len(batch), rng.uniform(0.8, 1.6), rng)
    level = uniform(rng, 1.3, 2.4, len(batch))
    colour = np.where(rng.random((len(batch), 1, 1)) < 0.7, uniform(rng, 90, 255, len(batch)), 0)
    cover = np.clip(3 * (drops - level), 0, 1)
    return np.asarray(batch * (1 - cover) + colour * cover)


def _edges(batch: Batch, rng: np.random.Generator) -> Batch:
    """Leave only outlines, as an edge detector or a hollow pen does."""
    outline = dilate(batch) - np.where(rng.random((len(batch), 1, 1)) < 0.5, erode(batch), batch)
    hard = np.where(outline > uniform(rng, 80, 150, len(batch)), 255, 0)
    return np.where(rng.random((len(batch), 1, 1)) < 0.5, hard, np.minimum(255, 1.3 * outline))


def _coarse(batch: Batch, rng: np.random.Generator) -> Batch:
    """Average onto a coarser grid and interpolate back, as small scans are enlarged."""
    cells = int(rng.integers(9, 18))
    edges = np.linspace(0, SIDE, cells + 1)
    stop, start = np.minimum(edges[1:, None], AXIS + 1), np.maximum(edges[:-1, None], AXIS)
    cover = np.clip(stop - start, 0, 1)
    cover /= cover.sum(axis=1, keepdims=True)
    shrink = cover.astype(np.float32)  # (cells, 28), area averages
    centre = (AXIS + 0.5) * cells / SIDE - 0.5
    grow = np.maximum(0, 1 - np.abs(centre[:, None] - np.arange(cells))).astype(np.float32)
    grow /= grow.sum(axis=1, keepdims=True)
    both = grow @ shrink
    return np.asarray(both @ batch @ both.T)


def _binary(batch: Batch, rng: np.random.Generator) -> Batch:
    return np.where(batch > uniform(rng, 60, 190, len(batch)), 255.0, 0.0).astype(np.float32)


CORRUPTIONS: dict[str, Callable[[Batch, np.random.Generator], Batch]] = {
    "blur": _blur,
    "motion-blur": _motion_blur,
    "glass": _glass,
    "noise": _noise,
    "shot-noise": _shot_noise,
    "impulse-noise": _impulse_noise,
    "light": _light,
    "fog": _fog,
    "line": _line,
    "stripes": _stripes,
    "spatter": _spatter,
    "edges": _edges,
    "coarse": _coarse,
    "binary": _binary,
}
