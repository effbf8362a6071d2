"""Augmentation: digits bent, blurred and dirtied the way that hands, pens and scanners do it.

Works on whole batches of MNIST-shaped images in NumPy, every random choice drawn from the
generator that the caller passes, so that a seed fixes the result. Knows nothing of networks or
labels.

Sources: elastic distortion is Simard, Steinkraus and Platt (2003), "Best practices for
convolutional neural networks applied to visual document analysis"; the kinds of corruption follow
the families of MNIST-C (Mu and Gilmer, 2019, arXiv:1906.02337), drawn here with random, continuous
parameters rather than with theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.strokes import draw_segments

Batch = NDArray[np.float32]  # (N, 28, 28), 0..255, ink high

SIDE = 28
_AXIS = np.arange(SIDE, dtype=np.float32)


@dataclass(frozen=True)
class Augmentation:
    """How far images are changed; every range is drawn from uniformly and symmetric about no
    change.

    Attributes:
        rotation_deg: Largest rotation, degrees.
        shift_px: Largest shift along each axis, pixels.
        scale: Largest relative change of size, each axis on its own and both together.
        shear_deg: Largest shear along x, degrees.
        elastic_px: Largest root-mean-square displacement of the elastic field, pixels.
        elastic_sigma: Standard deviation of the Gaussian that smooths the elastic field, pixels.
        thickness: Share of the images whose strokes are made thicker or thinner by up to one pixel.
        corruption: Share of the images that get one corruption, drawn evenly from `CORRUPTIONS`.
    """

    rotation_deg: float = 0.0
    shift_px: float = 0.0
    scale: float = 0.0
    shear_deg: float = 0.0
    elastic_px: float = 0.0
    elastic_sigma: float = 4.0
    thickness: float = 0.0
    corruption: float = 0.0


def augment(images: NDArray[np.uint8], how: Augmentation, rng: np.random.Generator) -> Batch:
    """Return changed copies of `images`.

    Args:
        images: uint8 `[N, 28, 28]`, ink high.
        how: The ranges to draw from.
        rng: The source of every random choice.

    Returns:
        float32 `[N, 28, 28]`, 0..255.
    """
    batch = _warp(images.astype(np.float32), how, rng)
    chosen = np.flatnonzero(rng.random(len(batch)) < how.thickness)
    if len(chosen):
        batch[chosen] = change_thickness(batch[chosen], rng)
    corrupted = rng.random(len(batch)) < how.corruption
    kinds = rng.integers(len(CORRUPTIONS), size=len(batch))
    for index, corrupt in enumerate(CORRUPTIONS.values()):
        rows = np.flatnonzero(corrupted & (kinds == index))
        if len(rows):
            batch[rows] = np.clip(corrupt(batch[rows], rng), 0, 255)
    return batch


def _uniform(rng: np.random.Generator, low: float, high: float, n: int) -> Batch:
    """Draw one number per image, shaped to multiply a batch."""
    return rng.uniform(low, high, size=(n, 1, 1)).astype(np.float32)


def _warp(batch: Batch, how: Augmentation, rng: np.random.Generator) -> Batch:
    """Rotate, scale, shear, shift and bend in a single resampling, so that edges are softened only
    once."""
    n = len(batch)
    angle = np.deg2rad(_uniform(rng, -how.rotation_deg, how.rotation_deg, n))
    shear = np.tan(np.deg2rad(_uniform(rng, -how.shear_deg, how.shear_deg, n)))
    both = 1 + _uniform(rng, -how.scale, how.scale, n)
    size_y = both * (1 + _uniform(rng, -how.scale / 2, how.scale / 2, n))
    size_x = both * (1 + _uniform(rng, -how.scale / 2, how.scale / 2, n))
    middle = (SIDE - 1) / 2
    y, x = (_AXIS - middle)[:, None], (_AXIS - middle)[None, :]
    y = y - _uniform(rng, -how.shift_px, how.shift_px, n)
    x = x - _uniform(rng, -how.shift_px, how.shift_px, n)
    cos, sin = np.cos(angle), np.sin(angle)
    source_y = (cos * y + sin * x) / size_y
    source_x = (-sin * y + cos * x) / size_x + shear * source_y
    bend_y, bend_x = elastic_field(n, how.elastic_sigma, rng)
    strength = _uniform(rng, 0, how.elastic_px, n)
    return sample(
        batch, source_y + middle + strength * bend_y, source_x + middle + strength * bend_x
    )


def elastic_field(n: int, sigma: float, rng: np.random.Generator) -> tuple[Batch, Batch]:
    """Draw smooth random displacement fields of root-mean-square 1 pixel (Simard et al., 2003)."""
    smooth = _gaussian_matrix(sigma)
    field = rng.uniform(-1, 1, size=(2, n, SIDE, SIDE)).astype(np.float32)
    field = smooth @ field @ smooth.T
    field /= np.sqrt(np.mean(field**2, axis=(2, 3), keepdims=True)) + 1e-6
    return field[0], field[1]


def sample(batch: Batch, y: Batch, x: Batch) -> Batch:
    """Read every image at fractional positions, bilinearly, with black outside.

    Args:
        batch: float32 `[N, 28, 28]`.
        y: Row index of each wanted value, `[N, 28, 28]`.
        x: Column index of each wanted value, `[N, 28, 28]`.

    Returns:
        float32 `[N, 28, 28]`.
    """
    n, wide = len(batch), SIDE + 2
    padded = np.zeros((n, wide, wide), np.float32)
    padded[:, 1:-1, 1:-1] = batch
    y = np.clip(y + 1, 0, wide - 1.001).astype(np.float32)
    x = np.clip(x + 1, 0, wide - 1.001).astype(np.float32)
    top, left = y.astype(np.int32), x.astype(np.int32)
    y -= top
    x -= left
    flat = padded.ravel()
    corner = np.arange(n, dtype=np.int32)[:, None, None] * (wide * wide) + top * wide + left
    upper = flat[corner] * (1 - x) + flat[corner + 1] * x
    lower = flat[corner + wide] * (1 - x) + flat[corner + wide + 1] * x
    return upper * (1 - y) + lower * y


def _gaussian_matrix(sigma: float) -> NDArray[np.float32]:
    """Return the `[28, 28]` matrix that blurs a column with a Gaussian, rows summing to 1."""
    weights = np.exp(-((_AXIS[:, None] - _AXIS[None, :]) ** 2) / (2 * sigma**2))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def dilate(batch: Batch) -> Batch:
    """Grey dilation by the 4-neighbour cross: every pixel becomes the brightest of itself and its
    neighbours."""
    padded = np.pad(batch, ((0, 0), (1, 1), (1, 1)))
    rows = np.maximum(padded[:, :-2, 1:-1], padded[:, 2:, 1:-1])
    columns = np.maximum(padded[:, 1:-1, :-2], padded[:, 1:-1, 2:])
    return np.maximum(np.maximum(rows, columns), batch)


def erode(batch: Batch) -> Batch:
    """Grey erosion by the 4-neighbour cross."""
    return 255 - dilate(255 - batch)


def change_thickness(batch: Batch, rng: np.random.Generator) -> Batch:
    """Make strokes thicker (two images in three) or thinner by a random part of a pixel."""
    share = _uniform(rng, 0, 1, len(batch))
    thicker = (
        rng.random((len(batch), 1, 1)) < 2 / 3
    )  # erosion by a whole pixel loses thin strokes: used less
    return np.where(
        thicker,
        batch + share * (dilate(batch) - batch),
        batch + 0.7 * share * (erode(batch) - batch),
    )


def _blur(batch: Batch, rng: np.random.Generator) -> Batch:
    smooth = np.stack([_gaussian_matrix(s) for s in rng.uniform(0.4, 1.4, len(batch))])
    return np.asarray(smooth @ batch @ smooth.transpose(0, 2, 1))


def _motion_blur(batch: Batch, rng: np.random.Generator) -> Batch:
    angle, length = _uniform(rng, 0, np.pi, len(batch)), _uniform(rng, 1.0, 6.0, len(batch))
    y, x = (
        np.broadcast_to(_AXIS[:, None], batch.shape),
        np.broadcast_to(_AXIS[None, :], batch.shape),
    )
    steps = np.linspace(-0.5, 0.5, 7, dtype=np.float32)
    views = [
        sample(batch, y + s * length * np.sin(angle), x + s * length * np.cos(angle)) for s in steps
    ]
    return np.mean(views, axis=0, dtype=np.float32)


def _glass(batch: Batch, rng: np.random.Generator) -> Batch:
    bend_y, bend_x = elastic_field(len(batch), 0.6, rng)
    strength = _uniform(rng, 0.4, 1.3, len(batch))
    y, x = _AXIS[:, None] + strength * bend_y, _AXIS[None, :] + strength * bend_x
    return sample(batch, y, x)


def _noise(batch: Batch, rng: np.random.Generator) -> Batch:
    noise = rng.standard_normal(batch.shape, dtype=np.float32)
    return batch + _uniform(rng, 5, 60, len(batch)) * noise


def _shot_noise(batch: Batch, rng: np.random.Generator) -> Batch:
    photons = _uniform(rng, 4, 60, len(batch))
    return np.asarray(rng.poisson(batch / 255 * photons) / photons * 255, np.float32)


def _impulse_noise(batch: Batch, rng: np.random.Generator) -> Batch:
    draw, share = rng.random(batch.shape), _uniform(rng, 0.01, 0.3, len(batch))
    return np.where(draw < share / 2, 0, np.where(draw > 1 - share / 2, 255, batch))


def _light(batch: Batch, rng: np.random.Generator) -> Batch:
    floor = _uniform(rng, 0, 150, len(batch))
    return floor + batch * (_uniform(rng, 0.35, 1.2, len(batch)))


def _fog(batch: Batch, rng: np.random.Generator) -> Batch:
    """Add clouds: smooth noise of two scales, lit from 0 to a random brightness."""
    coarse, _ = elastic_field(len(batch), rng.uniform(3, 6), rng)
    fine, _ = elastic_field(len(batch), rng.uniform(0.8, 2), rng)
    clouds = coarse + 0.4 * fine
    clouds -= clouds.min(axis=(1, 2), keepdims=True)
    clouds /= clouds.max(axis=(1, 2), keepdims=True) + 1e-6
    fogged = batch / 255 + _uniform(rng, 0.3, 1.6, len(batch)) * clouds
    return np.asarray(255 * fogged / np.maximum(1, fogged.max(axis=(1, 2), keepdims=True)))


def _line(batch: Batch, rng: np.random.Generator) -> Batch:
    """Draw a straight or zigzag line, solid or dotted, across the image."""
    n, corners = len(batch), int(rng.choice([2, 2, 4, 6]))
    angle, offset = _uniform(rng, 0, 2 * np.pi, n), _uniform(rng, -6, 6, n)
    along = np.linspace(-20, 20, corners, dtype=np.float32)[None, :, None]
    across = offset + rng.uniform(-4, 4, (n, corners, 1)).astype(np.float32) * (corners > 2)
    direction = np.concatenate([np.sin(angle), np.cos(angle)], axis=2)
    normal = np.concatenate([np.cos(angle), -np.sin(angle)], axis=2)
    points = 13.5 + along * direction + across * normal
    ink = draw_segments(points[:, :-1], points[:, 1:], _uniform(rng, 0.6, 1.4, n)[:, 0, 0])
    if rng.random() < 0.5:
        position = _AXIS[:, None] * direction[..., :1] + _AXIS[None, :] * direction[..., 1:]
        ink *= np.mod(position, 4) < rng.uniform(1.2, 3)
    return np.maximum(batch, ink * _uniform(rng, 0.5, 1, n))


def _stripes(batch: Batch, rng: np.random.Generator) -> Batch:
    """Invert one or two bands of columns or rows."""
    position = np.broadcast_to(_AXIS[None, None, :], batch.shape)
    inverted = np.zeros(batch.shape, bool)
    for _ in range(2):
        start, width = _uniform(rng, -4, SIDE, len(batch)), _uniform(rng, 2, 9, len(batch))
        inverted ^= (position >= start) & (position < start + width)
    upright = rng.random((len(batch), 1, 1)) < 0.7
    inverted = np.where(upright, inverted, inverted.transpose(0, 2, 1))
    return np.where(inverted, 255 - batch, batch)


def _spatter(batch: Batch, rng: np.random.Generator) -> Batch:
    drops, _ = elastic_field(len(batch), rng.uniform(0.8, 1.6), rng)
    level = _uniform(rng, 1.3, 2.4, len(batch))
    colour = np.where(rng.random((len(batch), 1, 1)) < 0.7, _uniform(rng, 90, 255, len(batch)), 0)
    cover = np.clip(3 * (drops - level), 0, 1)
    return batch * (1 - cover) + colour * cover


def _edges(batch: Batch, rng: np.random.Generator) -> Batch:
    """Leave only outlines, as an edge detector or a hollow pen does."""
    outline = dilate(batch) - np.where(rng.random((len(batch), 1, 1)) < 0.5, erode(batch), batch)
    hard = np.where(outline > _uniform(rng, 80, 150, len(batch)), 255, 0)
    return np.where(rng.random((len(batch), 1, 1)) < 0.5, hard, np.minimum(255, 1.3 * outline))


def _coarse(batch: Batch, rng: np.random.Generator) -> Batch:
    """Average onto a coarser grid and interpolate back, as small scans are enlarged."""
    cells = int(rng.integers(9, 18))
    edges = np.linspace(0, SIDE, cells + 1)
    cover = np.clip(
        np.minimum(edges[1:, None], _AXIS + 1) - np.maximum(edges[:-1, None], _AXIS), 0, 1
    )
    shrink = (cover / cover.sum(axis=1, keepdims=True)).astype(
        np.float32
    )  # (cells, 28), area averages
    centre = (_AXIS + 0.5) * cells / SIDE - 0.5
    grow = np.maximum(0, 1 - np.abs(centre[:, None] - np.arange(cells))).astype(np.float32)
    grow /= grow.sum(axis=1, keepdims=True)
    both = grow @ shrink
    return np.asarray(both @ batch @ both.T)


def _binary(batch: Batch, rng: np.random.Generator) -> Batch:
    return np.where(batch > _uniform(rng, 60, 190, len(batch)), 255.0, 0.0).astype(np.float32)


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
