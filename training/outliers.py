"""Draw images that are not digits, so that a network learns to recognise them.

Outlier exposure (Hendrycks, Mazeika and Dietterich, 2019, arXiv:1812.04606): a small share of
every batch is no digit and has the uniform distribution as its target. Letters and signs come from
the DejaVu fonts of Matplotlib, without those that a person may read as a digit.
"""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.augment import Augmentation, augment
from training.drawings import draw_faces, draw_polygons, draw_walks
from training.hands import draw_signs
from training.pens import Points
from training.photographs import draw_photographs
from training.resample import AXIS, Batch, elastic_field, uniform
from training.skeletons import redraw, trace
from training.strokes import draw_segments

Pixels = NDArray[np.uint8]  # (N, 28, 28), ink high

# Without the letters that a hand draws like a digit (O o Q D I l i j J Z z S s B b q g d y), and
# without Greek ones, which test the verdict.
GLYPHS = (
    "AEFHKMNPRWXCTULVGYaefkmnpuwxchrvt&@#%?+*=$€~<>^:;"
    "ДЖИЙЛПФЦШЩЪЫЮЯджйклмптфцшщъыюяԱԹთკმჟ∑∏√≈≠±⊕⊗∈∀∃∇¶§¥£¿æœŒÞ"
)
FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSerif-Italic.ttf",
    "DejaVuSansMono.ttf",
)
GEOMETRY = Augmentation(
    rotation_deg=15, shift_px=2, scale=0.15, shear_deg=10, elastic_px=1.2, thickness=0.3
)


def outliers(digits: NDArray[np.uint8], rng: np.random.Generator) -> Batch:
    """Draw one non-digit for each digit; overlays are made of the digits themselves.

    Args:
        digits: uint8 `[N, 28, 28]`.
        rng: The source of every random choice.

    Returns:
        float32 `[N, 28, 28]`, 0..255, of the kinds in `KINDS`.
    """
    n = len(digits)
    kinds = rng.choice(len(KINDS), size=n, p=list(KINDS.values()))
    made = np.zeros((n, 28, 28), np.float32)
    for kind, make in enumerate(KINDS):
        rows = np.flatnonzero(kinds == kind)
        if len(rows):
            made[rows] = make(digits[rows], rng)
    return made


@cache
def _glyph_sheet() -> NDArray[np.uint8]:
    """Render every glyph in MNIST's form: longer side 20, centre of mass in the middle."""
    import matplotlib  # here, because only its font files are needed, and only for letters

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    drawn = []
    for name in FONTS:
        font = ImageFont.truetype(str(folder / name), 80)
        for glyph in GLYPHS:
            canvas = Image.new("L", (160, 160))
            ImageDraw.Draw(canvas).text((40, 30), glyph, fill=255, font=font)
            box = canvas.getbbox()
            if box is None:
                continue
            factor = 20 / max(box[2] - box[0], box[3] - box[1])
            size = (
                max(1, round((box[2] - box[0]) * factor)),
                max(1, round((box[3] - box[1]) * factor)),
            )
            ink = np.asarray(canvas.crop(box).resize(size, Image.Resampling.BOX), np.float32)
            centre_y = (ink.sum(axis=1) @ np.arange(size[1])) / ink.sum()
            centre_x = (ink.sum(axis=0) @ np.arange(size[0])) / ink.sum()
            top = int(np.clip(round(14 - centre_y), 0, 28 - size[1]))
            left = int(np.clip(round(14 - centre_x), 0, 28 - size[0]))
            image = np.zeros((28, 28), np.uint8)
            image[top : top + size[1], left : left + size[0]] = ink
            drawn.append(image)
    return np.stack(drawn)


def letters(digits: Pixels, rng: np.random.Generator) -> Batch:
    """Draw a letter or a sign for each digit, with the digits' augmentation."""
    sheet = _glyph_sheet()
    return augment(sheet[rng.integers(len(sheet), size=len(digits))], GEOMETRY, rng)


def written_letters(digits: Pixels, rng: np.random.Generator) -> Batch:
    """Draw a letter or a sign for each digit again from its strokes, with any pen."""
    strokes = _glyph_strokes()
    return redraw(strokes[rng.integers(len(strokes), size=len(digits))], rng)


@cache
def _glyph_strokes() -> Points:
    return trace(_glyph_sheet())


def scribbles(digits: Pixels, rng: np.random.Generator) -> Batch:
    """Draw scribbles of four to seven quadratic curves; fewer could form a digit."""
    n = len(digits)
    curves, steps = int(rng.integers(4, 8)), np.linspace(0, 1, 9, dtype=np.float32)
    ends = rng.uniform(2, 26, size=(n, curves, 3, 2)).astype(np.float32)
    joined = rng.random((n, curves)) < 0.7  # most curves start where the previous one ended
    for curve in range(1, curves):
        here = joined[:, curve]
        ends[here, curve, 0] = ends[here, curve - 1, 2]
    s = steps[None, None, :, None]
    points = (
        (1 - s) ** 2 * ends[:, :, None, 0]
        + 2 * s * (1 - s) * ends[:, :, None, 1]
        + s**2 * ends[:, :, None, 2]
    )
    start, stop = points[:, :, :-1].reshape(n, -1, 2), points[:, :, 1:].reshape(n, -1, 2)
    return draw_segments(start, stop, rng.uniform(0.6, 1.7, n).astype(np.float32))


def overlays(digits: Pixels, rng: np.random.Generator) -> Batch:
    """Draw each digit over another one that is rotated by 90 degrees."""
    one = augment(digits, GEOMETRY, rng)
    other = augment(np.rot90(digits[rng.permutation(len(digits))], axes=(1, 2)), GEOMETRY, rng)
    return np.maximum(one, other)


def textures(digits: Pixels, rng: np.random.Generator) -> Batch:
    """Draw textures: smooth noise, gratings and white noise."""
    n = len(digits)
    field, _ = elastic_field(n, float(rng.uniform(0.7, 4)), rng)
    y, x = np.mgrid[0:28, 0:28].astype(np.float32)
    angle = rng.uniform(0, np.pi, (n, 1, 1)).astype(np.float32)
    phase = (np.cos(angle) * y + np.sin(angle) * x) / rng.uniform(0.5, 2.5, (n, 1, 1)).astype(
        np.float32
    )
    grating, noise = np.sin(phase), rng.standard_normal((n, 28, 28), dtype=np.float32)
    pick = rng.integers(3, size=(n, 1, 1))
    made = np.where(pick == 0, field, np.where(pick == 1, grating + 0.3 * field, noise))
    gain = rng.choice([60.0, 120.0, 1000.0], size=(n, 1, 1))
    return np.clip(gain * made + rng.uniform(0, 160, (n, 1, 1)), 0, 255).astype(np.float32)


def signs(digits: Pixels, rng: np.random.Generator) -> Batch:
    """Draw operators, dashes, hearts and ticks by hand."""
    return draw_signs(len(digits), rng)


def pairs(digits: Pixels, rng: np.random.Generator) -> Batch:
    """Draw each digit at half its size beside another one."""
    other = digits[rng.permutation(len(digits))]
    made = np.zeros(digits.shape, np.float32)
    for column, images in ((2, digits), (12, other)):
        small = images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
        made[:, 7:21, column : column + 14] = np.maximum(made[:, 7:21, column : column + 14], small)
    return augment(np.minimum(1.3 * made, 255).astype(np.uint8), GEOMETRY, rng)


def frames(digits: Pixels, rng: np.random.Generator) -> Batch:
    """Draw a frame or a ring around each digit at half its size, or around nothing."""
    n = len(digits)
    made = np.zeros(digits.shape, np.float32)
    made[:, 7:21, 7:21] = digits.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    ring = rng.random((n, 1, 1)) < 0.4
    made *= (rng.random((n, 1, 1)) < 0.7) | ring  # an empty ring is a 0
    pen = uniform(rng, 0.4, 1.4, n)
    half_y, half_x = uniform(rng, 8.0, 9.5, n), uniform(rng, 6.5, 9.5, n)
    y, x = np.abs(AXIS[:, None] - 13.5), np.abs(AXIS[None, :] - 13.5)
    # Distance to the outline, inside and outside.
    of_frame = np.abs(np.maximum(y - half_y, x - half_x))
    of_ring = np.abs(np.hypot(y / half_y, x / half_x) - 1) * np.minimum(half_y, half_x)
    distance = np.where(ring, of_ring, of_frame)
    made = np.maximum(made, 255 * np.clip(pen + 0.5 - distance, 0, 1))
    return augment(made.astype(np.uint8), GEOMETRY, rng)


def scenes(digits: Pixels, rng: np.random.Generator) -> Batch:
    """Draw shaded paper, and heaps of discs of all sizes, whose edges are those of photos.

    Dead leaves: Lee, Mumford and Huang (2001), "Occlusion models for natural images".
    """
    n = len(digits)
    angle = uniform(rng, 0, 2 * np.pi, n)
    slope = np.cos(angle) * (AXIS[:, None] - 13.5) + np.sin(angle) * (AXIS[None, :] - 13.5)
    scene = uniform(rng, 0, 200, n) + uniform(rng, 0, 9, n) * slope
    leaves = int(rng.integers(0, 14))
    for _ in range(leaves):
        y, x = uniform(rng, -3, 31, n), uniform(rng, -3, 31, n)
        radius = 2 / np.sqrt(uniform(rng, 0.02, 1, n))
        wide = uniform(rng, 0.5, 2, n)
        inside = np.hypot(AXIS[:, None] - y, (AXIS[None, :] - x) * wide) < radius
        scene = np.where(inside, uniform(rng, 0, 255, n), scene)
    noise = rng.standard_normal(scene.shape, dtype=np.float32)
    return np.asarray(np.clip(scene + uniform(rng, 0, 25, n) * noise, 0, 255), np.float32)


def specks(digits: Pixels, rng: np.random.Generator) -> Batch:
    """Draw what the service's preparation leaves of textures and paper: specks, blots, shadows."""
    n = len(digits)
    field, _ = elastic_field(n, float(rng.uniform(0.5, 1.6)), rng)
    blots = np.clip(3 * (field - uniform(rng, 0.2, 1.8, n)), 0, 1)
    angle = uniform(rng, 0, 2 * np.pi, n)
    slope = np.cos(angle) * (AXIS[:, None] - 14) + np.sin(angle) * (AXIS[None, :] - 14)
    shadow = np.clip(slope / uniform(rng, 2, 14, n) + uniform(rng, -0.5, 0.5, n), 0, 1)
    grain = 1 + uniform(rng, 0, 0.5, n) * rng.standard_normal(field.shape, dtype=np.float32)
    made = np.where(rng.random((n, 1, 1)) < 0.7, blots, shadow * grain)
    half_y, half_x = uniform(rng, 3, 10.5, n), uniform(rng, 3, 10.5, n)
    y, x = np.abs(AXIS[:, None] - 13.5), np.abs(AXIS[None, :] - 13.5)
    inside = (y < half_y) & (x < half_x)
    return np.asarray(np.clip(255 * made * inside, 0, 255), np.float32)


def faces(digits: Pixels, rng: np.random.Generator) -> Batch:
    """Draw a face for each digit."""
    return draw_faces(len(digits), rng)


def walks(digits: Pixels, rng: np.random.Generator) -> Batch:
    """Draw the path of a wandering pen for each digit."""
    return draw_walks(len(digits), rng)


def polygons(digits: Pixels, rng: np.random.Generator) -> Batch:
    """Draw a polygon, a star, an arrow or an asterisk for each digit."""
    return draw_polygons(len(digits), rng)


def photographs(digits: Pixels, rng: np.random.Generator) -> Batch:
    """Draw what the service's preparation leaves of a picture, for each digit."""
    return draw_photographs(len(digits), rng)


# How often each kind is drawn.
KINDS = {
    letters: 0.11,
    written_letters: 0.15,
    scribbles: 0.09,
    overlays: 0.05,
    textures: 0.05,
    signs: 0.09,
    pairs: 0.05,
    frames: 0.05,
    scenes: 0.03,
    specks: 0.06,
    faces: 0.08,
    walks: 0.07,
    polygons: 0.06,
    photographs: 0.06,
}
