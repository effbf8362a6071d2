"""Test images made from digits: canvases, paper under every light, rows of digits, odd pens.

NumPy and Pillow only. Every image comes from the generator that the caller passes. These are not
the images of `benchmarks/sources.py`: other papers, other lights, other pens.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Pixels = NDArray[np.uint8]
Values = NDArray[np.float32]

PENS = ((20, 20, 30), (30, 45, 140), (165, 30, 40), (85, 85, 90), (20, 100, 60), (235, 190, 20))


@dataclass(frozen=True)
class Sheet:
    """Several digits on one image: what they are, line by line, and where, in reading order."""

    image: Pixels
    text: str
    boxes: tuple[tuple[int, int, int, int], ...]


def encode(pixels: NDArray[np.generic], form: str = "PNG", **options: object) -> bytes:
    """Write pixels to a file's bytes."""
    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(stream, form, **options)
    return stream.getvalue()


def enlarge(digit: Pixels, side: int) -> Values:
    """Redraw a 28x28 digit with sharp, anti-aliased strokes, float32 `[side, side]`, 0..1."""
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    soft = np.asarray(large.filter(ImageFilter.GaussianBlur(side / 90)), np.float32) / 255
    return np.clip((soft - 0.5) * max(1.0, side / 28) + 0.5, 0, 1)


def reinked(ink: Values, step: int) -> Values:
    """Thicken (`step` > 0) or thin strokes by `step` pixels on either side."""
    picture = Image.fromarray((ink * 255).astype(np.uint8))
    for _ in range(abs(step)):
        picture = picture.filter(ImageFilter.MaxFilter(3) if step > 0 else ImageFilter.MinFilter(3))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(0.6)), np.float32) / 255


def tight(ink: Values) -> Values:
    """Crop to the ink."""
    rows, columns = np.flatnonzero(ink.max(1) > 0.3), np.flatnonzero(ink.max(0) > 0.3)
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def canvas(digit: Pixels, side: int = 280, *, dark: bool = True) -> Pixels:
    """Draw a digit as with a mouse, uint8 `[side, side]`; dark on light unless told otherwise."""
    grey = np.round(enlarge(digit, side) * 255).astype(np.uint8)
    return 255 - grey if dark else grey


def turned(ink: Values, rng: np.random.Generator, most_deg: float = 10) -> Values:
    """Rotate, and view at a slight angle (a perspective), keeping the size."""
    height, width = ink.shape
    picture = Image.fromarray((ink * 255).astype(np.uint8))
    picture = picture.rotate(rng.uniform(-most_deg, most_deg), Image.Resampling.BICUBIC)
    bend = rng.uniform(-0.1, 0.1, 2) / max(height, width)
    middle = 1 + bend[0] * width / 2 + bend[1] * height / 2
    data = (middle, 0, 0, 0, middle, 0, bend[0], bend[1])
    picture = picture.transform(
        picture.size, Image.Transform.PERSPECTIVE, data, Image.Resampling.BICUBIC
    )
    return np.asarray(picture, np.float32) / 255


def smooth_noise(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> Values:
    """Clouds with about `cells` cells a side, standard normal before smoothing."""
    coarse = rng.normal(0, 1, (cells + 1, cells + 1)).astype(np.float32)
    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.float32)


def lit(shape: tuple[int, int], rng: np.random.Generator) -> Values:
    """Light on paper, 0..1: a gradient, a vignette, sometimes a shadow with a soft edge."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32) / max(shape)
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.4) * (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.4))
    light -= rng.uniform(0, 0.6) * ((x - 0.5) ** 2 + (y - 0.4) ** 2)
    light += 0.03 * smooth_noise(shape, 4, rng)
    if rng.random() < 0.5:
        turn = rng.uniform(0, 2 * np.pi)
        edge = np.cos(turn) * (x - rng.uniform(0.2, 0.8)) + np.sin(turn) * (y - rng.uniform(0, 0.7))
        light *= 1 - rng.uniform(0.1, 0.5) / (1 + np.exp(-edge * rng.uniform(15, 120)))
    return np.asarray(light / light.max() * rng.uniform(0.75, 1), np.float32)


def rule(page: Values, kind: str, rng: np.random.Generator) -> Values:
    """Print ruled lines or a grid, a little turned, on paper `[H, W, 3]`."""
    height, width = page.shape[:2]
    picture = Image.fromarray(page.astype(np.uint8))
    pen, pitch = ImageDraw.Draw(picture), rng.uniform(0.07, 0.2) * height
    shades = [(150, 180, 220), (185, 185, 185), (160, 200, 170)]
    colour, thick = shades[rng.integers(3)], int(rng.integers(1, 4))
    slope, start = np.tan(np.deg2rad(rng.uniform(-2, 2))), rng.uniform(0, pitch)
    for at in np.arange(start - height, 2 * height, pitch):
        pen.line([(0, at), (width, at + slope * width)], fill=colour, width=thick)
    if kind == "grid":
        for at in np.arange(start - width, 2 * width, pitch):
            pen.line([(at, 0), (at - slope * height, height)], fill=colour, width=thick)
    elif rng.random() < 0.4:  # a margin
        at = rng.uniform(0.05, 0.15) * width
        pen.line([(at, 0), (at - slope * height, height)], fill=(220, 120, 120), width=thick)
    return np.asarray(picture, np.float32)


def photographed(ink: Values, rng: np.random.Generator, paper: str = "plain") -> bytes:
    """Photograph ink `[H, W]`, 0..1, on paper: pen, light, blur, noise, JPEG.

    Args:
        ink: What is written.
        rng: The source of every choice.
        paper: `plain`, `ruled`, `grid`, or `table` (paper that ends within the picture).
    """
    height, width = ink.shape
    page = np.ones((height, width, 3), np.float32) * rng.uniform([210, 205, 185], [254, 252, 246])
    page = rule(page, paper, rng) if paper in ("ruled", "grid") else page
    page += 2.5 * smooth_noise((height, width), 60, rng)[..., None]
    grain = 1 - rng.uniform(0, 0.3) * np.clip(smooth_noise((height, width), 150, rng), 0, 1)
    cover = (ink * grain * rng.uniform(0.7, 1))[..., None]
    scene = page * (1 - cover) + np.array(PENS[rng.integers(5)], np.float32) * cover
    if paper == "table":
        y, x = np.mgrid[0:height, 0:width] / max(height, width)
        edge = x * rng.uniform(0.9, 1.1) + y * rng.uniform(-0.15, 0.15) > rng.uniform(0.93, 0.97)
        scene[edge] = rng.uniform(30, 110, 3)
    scene = scene * lit((height, width), rng)[..., None]
    scene = np.clip(scene, 0, 255).astype(np.uint8)
    blurred = Image.fromarray(scene).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.6)))
    noisy = np.asarray(blurred, np.float32) + rng.normal(0, rng.uniform(1, 8), (height, width, 1))
    return encode(
        np.clip(noisy, 0, 255).astype(np.uint8), "JPEG", quality=int(rng.integers(40, 95))
    )


def on_page(digit: Pixels, rng: np.random.Generator, shape: tuple[int, int] = (450, 600)) -> Values:
    """Write a digit of any size and pen somewhere on an empty page `[H, W]`."""
    side = int(rng.integers(shape[0] // 5, int(0.85 * shape[0])))
    ink = enlarge(digit, side)
    ink = reinked(ink, int(rng.integers(-1, 3)) * max(1, side // 120))
    ink = turned(ink, rng)
    page = np.zeros(shape, np.float32)
    top, left = rng.integers(5, shape[0] - side - 5), rng.integers(15, shape[1] - side - 60)
    page[top : top + side, left : left + side] = ink
    return page


def photo(digit: Pixels, rng: np.random.Generator) -> bytes:
    """A digit on plain paper under uneven light."""
    return photographed(on_page(digit, rng), rng)


def ruled(digit: Pixels, rng: np.random.Generator) -> bytes:
    """A digit on ruled paper, the lines a little turned, sometimes a margin."""
    return photographed(on_page(digit, rng), rng, "ruled")


def grid(digit: Pixels, rng: np.random.Generator) -> bytes:
    """A digit on squared paper."""
    return photographed(on_page(digit, rng), rng, "grid")


def table(digit: Pixels, rng: np.random.Generator) -> bytes:
    """A digit on paper, the table to be seen on the right."""
    return photographed(on_page(digit, rng), rng, "table")


def pen_colours(digit: Pixels, rng: np.random.Generator) -> bytes:
    """A canvas with any of the pens, yellow among them, on white or on a pastel."""
    ink = enlarge(digit, 200)[..., None]
    ground = rng.uniform(225, 255, 3) if rng.random() < 0.5 else np.full(3, 255.0)
    return encode((ground * (1 - ink) + np.array(PENS[rng.integers(6)]) * ink).astype(np.uint8))


def transparent(digit: Pixels, rng: np.random.Generator) -> bytes:
    """Strokes of one colour on nothing, as drawing programs export them."""
    ink = np.asarray(Image.fromarray(canvas(digit, 160, dark=False)))
    colour = rng.choice([0, 255, 90])
    rgba = np.concatenate([np.full((160, 160, 3), colour), ink[..., None]], axis=2)
    return encode(rgba.astype(np.uint8))


def tiny(digit: Pixels, rng: np.random.Generator) -> bytes:
    """A scan of 8 to 16 pixels a side."""
    side = int(rng.integers(8, 17))
    crop = tight(enlarge(digit, 112))
    square = np.zeros((max(crop.shape),) * 2, np.float32)
    at = (square.shape[1] - crop.shape[1]) // 2, (square.shape[0] - crop.shape[0]) // 2
    square[at[1] : at[1] + crop.shape[0], at[0] : at[0] + crop.shape[1]] = crop
    small = Image.fromarray(square).resize((side, side), Image.Resampling.BOX)
    return encode(np.round(np.asarray(small) * 255).astype(np.uint8))


def scanned(digit: Pixels, rng: np.random.Generator) -> bytes:
    """A black and white scan with specks and rough edges, 40 to 200 pixels a side."""
    side = int(rng.integers(40, 200))
    ink = np.pad(enlarge(digit, side), side // 8) + rng.normal(0, 0.2, (side + side // 8 * 2,) * 2)
    return encode(np.where(ink > 0.5, 0, 255).astype(np.uint8), "PNG")


def full_frame(digit: Pixels, rng: np.random.Generator) -> bytes:
    """A digit cropped to its ink, with no margin at all."""
    grey = np.round(255 * (1 - tight(enlarge(digit, 200)))).astype(np.uint8)
    return encode(grey if rng.random() < 0.5 else 255 - grey)


def placed(digit: Pixels, rng: np.random.Generator, side: int) -> Pixels:
    """Draw a digit with a longer side of `side` pixels anywhere on a black 28x28, uint8."""
    ink = tight(enlarge(digit, 280))
    scale = side / max(ink.shape)
    height, width = (max(1, round(scale * length)) for length in ink.shape)
    small = Image.fromarray(ink).resize((width, height), Image.Resampling.BOX)
    top, left = rng.integers(0, 29 - height), rng.integers(0, 29 - width)
    page = np.zeros((28, 28), np.uint8)
    page[top : top + height, left : left + width] = np.round(np.asarray(small) * 255)
    return page


def placed_small(digit: Pixels, rng: np.random.Generator) -> bytes:
    """A 28x28 whose digit is smaller than MNIST's, anywhere: a large canvas scaled down."""
    return encode(placed(digit, rng, int(rng.integers(8, 17))))


def off_centre(digit: Pixels, rng: np.random.Generator) -> bytes:
    """A 28x28 whose digit has MNIST's size, anywhere."""
    return encode(placed(digit, rng, 20))


def placed_large(digit: Pixels, rng: np.random.Generator) -> bytes:
    """A 28x28 that the digit fills."""
    return encode(placed(digit, rng, int(rng.integers(25, 29))))


def thick_crop(digit: Pixels, rng: np.random.Generator) -> bytes:
    """A digit written with a felt pen, cropped to its ink, with soft edges."""
    ink = Image.fromarray(digit).filter(ImageFilter.MaxFilter(3))
    crop = Image.fromarray(
        np.round(tight(np.asarray(ink, np.float32) / 255) * 255).astype(np.uint8)
    )
    scale = int(rng.integers(4, 8))
    large = crop.resize((crop.width * scale, crop.height * scale), Image.Resampling.BICUBIC)
    grey = (20 + np.asarray(large, np.float32) * 0.84).astype(np.uint8)
    return encode(grey if rng.random() < 0.5 else 255 - grey)


KINDS: dict[str, Callable[[Pixels, np.random.Generator], bytes]] = {
    made.__name__: made
    for made in (
        photo,
        ruled,
        grid,
        table,
        pen_colours,
        transparent,
        tiny,
        scanned,
        full_frame,
        thick_crop,
        placed_small,
        off_centre,
        placed_large,
    )
}


def sheet(
    digits: list[tuple[int, Pixels]],
    rng: np.random.Generator,
    *,
    per_line: int = 6,
    sizes: tuple[int, int] = (90, 110),
    gap: tuple[float, float] = (0.15, 0.4),
    slope_deg: float = 0.0,
) -> Sheet:
    """Write digits in lines on white paper.

    Args:
        digits: Labels and 28x28 images, in reading order.
        rng: The source of every choice.
        per_line: Digits on a line.
        sizes: Least and largest height, pixels.
        gap: Least and largest space between digits, in heights; negative makes them touch.
        slope_deg: Angle of the lines.
    """
    lines = [digits[at : at + per_line] for at in range(0, len(digits), per_line)]
    pitch, margin = int(1.7 * sizes[1]), 40
    width = margin * 2 + int(per_line * sizes[1] * 1.5)
    rise = int(abs(np.tan(np.deg2rad(slope_deg))) * width)
    page = np.zeros((pitch * len(lines) + 2 * margin + rise, width), np.float32)
    boxes, text = [], []
    for number, line in enumerate(lines):
        left = margin + int(rng.integers(0, 20))
        for _, digit in line:
            height = int(rng.integers(sizes[0], sizes[1] + 1))
            ink = tight(enlarge(digit, round(height * 1.4)))
            base = margin + pitch * number + sizes[1] + int(np.tan(np.deg2rad(slope_deg)) * left)
            top = max(0, base + (rise if slope_deg < 0 else 0) - ink.shape[0])
            view = page[top : top + ink.shape[0], left : left + ink.shape[1]]
            np.maximum(view, ink[: view.shape[0], : view.shape[1]], out=view)
            boxes.append((left, top, ink.shape[1], ink.shape[0]))
            left += ink.shape[1] + int(rng.uniform(*gap) * sizes[1])
        text.append("".join(str(label) for label, _ in line))
    image = np.round(255 * (1 - page)).astype(np.uint8)
    return Sheet(image, "\n".join(text), tuple(boxes))
