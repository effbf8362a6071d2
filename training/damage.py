"""Damage beyond the corruptions of MNIST-C: parts that are missing, covered or bent.

Cut-outs are DeVries and Taylor (2017, arXiv:1708.04552), covers are random erasing (Zhong et al.,
2017, arXiv:1708.04896). Parameters are chosen so that a person can read the digits.
"""

from collections.abc import Callable

import numpy as np

from training.resample import AXIS, Batch, sample, uniform


def cut_out(batch: Batch, rng: np.random.Generator) -> Batch:
    """Erase a rectangle of up to 7 pixels a side."""
    return np.where(_rectangle(batch, rng, 2, 7), 0, batch)


def cover(batch: Batch, rng: np.random.Generator) -> Batch:
    """Cover a rectangle of up to 8 pixels a side with grey or white."""
    grey = uniform(rng, 60, 255, len(batch))
    return np.where(_rectangle(batch, rng, 2, 8), grey, batch)


def wave(batch: Batch, rng: np.random.Generator) -> Batch:
    """Move rows or columns along a sine wave."""
    n = len(batch)
    length, phase = uniform(rng, 5, 20, n), uniform(rng, 0, 2 * np.pi, n)
    swing = uniform(rng, 0.5, 2.0, n) * np.minimum(1, length / 10)
    y, x = np.meshgrid(AXIS, AXIS, indexing="ij")
    sideways = rng.random((n, 1, 1)) < 0.5
    along = np.where(sideways, y, x)
    moved = swing * np.sin(2 * np.pi * along / length + phase)
    return sample(batch, np.where(sideways, y, y + moved), np.where(sideways, x + moved, x))


def circle(batch: Batch, rng: np.random.Generator) -> Batch:
    """Draw a ring or an arc of any size at any place."""
    n = len(batch)
    middle_y, middle_x = uniform(rng, -2, 30, n), uniform(rng, -2, 30, n)
    radius, pen = uniform(rng, 3, 16, n), uniform(rng, 0.4, 1.2, n)
    y, x = AXIS[:, None] - middle_y, AXIS[None, :] - middle_x
    distance = np.abs(np.hypot(y, x) - radius)
    ring = np.clip(pen + 0.5 - distance, 0, 1) * uniform(rng, 90, 255, n)
    return np.asarray(np.maximum(batch, ring))


def gaps(batch: Batch, rng: np.random.Generator) -> Batch:
    """Erase one to three thin straight lines, as a dry pen or a fold does."""
    n = len(batch)
    keep = np.ones_like(batch)
    for _ in range(3):
        angle, offset = uniform(rng, 0, np.pi, n), uniform(rng, -11, 11, n)
        position = np.cos(angle) * (AXIS[:, None] - 14) + np.sin(angle) * (AXIS[None, :] - 14)
        width = uniform(rng, 0.3, 1.1, n) * (rng.random((n, 1, 1)) < 0.7)
        keep *= np.clip(np.abs(position - offset) - width + 0.5, 0, 1)
    return np.asarray(batch * keep)


def _rectangle(batch: Batch, rng: np.random.Generator, low: float, high: float) -> Batch:
    """Draw one rectangle for each image; returns where it is."""
    n = len(batch)
    top, left = uniform(rng, 0, 26, n), uniform(rng, 0, 26, n)
    height, width = uniform(rng, low, high, n), uniform(rng, low, high, n)
    y, x = AXIS[:, None], AXIS[None, :]
    return np.asarray((y >= top) & (y < top + height) & (x >= left) & (x < left + width))


DAMAGE: dict[str, Callable[[Batch, np.random.Generator], Batch]] = {
    "cut-out": cut_out,
    "cover": cover,
    "wave": wave,
    "circle": circle,
    "gaps": gaps,
}
