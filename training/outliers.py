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
from training.resample import Batch, elastic_field
from training.strokes import draw_segments

# Without the look-alikes of digits (O o Q D I l i j J Z z S s B b q g G T t Y y h r v V U L).
GLYPHS = "AEFHKMNPRWXaefkmnpuwx&@#%?+*=$€~<>^:;"
FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSans-Oblique.ttf")
GEOMETRY = Augmentation(
    rotation_deg=15, shift_px=2, scale=0.15, shear_deg=10, elastic_px=1.2, thickness=0.3
)


def outliers(digits: NDArray[np.uint8], rng: np.random.Generator) -> Batch:
    """Draw one non-digit for each digit; overlays are made of the digits themselves.

    Args:
        digits: uint8 `[N, 28, 28]`.
        rng: The source of every random choice.

    Returns:
        float32 `[N, 28, 28]`, 0..255: letters, scribbles, overlaid digits and textures.
    """
    n = len(digits)
    kinds = rng.choice(4, size=n, p=[0.4, 0.3, 0.15, 0.15])
    made = np.zeros((n, 28, 28), np.float32)
    for kind, make in enumerate((letters, scribbles, None, textures)):
        rows = np.flatnonzero(kinds == kind)
        if not len(rows):
            continue
        made[rows] = make(len(rows), rng) if make else overlays(digits[rows], rng)
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


def letters(n: int, rng: np.random.Generator) -> Batch:
    """Draw `n` letters and signs with the digits' augmentation."""
    sheet = _glyph_sheet()
    return augment(sheet[rng.integers(len(sheet), size=n)], GEOMETRY, rng)


def scribbles(n: int, rng: np.random.Generator) -> Batch:
    """Draw `n` scribbles of four to seven quadratic curves; fewer could form a digit."""
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


def overlays(digits: NDArray[np.uint8], rng: np.random.Generator) -> Batch:
    """Draw each digit over another one that is rotated by 90 degrees."""
    one = augment(digits, GEOMETRY, rng)
    other = augment(np.rot90(digits[rng.permutation(len(digits))], axes=(1, 2)), GEOMETRY, rng)
    return np.maximum(one, other)


def textures(n: int, rng: np.random.Generator) -> Batch:
    """Draw `n` textures: smooth noise, gratings and white noise."""
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
