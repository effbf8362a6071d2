"""The 15 corruptions of MNIST-C (Mu and Gilmer, 2019, arXiv:1906.02337), to test with.

They follow the paper in kind and in the severity that it publishes, and are written anew here. They
are not the augmentation of the training, whose corruptions (`training.corruptions`) are milder,
continuous relatives.
"""

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

Pixels = NDArray[np.uint8]  # (28, 28), ink high


def _affine(
    image: Pixels, matrix: list[list[float]], shift: tuple[float, float] = (0, 0)
) -> Pixels:
    inverse = np.linalg.inv(np.array(matrix, float))
    offset = np.array([13.5, 13.5]) - inverse @ (np.array([13.5, 13.5]) + shift)
    moved = ndimage.affine_transform(image.astype(float), inverse, offset, order=1)
    return np.asarray(np.clip(moved, 0, 255).astype(np.uint8))


def shot_noise(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Count few photons, as MNIST-C at severity 5."""
    return np.clip(rng.poisson(image / 255 * 3) / 3 * 255, 0, 255).astype(np.uint8)


def impulse_noise(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Turn 17 pixels in 100 black or white (severity 4)."""
    draw = rng.random(image.shape)
    return np.where(draw < 0.085, 0, np.where(draw > 0.915, 255, image)).astype(np.uint8)


def glass_blur(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Swap neighbouring pixels between two blurs (severity 1)."""
    blurred = ndimage.gaussian_filter(image.astype(float), 0.7)
    for _ in range(2):
        for y in range(26, 1, -1):
            for x in range(26, 1, -1):
                dy, dx = rng.integers(-1, 2, 2)
                blurred[y, x], blurred[y + dy, x + dx] = blurred[y + dy, x + dx], blurred[y, x]
    return np.asarray(np.clip(ndimage.gaussian_filter(blurred, 0.7), 0, 255).astype(np.uint8))


def motion_blur(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Blur along a line of up to 45 degrees (severity 1)."""
    angle = rng.uniform(-np.pi / 4, np.pi / 4)
    views = [
        ndimage.shift(image.astype(float), (t * np.sin(angle), t * np.cos(angle)), order=1)
        for t in np.linspace(-3, 3, 13)
    ]
    weights = np.exp(-(np.linspace(-3, 3, 13) ** 2) / (2 * 3**2))
    return np.clip(np.average(views, axis=0, weights=weights), 0, 255).astype(np.uint8)


def shear(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Shear by 0.4 (severity 2)."""
    return _affine(image, [[1, 0], [0.4 * rng.choice([-1, 1]), 1]])


def scale(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Shrink to 0.7 (severity 3)."""
    return _affine(image, [[0.7, 0], [0, 0.7]])


def rotate(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Turn by 0.4 radians (severity 2)."""
    angle = 0.4 * rng.choice([-1, 1])
    return _affine(image, [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def brightness(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Add half the range (severity 5)."""
    return np.asarray(np.clip(image.astype(int) + 127, 0, 255).astype(np.uint8))


def translate(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Move by 3 pixels (severity 3)."""
    angle = rng.uniform(0, 2 * np.pi)
    return _affine(image, [[1, 0], [0, 1]], (3 * np.sin(angle), 3 * np.cos(angle)))


def stripe(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Invert a band at either side."""
    striped = image.copy()
    for columns in (slice(0, 7), slice(21, 28)):
        striped[:, columns] = 255 - striped[:, columns]
    return striped


def fog(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Add bright clouds (severity 2)."""
    clouds = np.zeros((32, 32))
    for cells in (2, 4, 8, 16):  # plasma: noise of halving scale and halving strength
        noise = rng.uniform(-1, 1, (cells + 1, cells + 1))
        clouds += ndimage.zoom(noise, 32 / (cells + 1), order=1)[:32, :32] / cells
    clouds = (clouds - clouds.min()) / np.ptp(clouds)
    values = image / 255 + 2.0 * clouds[2:30, 2:30]
    return np.asarray(np.clip(255 * values / 3.0, 0, 255).astype(np.uint8))


def spatter(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Splash drops on it (severity 4)."""
    liquid = ndimage.gaussian_filter(rng.normal(0.65, 0.3, (28, 28)), 1)
    drops = np.clip((liquid - 0.78) * 12, 0, 1)
    return np.asarray(np.clip(np.maximum(image, 170 * drops), 0, 255).astype(np.uint8))


def _drawn(image: Pixels, points: NDArray[np.float64], gap: bool) -> Pixels:
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    for index, (start, stop) in enumerate(itertools.pairwise(points)):
        if not gap or index % 2 == 0:
            pen.line([tuple(start), tuple(stop)], fill=255, width=1)
    return np.asarray(picture)


def dotted_line(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Draw a dashed line across."""
    start, stop = rng.uniform(0, 28, 2), rng.uniform(0, 28, 2)
    start[rng.integers(2)], stop[rng.integers(2)] = 0, 27
    return _drawn(image, np.linspace(start, stop, 14), gap=True)


def zigzag(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Draw a zigzag line across."""
    points = np.linspace(rng.uniform(0, 28, 2) * [0, 1], [27, rng.uniform(0, 28)], 9)
    points[:, 1] += np.resize([-2.5, 2.5], 9)
    return _drawn(image, points, gap=False)


def canny_edges(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Leave only the thinned edges."""
    smooth = ndimage.gaussian_filter(image.astype(float), 1)
    dy, dx = ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1)
    slope = np.hypot(dy, dx)
    turn = np.round(np.arctan2(dy, dx) / (np.pi / 4)).astype(int) % 4
    step = np.array([(0, 1), (1, 1), (1, 0), (1, -1)])[turn]
    y, x = np.mgrid[0:28, 0:28]
    ahead = slope[np.clip(y + step[..., 0], 0, 27), np.clip(x + step[..., 1], 0, 27)]
    behind = slope[np.clip(y - step[..., 0], 0, 27), np.clip(x - step[..., 1], 0, 27)]
    thin = (slope >= ahead) & (slope > behind) & (slope > 100)
    return np.where(thin, 255, 0).astype(np.uint8)


CORRUPTIONS: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    made.__name__.replace("_", " "): made
    for made in (
        shot_noise,
        impulse_noise,
        glass_blur,
        motion_blur,
        shear,
        scale,
        rotate,
        brightness,
        translate,
        stripe,
        fog,
        spatter,
        dotted_line,
        zigzag,
        canny_edges,
    )
}
