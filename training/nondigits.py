"""Images that are not digits, to test the verdict; drawn by other code than training uses.

Training (`training.outliers`) shows letters in other fonts, and faces, polygons, random walks and
textures of its own. It shows no Greek letters, and none of the `UNSEEN_NONDIGITS`: houses, flowers
and stick figures.
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


def houses(rng: np.random.Generator) -> bytes:
    """Drawn houses: a box with a roof, a door and perhaps a window."""
    page = Image.new("L", (200, 200), 255)
    pen, width = ImageDraw.Draw(page), int(rng.integers(4, 10))
    left, eaves, top = (float(rng.integers(*range_)) for range_ in ((30, 60), (80, 110), (20, 50)))
    right, ground = float(rng.integers(140, 170)), float(rng.integers(155, 180))
    pen.line([(left, eaves), (left, ground), (right, ground), (right, eaves)], 0, width)
    roof = [(left - 12, eaves), ((left + right) / 2, top), (right + 12, eaves), (left - 12, eaves)]
    pen.line(roof, 0, width, joint="curve")
    door = float(rng.uniform(left + 12, right - 45))
    pen.line(
        [(door, ground), (door, ground - 42), (door + 25, ground - 42), (door + 25, ground)],
        0,
        width,
    )
    if rng.random() < 0.5 and door > left + 45:
        pen.rectangle((left + 12, eaves + 14, left + 34, eaves + 34), outline=0, width=width)
    return _png(np.asarray(page))


def flowers(rng: np.random.Generator) -> bytes:
    """Drawn flowers: a middle, petals, a stem and perhaps a leaf."""
    page = Image.new("L", (200, 200), 255)
    pen, width = ImageDraw.Draw(page), int(rng.integers(4, 9))
    petals, start, middle = int(rng.integers(5, 8)), rng.uniform(0, 6), float(rng.integers(10, 15))
    for angle in start + np.arange(petals) * 2 * np.pi / petals:
        x, y = float(100 + 28 * np.cos(angle)), float(62 + 28 * np.sin(angle))
        size = float(rng.integers(12, 17))
        pen.ellipse((x - size, y - size, x + size, y + size), outline=0, width=width)
    pen.ellipse((100 - middle, 62 - middle, 100 + middle, 62 + middle), fill=0)
    foot = float(rng.uniform(85, 115))
    pen.line([(100, 100), (foot, 190)], 0, width)
    if rng.random() < 0.6:
        pen.arc((foot - 5, 125, foot + 50, 170), 180, 300, fill=0, width=width)
    return _png(np.asarray(page))


def stick_figures(rng: np.random.Generator) -> bytes:
    """Drawn people: a round head, a line for the body, two arms and two legs."""
    page = Image.new("L", (200, 200), 255)
    pen, width = ImageDraw.Draw(page), int(rng.integers(4, 10))
    head, hip = float(rng.integers(16, 27)), float(rng.integers(115, 135))
    pen.ellipse((100 - head, 15, 100 + head, 15 + 2 * head), outline=0, width=width)
    neck = 15 + 2 * head
    pen.line([(100, neck), (100, hip)], 0, width)
    hands = [float(height) for height in rng.uniform(-30, 35, 2)]
    feet = [float(width) for width in rng.uniform(18, 45, 2)]
    shoulder = neck + 12
    pen.line([(55, shoulder + hands[0]), (100, shoulder), (145, shoulder + hands[1])], 0, width)
    pen.line([(100 - feet[0], 188), (100, hip), (100 + feet[1], 188)], 0, width)
    return _png(np.asarray(page))


NONDIGITS: dict[str, Callable[[np.random.Generator], bytes]] = {
    made.__name__.replace("_", " "): made
    for made in (latin_letters, greek_letters, shapes, faces, random_walks, natural_textures)
}
UNSEEN_NONDIGITS: dict[str, Callable[[np.random.Generator], bytes]] = {
    made.__name__.replace("_", " "): made for made in (houses, flowers, stick_figures)
}
