"""Augmentation: change digits as hands, pens and scanners do.

Works on batches of MNIST-shaped images in NumPy. Every random choice comes from the generator that
the caller passes, so a seed fixes the result. Knows nothing of networks or labels.

Sources: elastic distortion is Simard, Steinkraus and Platt (2003), "Best practices for
convolutional neural networks applied to visual document analysis"; the kinds of corruption follow
the families of MNIST-C (Mu and Gilmer, 2019, arXiv:1906.02337), but their parameters
are random and continuous here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.corruptions import CORRUPTIONS
from training.damage import DAMAGE
from training.pens import Points
from training.prepared import prepare_anew
from training.resample import AXIS, SIDE, Batch, dilate, elastic_field, erode, sample, uniform
from training.skeletons import redraw, trace


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes; each range is symmetric about no change.

    Attributes:
        rotation_deg: Largest rotation, degrees.
        shift_px: Largest shift along each axis, pixels.
        scale: Largest relative change of size, of both axes together and of each axis.
        shear_deg: Largest shear along x, degrees.
        elastic_px: Largest root-mean-square displacement of the elastic field, pixels.
        elastic_sigma: Standard deviation of the Gaussian that smooths the elastic field, pixels.
        thickness: Share of the images whose strokes are made thicker or thinner by up to one pixel.
        corruption: Share of the images that get one corruption, drawn evenly from `CORRUPTIONS`.
        damage: Share of the images that get one kind of `training.damage`, drawn evenly.
        prepared: Share of the images that are changed strongly and placed again
            (`training.prepared`), instead of the changes of geometry above.
        redrawn: Share of the images that are drawn again from their strokes
            (`training.skeletons`), instead of the changes of geometry above.
    """

    rotation_deg: float = 0.0
    shift_px: float = 0.0
    scale: float = 0.0
    shear_deg: float = 0.0
    elastic_px: float = 0.0
    elastic_sigma: float = 4.0
    thickness: float = 0.0
    corruption: float = 0.0
    damage: float = 0.0
    prepared: float = 0.0
    redrawn: float = 0.0


def augment(
    images: NDArray[np.uint8],
    how: Augmentation,
    rng: np.random.Generator,
    strokes: Points | None = None,
) -> Batch:
    """Return augmented copies of `images`.

    Args:
        images: uint8 `[N, 28, 28]`, ink high.
        how: The ranges to draw from.
        rng: The source of every random choice.
        strokes: What `training.skeletons.trace` returns for the images, to save time.

    Returns:
        float32 `[N, 28, 28]`, 0..255.
    """
    batch = deform(images, how, rng, strokes)
    corrupt(batch, how, rng)
    return batch


def deform(
    images: NDArray[np.uint8],
    how: Augmentation,
    rng: np.random.Generator,
    strokes: Points | None = None,
) -> Batch:
    """Return copies with other geometry and pens, still clean: the first half of `augment`."""
    batch = _warp(images.astype(np.float32), how, rng)
    if how.prepared or how.redrawn:
        draw = rng.random(len(batch))
        rows = np.flatnonzero(draw < how.prepared)
        if len(rows):
            batch[rows] = prepare_anew(images[rows], rng)
        rows = np.flatnonzero((draw >= how.prepared) & (draw < how.prepared + how.redrawn))
        if len(rows):
            batch[rows] = redraw(trace(images[rows]) if strokes is None else strokes[rows], rng)
    chosen = np.flatnonzero(rng.random(len(batch)) < how.thickness)
    if len(chosen):
        batch[chosen] = change_thickness(batch[chosen], rng)
    return batch


def corrupt(batch: Batch, how: Augmentation, rng: np.random.Generator) -> NDArray[np.int64]:
    """Corrupt a share of the images in place: the second half of `augment`.

    Returns:
        int64 `[K]`, indices of the corrupted images.
    """
    corrupted = rng.random(len(batch)) < how.corruption
    kinds = rng.integers(len(CORRUPTIONS), size=len(batch))
    for index, corruption in enumerate(CORRUPTIONS.values()):
        rows = np.flatnonzero(corrupted & (kinds == index))
        if len(rows):
            batch[rows] = np.clip(corruption(batch[rows], rng), 0, 255)
    if how.damage:
        damaged = rng.random(len(batch)) < how.damage
        kinds = rng.integers(len(DAMAGE), size=len(batch))
        for index, harm in enumerate(DAMAGE.values()):
            rows = np.flatnonzero(damaged & (kinds == index))
            if len(rows):
                batch[rows] = np.clip(harm(batch[rows], rng), 0, 255)
        corrupted |= damaged
    return np.flatnonzero(corrupted)


def _warp(batch: Batch, how: Augmentation, rng: np.random.Generator) -> Batch:
    """Rotate, scale, shear, shift and bend with one resampling, which blurs the edges once."""
    n = len(batch)
    angle = np.deg2rad(uniform(rng, -how.rotation_deg, how.rotation_deg, n))
    shear = np.tan(np.deg2rad(uniform(rng, -how.shear_deg, how.shear_deg, n)))
    both = 1 + uniform(rng, -how.scale, how.scale, n)
    size_y = both * (1 + uniform(rng, -how.scale / 2, how.scale / 2, n))
    size_x = both * (1 + uniform(rng, -how.scale / 2, how.scale / 2, n))
    middle = (SIDE - 1) / 2
    y, x = (AXIS - middle)[:, None], (AXIS - middle)[None, :]
    y = y - uniform(rng, -how.shift_px, how.shift_px, n)
    x = x - uniform(rng, -how.shift_px, how.shift_px, n)
    cos, sin = np.cos(angle), np.sin(angle)
    source_y = (cos * y + sin * x) / size_y
    source_x = (-sin * y + cos * x) / size_x + shear * source_y
    bend_y, bend_x = elastic_field(n, how.elastic_sigma, rng)
    strength = uniform(rng, 0, how.elastic_px, n)
    return sample(
        batch, source_y + middle + strength * bend_y, source_x + middle + strength * bend_x
    )


def change_thickness(batch: Batch, rng: np.random.Generator) -> Batch:
    """Make strokes thicker (two images of three) or thinner, by up to one pixel."""
    share = uniform(rng, 0, 1, len(batch))
    # Erosion by a whole pixel removes thin strokes, so it is rarer and weaker.
    thicker = rng.random((len(batch), 1, 1)) < 2 / 3
    return np.where(
        thicker,
        batch + share * (dilate(batch) - batch),
        batch + 0.7 * share * (erode(batch) - batch),
    )
