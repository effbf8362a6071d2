"""Digits that neither MNIST nor the training shows, to measure with: hands, scans, slants, damage.

Written apart from what the training draws (`training.hands`, `training.damage`): other strokes,
other pens, other kinds of damage. Shapes are drawn on paper with lines and arcs; damage changes
held-out digits.
"""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

Pixels = NDArray[np.uint8]  # (28, 28), ink high
Stroke = NDArray[np.float64]  # (K, 2), (x, y), 0..1
Damage = Callable[[Pixels, np.random.Generator], Pixels]
Floats = NDArray[np.float64]

PAGE = 150  # side of the paper, pixels
AXIS = np.arange(28)


# --- Shapes of digits ---------------------------------------------------------------------------


def _line(*corners: tuple[float, float]) -> Stroke:
    return np.array(corners, float)


def _arc(
    centre: tuple[float, float], size: tuple[float, float], start: float, stop: float
) -> Stroke:
    """Return an arc of an ellipse; angles in degrees, 0 is right, 90 is down."""
    angle = np.deg2rad(np.linspace(start, stop, 40))
    return np.stack(
        [centre[0] + size[0] * np.cos(angle), centre[1] + size[1] * np.sin(angle)], axis=1
    )


def long_flag_1(rng: np.random.Generator) -> list[Stroke]:
    """A 1 with a flag of a third to half its height, as taught in Germany."""
    reach, drop = rng.uniform(0.2, 0.42), rng.uniform(0.26, 0.5)
    return [_line((0.6 - reach, drop), (0.6, 0), (0.6 + rng.uniform(-0.05, 0.05), 1))]


def footed_1(rng: np.random.Generator) -> list[Stroke]:
    """A 1 with a flag and a foot, as printed."""
    reach, foot = rng.uniform(0.12, 0.3), rng.uniform(0.15, 0.32)
    flag = _line((0.5 - reach, rng.uniform(0.15, 0.35)), (0.5, 0), (0.5, 1))
    return [flag, _line((0.5 - foot, 1), (0.5 + foot, 1))]


def crossed_7(rng: np.random.Generator) -> list[Stroke]:
    """A 7 with a bar through its stem."""
    end, middle = rng.uniform(0.15, 0.45), rng.uniform(0.4, 0.62)
    at = 0.85 + (end - 0.85) * middle
    half, tilt = rng.uniform(0.15, 0.3), rng.uniform(-0.08, 0.08)
    bar = _line((at - half, middle + tilt), (at + half, middle - tilt))
    return [_line((0.1, rng.uniform(0, 0.08)), (0.85, 0), (end, 1)), bar]


def slashed_0(rng: np.random.Generator) -> list[Stroke]:
    """A 0 with a slash inside or across."""
    width, over = rng.uniform(0.28, 0.45), rng.uniform(0.75, 1.3)
    lean = rng.uniform(0.4, 0.9) * width
    slash = _line((0.5 + lean * over, 0.5 - 0.42 * over), (0.5 - lean * over, 0.5 + 0.42 * over))
    return [_arc((0.5, 0.5), (width, 0.5), -80, 285), slash]


def open_4(rng: np.random.Generator) -> list[Stroke]:
    """A 4 whose two strokes do not meet at the top."""
    bend, right = rng.uniform(0.5, 0.72), rng.uniform(0.6, 0.78)
    left = rng.uniform(0.08, 0.35)
    angle = _line((left, 0), (left - rng.uniform(0, 0.15), bend), (0.95, bend))
    return [angle, _line((right, rng.uniform(0.05, 0.4)), (right - rng.uniform(0, 0.1), 1))]


def triangular_4(rng: np.random.Generator) -> list[Stroke]:
    """A 4 drawn in one stroke, closed at the top, its lines crossing."""
    low, bend = rng.uniform(0.35, 0.6), rng.uniform(0.5, 0.7)
    path = _line((low, 1), (0.7, 0), (0.05, bend), (rng.uniform(0.85, 1), bend + 0.06))
    return [path]


def straight_9(rng: np.random.Generator) -> list[Stroke]:
    """A 9 with a straight leg."""
    size = rng.uniform(0.2, 0.3)
    bowl = _arc((0.45, 0.25), (size, 0.25), 0, 360)
    return [bowl, _line((0.45 + size, 0.2), (0.45 + size - rng.uniform(-0.05, 0.25), 1))]


def curled_9(rng: np.random.Generator) -> list[Stroke]:
    """A 9 whose leg curls to the left."""
    size = rng.uniform(0.24, 0.32)
    bowl, right = _arc((0.45, 0.26), (size, 0.26), -20, 340), 0.45 + size
    tail = _arc((right - 0.3, 0.72), (0.3, 0.28), 0, rng.uniform(110, 160))
    return [bowl, np.concatenate([_line((right, 0.2)), tail])]


def looped_2(rng: np.random.Generator) -> list[Stroke]:
    """A 2 with a loop at its lower left corner."""
    loop = rng.uniform(0.07, 0.13)
    top = _arc((0.48, 0.27), (0.32, 0.27), 190, 390)
    turn = _arc((0.17, 0.9), (loop, loop), 100, 350)
    tail = _line((0.5, 0.93), (rng.uniform(0.85, 1), 0.97 - rng.uniform(0, 0.12)))
    return [np.concatenate([top, turn, tail])]


def open_8(rng: np.random.Generator) -> list[Stroke]:
    """An 8 whose ends do not meet at the top."""
    gap, size = rng.uniform(25, 75), rng.uniform(0.22, 0.3)
    left = _arc((0.5, 0.24), (size, 0.24), -90 - gap / 2, -270)
    right = _arc((0.5, 0.24), (size, 0.24), 90, -90 + gap / 2)
    return [np.concatenate([left, _arc((0.5, 0.73), (0.33, 0.27), -90, 270), right])]


def curved_5(rng: np.random.Generator) -> list[Stroke]:
    """A 5 in one curve, without a corner or a separate bar."""
    top = _line((rng.uniform(0.75, 0.95), 0.02), (0.38, 0.04))
    neck = _arc((0.42, 0.22), (0.2, 0.2), 250, 120)
    bowl = _arc((0.4, 0.7), (0.38, 0.3), -80, rng.uniform(120, 150))
    return [np.concatenate([top, neck, bowl])]


def straight_6(rng: np.random.Generator) -> list[Stroke]:
    """A 6 with a straight stem."""
    size = rng.uniform(0.24, 0.34)
    bowl = _arc((0.5, 0.72), (size, 0.28), 0, 360)
    stem = _line((0.5 - size + rng.uniform(0, 0.4), 0), (0.5 - size, 0.68))
    return [bowl, stem]


def _operator(rng: np.random.Generator) -> list[Stroke]:
    """A plus, minus, times, division, equals or percent sign."""
    a, b = rng.uniform(-0.08, 0.08, 2)
    dash = _line((0.1, 0.5 + a), (0.9, 0.5 - a))
    dot = rng.uniform(0.02, 0.05)
    signs = (
        [dash, _line((0.5 + b, 0.1), (0.5 - b, 0.9))],
        [dash],
        [_line((0.1, 0.15 + a), (0.9, 0.85)), _line((0.9, 0.15 + b), (0.1, 0.85))],
        [dash, _arc((0.5, 0.2), (dot, dot), 0, 360), _arc((0.5, 0.8), (dot, dot), 0, 360)],
        [_line((0.1, 0.35 + a), (0.9, 0.35)), _line((0.1, 0.65), (0.9, 0.65 + b))],
        [
            _line((0.85, 0), (0.15, 1)),
            _arc((0.25, 0.2), (0.15, 0.15), 0, 360),
            _arc((0.75, 0.8), (0.15, 0.15), 0, 360),
        ],
    )
    return signs[rng.integers(len(signs))]


def operator(rng: np.random.Generator) -> bytes:
    """Draw an operator by hand, as a PNG file."""
    return draw(_operator(rng), rng)


def heart(rng: np.random.Generator) -> bytes:
    """Draw a heart by hand, as a PNG file."""
    t = np.linspace(0, 2 * np.pi, 60)
    x, y = 16 * np.sin(t) ** 3, 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t)
    return draw([np.stack([0.5 + x / 34, 0.45 - y / 32], axis=1)], rng)


def shaded_paper(rng: np.random.Generator) -> bytes:
    """Photograph blank paper in uneven light, as a PNG file."""
    y, x = np.mgrid[0:120, 0:120] / 120
    light = 200 + rng.uniform(-90, 90) * x + rng.uniform(-90, 90) * y
    spot = np.exp(-((x - rng.uniform(0, 1)) ** 2 + (y - rng.uniform(0, 1)) ** 2) / 0.1)
    return png(light + rng.uniform(-60, 60) * spot + rng.normal(0, rng.uniform(1, 6), x.shape))


SHAPES: dict[str, tuple[int, Callable[[np.random.Generator], list[Stroke]]]] = {
    "1 with a long flag": (1, long_flag_1),
    "1 with flag and foot": (1, footed_1),
    "crossed 7": (7, crossed_7),
    "slashed 0": (0, slashed_0),
    "open 4": (4, open_4),
    "triangular 4": (4, triangular_4),
    "9 with a straight leg": (9, straight_9),
    "9 with a curled leg": (9, curled_9),
    "2 with a loop": (2, looped_2),
    "8 open at the top": (8, open_8),
    "5 in one curve": (5, curved_5),
    "6 with a straight stem": (6, straight_6),
}


def draw(strokes: list[Stroke], rng: np.random.Generator) -> bytes:
    """Draw strokes on white paper as a PNG file: wavering, slanted, with a pen of any width."""
    width, height = rng.uniform(45, 85), rng.uniform(70, 105)
    lean, turn = np.tan(np.deg2rad(rng.uniform(-8, 18))), np.deg2rad(rng.uniform(-7, 7))
    phase, pace = rng.uniform(0, 2 * np.pi, 4), rng.uniform(3, 8, 4)
    pen = float(np.exp(rng.uniform(np.log(2.5), np.log(11))))
    page = Image.new("L", (PAGE, PAGE), 255)
    for stroke in strokes:
        dense = _densely(stroke)
        x, y = (dense[:, 0] - 0.5) * width, (dense[:, 1] - 0.5) * height
        x = (
            x
            + 2 * np.sin(pace[0] * dense[:, 1] + phase[0])
            + np.sin(2 * pace[1] * y / 50 + phase[1])
        )
        y = (
            y
            + 2 * np.sin(pace[2] * dense[:, 0] + phase[2])
            + np.sin(2 * pace[3] * x / 50 + phase[3])
        )
        x = x - lean * y
        across = np.cos(turn) * x - np.sin(turn) * y + PAGE / 2
        down = np.sin(turn) * x + np.cos(turn) * y + PAGE / 2
        _ink(page, np.stack([across, down], axis=1), pen)
    soft = page.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1)))
    return png(np.asarray(soft))


def _densely(stroke: Stroke) -> Stroke:
    """Return points on a stroke that are close together."""
    steps = np.hypot(*np.diff(stroke, axis=0).T) if len(stroke) > 1 else np.zeros(0)
    along = np.concatenate([[0], np.cumsum(steps)])
    every = np.linspace(0, along[-1], max(2, int(along[-1] * 60)))
    return np.stack([np.interp(every, along, stroke[:, axis]) for axis in (0, 1)], axis=1)


def _ink(page: Image.Image, points: Stroke, pen: float) -> None:
    draw_on, path = ImageDraw.Draw(page), [tuple(point) for point in points]
    draw_on.line(path, fill=20, width=max(1, round(pen)), joint="curve")
    for x, y in (path[0], path[-1]):
        draw_on.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=20)


def png(values: NDArray[np.generic]) -> bytes:
    """Return grey values, `[H, W]`, as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


# --- Slants, turns and scans of digits ----------------------------------------------------------


def _enlarged(image: Pixels) -> Floats:
    """Return a digit at five times its size with sharp strokes, 0..1, ink high, `[140, 140]`."""
    large = ndimage.zoom(image.astype(float) / 255, 5, order=3)
    soft = ndimage.gaussian_filter(large, 1.5)
    return np.asarray(np.clip((soft - 0.5) * 4 + 0.5, 0, 1))


def _transformed(image: Pixels, matrix: NDArray[np.float64]) -> bytes:
    """Return the digit, transformed about its middle, in black on white as a PNG file."""
    page = np.pad(_enlarged(image), 40)
    centre = np.array([(side - 1) / 2 for side in page.shape])
    moved = ndimage.affine_transform(page, matrix, centre - matrix @ centre, order=1)
    return png(255 * (1 - moved))


def slanted(image: Pixels, rng: np.random.Generator, degrees: float) -> bytes:
    """Slant a digit to the right by an angle; negative: to the left."""
    return _transformed(image, np.array([[1, 0], [np.tan(np.deg2rad(degrees)), 1]]))


def turned(image: Pixels, rng: np.random.Generator, degrees: float) -> bytes:
    """Turn a digit clockwise by an angle."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return _transformed(image, np.array([[c, -s], [s, c]]))


def small_binary_scan(image: Pixels, rng: np.random.Generator) -> bytes:
    """Scan the ink's bounding box with 16x16 pixels of two levels, whatever its shape was."""
    page = _enlarged(image)
    rows, columns = np.flatnonzero(page.max(1) > 0.5), np.flatnonzero(page.max(0) > 0.5)
    crop = page[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    small = Image.fromarray((255 * crop).astype(np.uint8)).resize((16, 16), Image.Resampling.BOX)
    return png(np.where(np.asarray(small) > 127, 255, 0))


# --- Damage -------------------------------------------------------------------------------------


def _clip(values: NDArray[np.floating]) -> Pixels:
    return np.asarray(np.rint(np.clip(values, 0, 255)), np.uint8)


def _looked_up(image: Pixels, y: Floats, x: Floats) -> Pixels:
    return _clip(ndimage.map_coordinates(image.astype(float), [y, x], order=1))


def perspective(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Photograph the digit at an angle: one side becomes smaller."""
    y, x = np.meshgrid((AXIS - 13.5) / 14, (AXIS - 13.5) / 14, indexing="ij")
    tilt_y, tilt_x = rng.uniform(-0.35, 0.35, 2)
    depth = 1 + tilt_y * y + tilt_x * x
    return _looked_up(image, 13.5 + 14 * y / depth, 13.5 + 14 * x / depth)


def halftone(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Print with an ordered dither of 4x4 levels (Bayer, 1973), and a slight blur."""
    order = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
    levels = np.tile((order + 0.5) * 16, (7, 7))
    grey = 30 + 0.6 * ndimage.gaussian_filter(image.astype(float), 0.5)
    return _clip(ndimage.gaussian_filter(np.where(grey > levels, 255.0, 0.0), 0.5))


def ghost(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Show the digit twice, the second time weaker and moved, as a shaken camera does."""
    moved = np.roll(image, tuple(rng.integers(-4, 5, 2)), axis=(0, 1)).astype(float)
    return _clip(np.maximum(image, rng.uniform(0.35, 0.65) * moved))


def hatching(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Draw thin parallel lines over the digit, grey, in any direction."""
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(3.5, 6)
    position = np.cos(angle) * AXIS[:, None] + np.sin(angle) * AXIS[None, :]
    lines = np.mod(position + rng.uniform(0, pitch), pitch) < 1.1
    return _clip(np.maximum(image, rng.uniform(70, 150) * lines))


def torn_rows(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Move bands of rows sideways, as a scanner whose paper slips."""
    shifts = np.repeat(rng.integers(-2, 3, 7), 4)
    return np.stack([np.roll(row, shift) for row, shift in zip(image, shifts, strict=True)])


def swirl(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Twist the digit about its middle."""
    y, x = np.meshgrid(AXIS - 13.5, AXIS - 13.5, indexing="ij")
    twist = np.deg2rad(rng.uniform(25, 45)) * rng.choice([-1, 1])
    angle = twist * np.exp(-np.hypot(y, x) / 8)
    return _looked_up(
        image,
        13.5 + np.cos(angle) * y - np.sin(angle) * x,
        13.5 + np.sin(angle) * y + np.cos(angle) * x,
    )


def compressed(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Store the digit as a JPEG of very low quality."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=int(rng.integers(3, 9)))
    return np.asarray(Image.open(stream).convert("L"))


def faded(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Fade the ink towards one side, down to a fifth."""
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * (AXIS[:, None] - 13.5) + np.sin(angle) * (AXIS[None, :] - 13.5)
    return _clip(image * np.clip(0.6 + slope / 20, 0.2, 1))


def mosaic(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Average blocks of 3x3 pixels, from any corner."""
    top, left = rng.integers(0, 3, 2)
    padded = np.pad(image.astype(float), ((top, 29 - 28 + 3 - top - 2), (left, 4 - left - 2)))
    side = padded.shape[0] // 3 * 3
    blocks = padded[:side, :side].reshape(side // 3, 3, side // 3, 3).mean(axis=(1, 3))
    return _clip(np.kron(blocks, np.ones((3, 3)))[top : top + 28, left : left + 28])


def bled_ink(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Let the ink run in one direction, becoming weaker, as on wet paper."""
    step = np.round(2 * np.array([np.cos(a := rng.uniform(0, 2 * np.pi)), np.sin(a)])).astype(int)
    run = image.astype(float)
    for distance in range(1, 5):
        shifted = ndimage.shift(image.astype(float), step * distance / 2, order=1)
        run = np.maximum(run, 0.75**distance * shifted)
    return _clip(run)


# Kinds that may be looked at while a network is developed, and kinds that are only published.
OPEN_DAMAGE: dict[str, Damage] = {
    made.__name__.replace("_", " "): made
    for made in (perspective, halftone, ghost, hatching, torn_rows)
}
SEALED_DAMAGE: dict[str, Damage] = {
    made.__name__.replace("_", " "): made for made in (swirl, compressed, faded, mosaic, bled_ink)
}
