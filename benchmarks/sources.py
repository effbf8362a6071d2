"""Make the test images of the imaging benchmark: digits on paper and from other scanners.

The images are made from held-out training digits with the generator that the caller passes.
"""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage

from training.mnist_c import CORRUPTIONS

Pixels = NDArray[np.uint8]


def _enlarged(image: Pixels, side: int) -> NDArray[np.float64]:
    """Redraw a digit with sharp strokes at a larger size, 0..1, ink is bright."""
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


def placed(image: Pixels, rng: np.random.Generator, side: int, *, centred: bool) -> Pixels:
    """Draw a digit with a longer side of `side` pixels on a black 28x28, centred or anywhere."""
    ink = _enlarged(image, 280)
    rows, columns = np.flatnonzero(ink.max(1) > 0.5), np.flatnonzero(ink.max(0) > 0.5)
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    height, width = (max(1, round(side / max(ink.shape) * length)) for length in ink.shape)
    small = Image.fromarray(ink).resize((width, height), Image.Resampling.BOX)
    top, left = rng.integers(0, 29 - height), rng.integers(0, 29 - width)
    if centred:
        top, left = (28 - height) // 2, (28 - width) // 2
    page = np.zeros((28, 28), np.uint8)
    page[top : top + height, left : left + width] = np.round(np.asarray(small) * 255)
    return page


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


def turned(image: Pixels, rng: np.random.Generator) -> bytes:
    """A canvas on which the digit is turned by 15 to 30 degrees either way."""
    angle = rng.choice([-1, 1]) * rng.uniform(15, 30)
    ink = ndimage.rotate(np.pad(_enlarged(image, 160), 60), angle, reshape=False, order=1)
    return _png(255 * (1 - np.clip(ink, 0, 1)))


def slanted(image: Pixels, rng: np.random.Generator) -> bytes:
    """An old hand: a nib, slanted by 10 to 30 degrees to the right, on grained paper."""
    ink = np.pad(_pen(image, rng, -rng.uniform(0.2, 0.4)), 60)
    slope = np.tan(np.deg2rad(rng.uniform(10, 30)))
    middle = (len(ink) - 1) / 2
    matrix = [[1, 0], [slope, 1]]
    ink = ndimage.affine_transform(ink, matrix, [0, -slope * middle], order=1)
    small = _small(_cropped(np.clip(ink, 0, 1)), int(rng.integers(60, 120)))
    page = np.pad(small, int(rng.integers(3, 16)))
    paper = 200 + 32 * ndimage.gaussian_filter(rng.normal(0, 1, page.shape), 2)
    values = paper * (1 - page) + rng.uniform(50, 110) * page
    values = ndimage.gaussian_filter(values, rng.uniform(0.4, 1)) + rng.normal(0, 3, page.shape)
    return _jpeg(values, 80)


def stretched_scan(image: Pixels, rng: np.random.Generator) -> bytes:
    """Black and white pixels, 16x16, that the digit fills, whatever its width."""
    crop = Image.fromarray(_cropped(_enlarged(image, 112)).astype(np.float32))
    ink = np.asarray(crop.resize((16, 16), Image.Resampling.BOX)) > rng.uniform(0.3, 0.6)
    return _png(np.where(ink, 255, 0) if rng.random() < 0.5 else np.where(ink, 0, 255))


def tight_crop(image: Pixels, rng: np.random.Generator) -> bytes:
    """A digit cropped to its ink, 100 to 250 px, with strokes thinner or wider than MNIST's."""
    ink = _cropped(np.pad(_pen(image, rng, rng.uniform(-0.5, 0.8)), 20))
    values = 255 * _small(ink, int(rng.integers(100, 250)))
    return _png(values if rng.random() < 0.5 else 255 - values)


def thick_crop(image: Pixels, rng: np.random.Generator) -> bytes:
    """A digit in felt pen cropped to its ink: strokes 2 or 4 pixels of the 28x28 wider."""
    wide = Image.fromarray(np.pad(image, 6)).filter(ImageFilter.MaxFilter(int(rng.choice([3, 5]))))
    crop = Image.fromarray(_cropped(np.asarray(wide) / 255).astype(np.float32))
    scale = int(rng.integers(4, 8))
    size = (crop.width * scale, crop.height * scale)
    ink = np.clip(np.asarray(crop.resize(size, Image.Resampling.BICUBIC)), 0, 1)
    return _png(20 + 215 * (ink if rng.random() < 0.5 else 1 - ink))


def _cropped(ink: NDArray[np.float64]) -> NDArray[np.float64]:
    """Crop to the ink."""
    rows, columns = np.flatnonzero(ink.max(1) > 0.3), np.flatnonzero(ink.max(0) > 0.3)
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _small(ink: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Reduce to a longer side of `side` pixels."""
    height, width = (max(2, round(side / max(ink.shape) * length)) for length in ink.shape)
    small = Image.fromarray(ink.astype(np.float32)).resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, np.float64)


def mnist(image: Pixels, rng: np.random.Generator) -> bytes:
    """The digit itself."""
    return _png(image)


def small_in_28x28(image: Pixels, rng: np.random.Generator) -> bytes:
    """A canvas scaled down: 8 to 16 px, anywhere in 28x28."""
    return _png(placed(image, rng, int(rng.integers(8, 17)), centred=False))


def off_centre_in_28x28(image: Pixels, rng: np.random.Generator) -> bytes:
    """A digit of MNIST's size, anywhere in 28x28."""
    return _png(placed(image, rng, 20, centred=False))


def large_in_28x28(image: Pixels, rng: np.random.Generator) -> bytes:
    """A digit that nearly fills 28x28."""
    return _png(placed(image, rng, int(rng.integers(24, 29)), centred=True))


def corrupted(image: Pixels, rng: np.random.Generator) -> bytes:
    """One of the 15 corruptions of MNIST-C."""
    kinds = list(CORRUPTIONS.values())
    return _png(kinds[rng.integers(len(kinds))](image, rng))


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

# The sources of the table of rules: those above, and others that one or another rule is for.
RULE_SOURCES = {
    **SOURCES,
    **{
        made.__name__.replace("_", " "): made
        for made in (
            mnist,
            small_in_28x28,
            off_centre_in_28x28,
            large_in_28x28,
            corrupted,
            tight_crop,
            thick_crop,
            stretched_scan,
            turned,
            slanted,
        )
    },
}
