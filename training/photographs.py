"""Crops of photos, textures and blank paper as the service's preparation leaves them.

Pixels of a photo look nothing like what the network sees of it: the preparation removes the
background, keeps what may be strokes, scales and centres it. So these outliers go through it.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from app.errors import BlankImageError
from app.imaging.candidates import candidates
from app.imaging.decode import from_pixels
from training.augment import Augmentation, augment
from training.resample import Batch

# 24 blocks of 100 take 15 s of one core in all; few callers need all of them.
BLOCKS, PER_BLOCK, SEED = 24, 100, 2029
VARIATION = Augmentation(rotation_deg=8, shift_px=1.0, scale=0.08, thickness=0.2)
Picture = NDArray[np.floating]  # (H, W), any range


def draw_photographs(n: int, rng: np.random.Generator) -> Batch:
    """Return prepared pictures in any of eight orientations, float32 `[n, 28, 28]`, 0..255.

    The pictures come from a fixed pool, which is drawn in blocks as they are needed.
    """
    pool = _block(int(rng.integers(BLOCKS)))
    chosen = pool[rng.integers(len(pool), size=n)]
    quarter, mirrored = rng.integers(4, size=n), rng.random(n) < 0.5
    turned = [
        np.rot90(image[:, ::-1] if mirror else image, turns)
        for image, mirror, turns in zip(chosen, mirrored, quarter, strict=True)
    ]
    return augment(np.stack(turned), VARIATION, rng)


@cache
def _block(number: int) -> NDArray[np.uint8]:
    """Draw and prepare one block of the pool, uint8 `[PER_BLOCK, 28, 28]`."""
    rng = np.random.default_rng([SEED, number])
    prepared: list[NDArray[np.uint8]] = []
    while len(prepared) < PER_BLOCK:
        picture = PICTURES[rng.integers(len(PICTURES))](rng)
        try:
            found = candidates(from_pixels(_to_grey(picture, rng)))
        except BlankImageError:
            continue
        prepared += [each.pixels for each in found]
    return np.stack(prepared[:PER_BLOCK])


def _to_grey(picture: Picture, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Give a picture a random contrast and brightness and the noise of a camera."""
    low, high = np.quantile(picture, [0.005, 0.995])
    darkest, brightest = rng.uniform(0, 90), rng.uniform(140, 255)
    grey = darkest + (brightest - darkest) * (picture - low) / max(high - low, 1e-6)
    if rng.random() < 0.5:
        grey = 255 - grey
    grey += rng.uniform(0, 6) * rng.standard_normal(grey.shape)
    return np.asarray(np.clip(grey, 0, 255), np.uint8)


def clouds(rng: np.random.Generator) -> Picture:
    """Draw noise whose spectrum falls as a power of the frequency, more or less in a direction."""
    height, width = rng.integers(72, 140, 2)
    y, x = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    frequency = np.hypot(y * rng.uniform(0.5, 2), x)
    power = rng.uniform(0.7, 1.8)
    spectrum = np.fft.fft2(rng.standard_normal((height, width)))
    return np.fft.ifft2(spectrum / np.maximum(frequency, 1 / 128) ** power).real


def leaves(rng: np.random.Generator) -> Picture:
    """Draw a heap of discs and boxes of all sizes, whose edges are those of photos.

    Dead leaves: Lee, Mumford and Huang (2001), "Occlusion models for natural images".
    """
    side = int(rng.integers(80, 140))
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    scene = np.full((side, side), rng.uniform(0, 255), np.float32)
    for _ in range(int(rng.integers(6, 40))):
        radius = 5 / np.sqrt(rng.uniform(0.01, 1))
        across, down = x - rng.uniform(0, side), (y - rng.uniform(0, side)) * rng.uniform(0.5, 2)
        distance = np.hypot(across, down)
        if rng.random() < 0.4:
            angle = rng.uniform(0, np.pi)
            c, s = np.cos(angle), np.sin(angle)
            distance = np.maximum(np.abs(c * across + s * down), np.abs(c * down - s * across))
        shade = rng.uniform(0, 255) + rng.uniform(-1, 1) * across
        scene = np.where(distance < radius, shade, scene)
    return np.asarray(ndimage.gaussian_filter(scene, rng.uniform(0, 1.5)))


def blank_paper(rng: np.random.Generator) -> Picture:
    """Draw shadows, spots and grain on paper without ink."""
    side = int(rng.integers(80, 140))
    y, x = np.mgrid[0:side, 0:side] / side
    paper = rng.uniform(-1, 1) * x + rng.uniform(-1, 1) * y
    for _ in range(int(rng.integers(0, 4))):
        distance = (x - rng.uniform(0, 1)) ** 2 + (y - rng.uniform(0, 1)) ** 2
        paper += rng.uniform(-1, 1) * np.exp(-distance / rng.uniform(0.005, 0.2))
    return np.asarray(paper + rng.uniform(0.01, 0.1) * rng.standard_normal(paper.shape))


def weaves(rng: np.random.Generator) -> Picture:
    """Draw stripes and weaves, bent by smooth noise."""
    side = int(rng.integers(72, 128))
    y, x = np.mgrid[0:side, 0:side].astype(np.float64)
    bend = ndimage.gaussian_filter(rng.standard_normal((2, side, side)), (0, 9, 9))
    bend *= rng.uniform(0, 5) / bend.std()
    angle, length = rng.uniform(0, np.pi), rng.uniform(5, side / 4)
    along = np.cos(angle) * (x + bend[0]) + np.sin(angle) * (y + bend[1])
    across = np.cos(angle) * (y + bend[1]) - np.sin(angle) * (x + bend[0])
    crossing = rng.uniform(0, 1) * np.sin(2 * np.pi * across / rng.uniform(5, 40))
    return np.asarray(np.sin(2 * np.pi * along / length) + crossing)


PICTURES = (clouds, clouds, leaves, leaves, blank_paper, weaves)
