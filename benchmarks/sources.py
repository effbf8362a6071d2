"""Test images for the imaging benchmark: digits under corruption, on paper, from other scanners.

Made from held-out training digits, with the generator that the caller passes. The 15 corruptions
follow MNIST-C (Mu and Gilmer, 2019, arXiv:1906.02337) in kind and in the severity that its paper
publishes; they are written anew here and are not the augmentation of `training`.
"""

import io
import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

Pixels = NDArray[np.uint8]


def _affine(
    image: Pixels, matrix: list[list[float]], shift: tuple[float, float] = (0, 0)
) -> Pixels:
    inverse = np.linalg.inv(np.array(matrix, float))
    offset = np.array([13.5, 13.5]) - inverse @ (np.array([13.5, 13.5]) + shift)
    moved = ndimage.affine_transform(image.astype(float), inverse, offset, order=1)
    return np.clip(moved, 0, 255).astype(np.uint8)


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
    return np.clip(ndimage.gaussian_filter(blurred, 0.7), 0, 255).astype(np.uint8)


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
    return np.clip(image.astype(int) + 127, 0, 255).astype(np.uint8)


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
    return np.clip(255 * values / 3.0, 0, 255).astype(np.uint8)


def spatter(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Splash drops on it (severity 4)."""
    liquid = ndimage.gaussian_filter(rng.normal(0.65, 0.3, (28, 28)), 1)
    drops = np.clip((liquid - 0.78) * 12, 0, 1)
    return np.clip(np.maximum(image, 170 * drops), 0, 255).astype(np.uint8)


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


def _enlarged(image: Pixels, side: int) -> NDArray[np.float64]:
    """Redraw a digit with sharp strokes at a larger size, 0..1, ink high."""
    large = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    soft = np.asarray(large.filter(ImageFilter.GaussianBlur(side / 90)), float) / 255
    return np.clip((soft - 0.5) * side / 28 + 0.5, 0, 1)


def _on_paper(
    ink: NDArray[np.float64], paper: NDArray[np.float64], colour: NDArray[np.float64]
) -> NDArray[np.float64]:
    return paper * (1 - ink[..., None]) + colour * ink[..., None]


def _jpeg(values: NDArray[np.float64], quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def _png(values: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def _pen(image: Pixels, rng: np.random.Generator, width: float) -> NDArray[np.float64]:
    """Change the pen: strokes eroded (width < 0) or dilated, at ten times the size."""
    large = _enlarged(image, 280)
    steps = round(abs(width) * 10)
    change = ndimage.grey_dilation if width > 0 else ndimage.grey_erosion
    return change(large, footprint=_disc(steps)) if steps else large


def _disc(radius: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return y**2 + x**2 <= radius**2


def canvas(image: Pixels, rng: np.random.Generator) -> bytes:
    """Black on white, 280 px, anywhere on the canvas at any size, as drawn with a mouse."""
    side = int(rng.integers(90, 300))
    page = np.zeros((400, 400))
    top, left = rng.integers(0, 400 - side, 2)
    page[top : top + side, left : left + side] = _enlarged(image, side)
    return _png(255 * (1 - page))


def thin_pen(image: Pixels, rng: np.random.Generator) -> bytes:
    """A fineliner: strokes of a fraction of MNIST's width."""
    return _png(255 * (1 - np.pad(_pen(image, rng, -rng.uniform(0.3, 0.6)), 40)))


def thick_pen(image: Pixels, rng: np.random.Generator) -> bytes:
    """A marker: strokes more than twice as wide."""
    return _png(255 * (1 - np.pad(_pen(image, rng, rng.uniform(0.6, 1.2)), 60)))


def small_scan(image: Pixels, rng: np.random.Generator) -> bytes:
    """16x16, cropped to the ink, as the United States Postal Service's digits are."""
    rows, columns = np.flatnonzero(image.max(1) > 60), np.flatnonzero(image.max(0) > 60)
    crop = Image.fromarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    width = max(4, round(16 * crop.width / crop.height)) if crop.width < crop.height else 16
    small = crop.resize((16 if rng.random() < 0.3 else width, 16), Image.Resampling.BOX)
    page = Image.new("L", (16, 16))
    page.paste(small, ((16 - small.width) // 2, 0))
    return _png(np.asarray(page))


def bilevel_scan(image: Pixels, rng: np.random.Generator) -> bytes:
    """A fax: black and white without grey, 60 to 120 px, with specks."""
    side = int(rng.integers(60, 120))
    ink = np.pad(_enlarged(image, side) > 0.5, 10)
    ink ^= rng.random(ink.shape) < 0.003
    return _png(np.where(ink, 0, 255))


def _photo(image: Pixels, rng: np.random.Generator, lines: str = "") -> bytes:
    height, width = 480, 640
    y, x = np.mgrid[0:height, 0:width] / width
    paper = np.ones((height, width, 3)) * rng.uniform([215, 210, 190], [255, 252, 245])
    rule = np.array([150, 175, 215]) if rng.random() < 0.7 else np.array([190, 190, 190])
    pitch = rng.uniform(45, 80)
    if lines:
        paper[(y * width % pitch) < 2.2] = rule
    if lines == "grid":
        paper[(x * width % pitch) < 2.2] = rule
    side = int(rng.integers(110, 330))
    top, left = rng.integers(10, height - side - 10), rng.integers(10, width - side - 10)
    ink = np.zeros((height, width))
    turned = ndimage.rotate(_enlarged(image, side), rng.uniform(-8, 8), reshape=False, order=1)
    ink[top : top + side, left : left + side] = turned * rng.uniform(0.75, 1)
    ink *= 1 - 0.25 * ndimage.gaussian_filter(rng.random(ink.shape), 1.5)  # the pen's grain
    pens = np.array([[20, 20, 25], [25, 40, 130], [150, 25, 35], [70, 70, 75], [15, 90, 50]])
    scene = _on_paper(ink, paper, pens[rng.integers(len(pens))].astype(float))
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.5)
    light = 1 - strength * (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.4) + 0.35)
    if rng.random() < 0.5:  # the shadow of a hand or a phone
        edge = np.cos(angle * 2) * (x - rng.uniform(0.2, 0.8)) + np.sin(angle * 2) * (y - 0.35)
        light *= 1 - rng.uniform(0.15, 0.45) / (1 + np.exp(edge * rng.uniform(20, 90)))
    scene = scene * light[..., None] * rng.uniform(0.75, 1.0)
    scene = ndimage.gaussian_filter(scene, (rng.uniform(0.4, 1.8),) * 2 + (0,))
    scene += rng.normal(0, rng.uniform(1, 7), scene.shape)
    return _jpeg(scene, int(rng.integers(45, 92)))


def photo(image: Pixels, rng: np.random.Generator) -> bytes:
    """A phone's photo: coloured pens, uneven light, shadows, blur, noise, JPEG."""
    return _photo(image, rng)


def ruled_paper(image: Pixels, rng: np.random.Generator) -> bytes:
    """The same on ruled paper."""
    return _photo(image, rng, "rules")


def grid_paper(image: Pixels, rng: np.random.Generator) -> bytes:
    """The same on squared paper."""
    return _photo(image, rng, "grid")


def blackboard(image: Pixels, rng: np.random.Generator) -> bytes:
    """Chalk on a board: light on dark, grainy."""
    ink = np.pad(_enlarged(image, 240), 60)
    grain = ndimage.gaussian_filter(rng.random(ink.shape), 1)
    board = 45 + 20 * ndimage.gaussian_filter(rng.normal(0, 1, ink.shape), 25) * 25
    values = board + ink * 170 * (0.7 + 0.6 * (grain - 0.5)) + rng.normal(0, 4, ink.shape)
    return _jpeg(values, 80)


SOURCES: dict[str, Callable[[Pixels, np.random.Generator], bytes]] = {
    made.__name__.replace("_", " "): made
    for made in (
        canvas,
        thin_pen,
        thick_pen,
        small_scan,
        bilevel_scan,
        photo,
        ruled_paper,
        grid_paper,
        blackboard,
    )
}
