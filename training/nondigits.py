"""Images that are not digits, of kinds that training does not show, to test the verdict.

The training's own outliers (`training.outliers`) are letters and signs of the DejaVu fonts, tangles
of curves, overlaid digits and textures. These are much the same Latin letters in other fonts, Greek
ones, shapes, faces, random walks and textures with the spectrum of natural images.
"""

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

FONTS = ("STIXGeneral.ttf", "STIXGeneralBol.ttf", "cmr10.ttf", "cmtt10.ttf")
LATIN = "AEFHKMNPRWXaefhkmnpruwx"
GREEK = "ΓΔΘΛΞΠΣΦΨΩαβγδεζηθλμξπφψω"


def _png(pixels: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def _glyph(characters: str, fonts: tuple[str, ...], rng: np.random.Generator) -> bytes:
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    font = ImageFont.truetype(str(folder / fonts[rng.integers(len(fonts))]), 110)
    page = Image.new("L", (200, 200), 255)
    glyph = characters[rng.integers(len(characters))]
    ImageDraw.Draw(page).text((60, 30), glyph, fill=0, font=font)
    turned = page.rotate(float(rng.uniform(-10, 10)), fillcolor=255)
    return _png(np.asarray(turned))


def latin_letters(rng: np.random.Generator) -> bytes:
    """Latin letters that do not look like digits, in fonts that training has not shown."""
    return _glyph(LATIN, FONTS, rng)


def greek_letters(rng: np.random.Generator) -> bytes:
    """Greek letters, which training has not shown at all."""
    return _glyph(GREEK, FONTS[:2], rng)


def shapes(rng: np.random.Generator) -> bytes:
    """Stars, triangles, squares, arrows and crosses, drawn with a thick pen."""
    page = Image.new("L", (200, 200), 255)
    pen = ImageDraw.Draw(page)
    corners = int(rng.integers(3, 8))
    angles = np.arange(corners) * 2 * np.pi / corners + rng.uniform(0, 2)
    step = 2 if corners >= 5 and rng.random() < 0.5 else 1  # a star
    points = [
        (
            100 + 70 * np.cos(angles[k * step % corners]),
            100 + 70 * np.sin(angles[k * step % corners]),
        )
        for k in range(corners + 1)
    ]
    pen.line(points, fill=0, width=int(rng.integers(5, 18)), joint="curve")
    return _png(np.asarray(page))


def faces(rng: np.random.Generator) -> bytes:
    """Drawn faces: a circle with eyes and a mouth."""
    page = Image.new("L", (200, 200), 255)
    pen, width = ImageDraw.Draw(page), int(rng.integers(4, 10))
    pen.ellipse((30, 25, 170, 175), outline=0, width=width)
    for x in (75, 125):
        pen.ellipse((x - 9, 75, x + 9, 93), fill=0)
    start = 20 if rng.random() < 0.6 else 200
    pen.arc((65, 95, 135, 150), start, start + 140, fill=0, width=width)
    return _png(np.asarray(page))


def random_walks(rng: np.random.Generator) -> bytes:
    """A pen that wanders: a smooth random walk."""
    steps = ndimage.gaussian_filter1d(rng.normal(0, 1, (400, 2)), 8, axis=0)
    path = np.cumsum(steps, axis=0)
    path = 30 + 140 * (path - path.min(0)) / np.ptp(path, axis=0)
    page = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(page).line([tuple(p) for p in path], fill=0, width=int(rng.integers(4, 12)))
    return _png(np.asarray(page))


def natural_textures(rng: np.random.Generator) -> bytes:
    """Noise with the 1/f spectrum of natural images (Field, 1987)."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    spectrum = np.fft.fft2(rng.normal(0, 1, (128, 128))) / np.maximum(frequency, 1 / 128)
    picture = np.fft.ifft2(spectrum).real
    return _png(255 * (picture - picture.min()) / np.ptp(picture))


NONDIGITS: dict[str, Callable[[np.random.Generator], bytes]] = {
    made.__name__.replace("_", " "): made
    for made in (latin_letters, greek_letters, shapes, faces, random_walks, natural_textures)
}
