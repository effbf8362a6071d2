"""Draw pages of digits as people photograph them: turned, creased, stained, with signs.

Other pages of digits are in `samples.py`, forms in `form_samples.py`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from tests.imaging.samples import Pixels, Sheet, Values, enlarge, smooth_noise, tight

Labelled = tuple[int, Pixels]  # a digit and its 28x28 image, uint8
Boxes = tuple[tuple[int, int, int, int], ...]
# Strokes of signs in a cell of height 1, from the baseline (y 1) up: lists of points (x, y).
SIGNS: dict[str, tuple[list[tuple[float, float]], ...]] = {
    "-": ([(0, 0.55), (0.45, 0.52)],),
    "+": ([(0, 0.55), (0.5, 0.55)], [(0.25, 0.28), (0.25, 0.82)]),
    "=": ([(0, 0.42), (0.5, 0.4)], [(0, 0.68), (0.5, 0.66)]),
    "x": ([(0, 0.45), (0.45, 1)], [(0.45, 0.45), (0, 1)]),
    "*": ([(0, 0.3), (0.4, 0.7)], [(0.4, 0.3), (0, 0.7)], [(0.2, 0.22), (0.2, 0.78)]),
    ".": ([(0, 0.97), (0.03, 0.98)],),
    ",": ([(0.08, 0.92), (0.07, 1.05), (0, 1.15)],),
    ":": ([(0, 0.4), (0.03, 0.41)], [(0, 0.9), (0.03, 0.91)]),
    "(": ([(0.2, -0.05), (0.06, 0.2), (0, 0.5), (0.06, 0.8), (0.2, 1.05)],),
    ")": ([(0, -0.05), (0.14, 0.2), (0.2, 0.5), (0.14, 0.8), (0, 1.05)],),
    "/": ([(0.5, -0.05), (0, 1.05)],),
    "#": (
        [(0.2, 0.05), (0.12, 0.95)],
        [(0.48, 0.05), (0.4, 0.95)],
        [(0, 0.35), (0.6, 0.33)],
        [(0, 0.66), (0.6, 0.64)],
    ),
}


def _digit(image: Pixels, height: int) -> Values:
    ink = tight(enlarge(image, round(height * 1.4)))
    width = max(3, round(ink.shape[1] * height / ink.shape[0]))
    grey = Image.fromarray(np.round(255 * ink).astype(np.uint8))
    return np.asarray(grey.resize((width, height), Image.Resampling.BILINEAR), np.float32) / 255


def _sign(sign: str, height: int, pen: float) -> tuple[Values, int]:
    """Return the ink of a sign, 0..1, and the row of its cell's top."""
    strokes = [[(x * height, y * height) for x, y in stroke] for stroke in SIGNS[sign]]
    margin, fine = round(0.25 * height) + 4, 4
    width = round(max(x for stroke in strokes for x, _ in stroke)) + 2 * margin
    picture = Image.new("L", (width * fine, (height + 2 * margin) * fine))
    draw = ImageDraw.Draw(picture)
    for stroke in strokes:
        points = [((x + margin) * fine, (y + margin) * fine) for x, y in stroke]
        draw.line(points, fill=255, width=max(1, round(pen * fine)), joint="curve")
        for x, y in points:
            r = pen * fine / 2
            draw.ellipse((x - r, y - r, x + r, y + r), fill=255)
    small = picture.resize((width, height + 2 * margin), Image.Resampling.BOX)
    ink = np.asarray(small, np.float32) / 255
    columns = np.flatnonzero(ink.max(0) > 0)
    return ink[:, columns[0] : columns[-1] + 1], margin


def expression(text: str, digits: dict[str, Pixels], rng: np.random.Generator) -> Sheet:
    """Write digits and signs in one line on white paper.

    Args:
        text: What is written; signs are keys of `SIGNS`.
        digits: A 28x28 image for each digit of the text.
        rng: The source of every choice.
    """
    height = int(rng.integers(36, 80))
    pen, margin = height * rng.uniform(0.07, 0.13), 2 * height
    cover = np.zeros((height + 2 * margin, 2 * margin + 2 * height * len(text)), np.float32)
    left, boxes, line = margin, list[tuple[int, int, int, int]](), ""
    for at in text:
        if at in SIGNS:
            ink, above = _sign(at, height, pen)
            top = margin - above
        else:
            ink = _digit(digits[at], round(height * rng.uniform(0.85, 1)))
            top = margin + height - len(ink)
        view = cover[top : top + len(ink), left : left + ink.shape[1]]
        np.maximum(view, ink, out=view)
        boxes.append((left, top, ink.shape[1], len(ink)))
        line += "?" if at in SIGNS else at
        left += ink.shape[1] + round(height * rng.uniform(0.12, 0.3))
    return Sheet(_photographed(_on_paper(cover[:, : left + margin], rng), rng), line, tuple(boxes))


class _Writing:
    """Digits in lines on a page: their ink, 0..1, their text and their height in pixels."""

    def __init__(self, digits: list[Labelled], rng: np.random.Generator) -> None:
        self.rng = rng
        self.height = int(rng.integers(34, 66))
        per_line = int(rng.integers(3, 6))
        lines = [digits[at : at + per_line] for at in range(0, len(digits), per_line)]
        pitch, step = round(self.height * rng.uniform(1.6, 2.3)), rng.uniform(1, 2)
        margin = round(self.height * rng.uniform(1.6, 2.5))
        width = 2 * margin + round(self.height * step * per_line)
        self.cover = np.zeros((2 * margin + pitch * len(lines), width), np.float32)
        boxes = []
        for row, line in enumerate(lines):
            for column, (_, image) in enumerate(line):
                ink = _digit(image, round(self.height * rng.uniform(0.8, 1)))
                left = margin + round(self.height * (step * column + rng.uniform(0, 0.15)))
                top = margin + pitch * row + self.height - len(ink)
                view = self.cover[top : top + len(ink), left : left + ink.shape[1]]
                np.maximum(view, ink[:, : view.shape[1]], out=view)
                boxes.append((left, top, ink.shape[1], len(ink)))
        self.boxes = tuple(boxes)
        self.text = "\n".join("".join(str(label) for label, _ in line) for line in lines)

    @property
    def shape(self) -> tuple[int, int]:
        """Return height and width of the page."""
        height, width = self.cover.shape
        return height, width

    def near(self, distance: float) -> NDArray[np.bool_]:
        """Return the pixels within so many digit heights of a digit."""
        near, reach = np.zeros(self.shape, bool), round(distance * self.height)
        for left, top, width, height in self.boxes:
            rows = slice(max(0, top - reach), top + height + reach)
            near[rows, max(0, left - reach) : left + width + reach] = True
        return near


def _on_paper(cover: Values, rng: np.random.Generator) -> Values:
    paper = rng.uniform(205, 250) + 1.5 * smooth_noise(cover.shape, 30, rng)
    return np.asarray(paper - (paper - rng.uniform(15, 80)) * cover, np.float32)


def _photographed(grey: Values, rng: np.random.Generator) -> Pixels:
    """Blur a little and add noise."""
    picture = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    blurred = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.1)))
    noisy = np.asarray(blurred, np.float32) + rng.normal(0, rng.uniform(0, 4), grey.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _sheet(writing: _Writing, grey: Values) -> Sheet:
    return Sheet(_photographed(grey, writing.rng), writing.text, writing.boxes)


def _xy(shape: tuple[int, int]) -> tuple[Values, Values]:
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    return x, y


def clean(digits: list[Labelled], rng: np.random.Generator) -> Sheet:
    """Nothing but digits."""
    writing = _Writing(digits, rng)
    return _sheet(writing, _on_paper(writing.cover, rng))


def turned(digits: list[Labelled], rng: np.random.Generator, angle: float | None = None) -> Sheet:
    """A page turned by up to 12 degrees; on some sides the table shows."""
    writing = _Writing(digits, rng)
    grey = _on_paper(writing.cover, rng)
    desk = float(rng.uniform(30, 150))
    height, width = grey.shape
    pad = round(0.35 * max(height, width))
    scene = np.pad(grey, pad, constant_values=np.nan)
    ground = desk + 4 * smooth_noise(scene.shape, 20, rng)
    scene = np.where(np.isnan(scene), ground, scene).astype(np.float32)
    degrees = float(rng.uniform(-12, 12)) if angle is None else angle
    turn = Image.fromarray(scene).rotate(degrees, Image.Resampling.BICUBIC, fillcolor=desk)
    # Each side of the view lies between the middle of the page's margin and beyond the page.
    sides = [round(pad + rng.uniform(-0.05, 0.12) * min(height, width)) for _ in range(4)]
    top, bottom, left, right = (
        max(0, pad - side + pad) if rng.random() < 0.5 else side for side in sides
    )
    view = np.asarray(turn)[top : turn.height - bottom, left : turn.width - right]
    return _sheet(writing, view)


def turned_whole(digits: list[Labelled], rng: np.random.Generator) -> Sheet:
    """A page turned by up to 12 degrees that lies on a table."""
    writing = _Writing(digits, rng)
    grey = _on_paper(writing.cover, rng)
    desk, pad = float(rng.uniform(30, 150)), round(0.3 * max(grey.shape))
    scene = np.pad(grey, pad, constant_values=desk)
    turn = Image.fromarray(scene).rotate(
        float(rng.uniform(-12, 12)), Image.Resampling.BICUBIC, fillcolor=desk
    )
    return _sheet(writing, np.asarray(turn))


def turned_plain(digits: list[Labelled], rng: np.random.Generator) -> Sheet:
    """A page turned by up to 12 degrees that fills the picture."""
    writing = _Writing(digits, rng)
    grey, paper = _on_paper(writing.cover, rng), 255.0
    paper = float(np.median(grey))
    scene = np.pad(grey, round(0.15 * max(grey.shape)), constant_values=paper)
    turn = Image.fromarray(scene).rotate(
        float(rng.uniform(-12, 12)), Image.Resampling.BICUBIC, fillcolor=paper
    )
    return _sheet(writing, np.asarray(turn))


def cracks(digits: list[Labelled], rng: np.random.Generator) -> Sheet:
    """Thin dark irregular lines, most of them beside the digits."""
    writing = _Writing(digits, rng)
    height, width = writing.shape
    fine = 3
    picture = Image.new("L", (width * fine, height * fine))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(2, 6))):
        at = rng.uniform(0, 1, 2) * (width, height) * fine
        heading, thick = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 2.2) * fine
        for _ in range(int(rng.integers(8, 60))):
            heading += rng.normal(0, 0.35)
            step = rng.uniform(4, 14) * fine
            to = at + step * np.array([np.cos(heading), np.sin(heading)])
            draw.line([tuple(at), tuple(to)], fill=255, width=max(1, round(thick)))
            at = to
    crack = np.asarray(picture.resize((width, height), Image.Resampling.BOX), np.float32) / 255
    if rng.random() < 0.7:
        crack = np.where(writing.near(0.2), 0, crack)
    grey = _on_paper(writing.cover, rng)
    return _sheet(writing, grey * (1 - rng.uniform(0.3, 0.85) * crack))


def border_shadow(digits: list[Labelled], rng: np.random.Generator) -> Sheet:
    """A dark band along one or two borders."""
    writing = _Writing(digits, rng)
    x, y = _xy(writing.shape)
    height, width = writing.shape
    light = np.ones(writing.shape, np.float32)
    distances = [x, y, width - 1 - x, height - 1 - y]
    for side in rng.permutation(4)[: int(rng.integers(1, 3))]:
        wide, soft = rng.uniform(0.2, 1.2) * writing.height, rng.uniform(1, 15)
        tilt = rng.uniform(-0.03, 0.03) * (y if side % 2 == 0 else x)
        wave = 3 * smooth_noise(writing.shape, 6, rng)
        edge = (distances[side] + tilt + wave - wide) / soft
        light *= 1 - rng.uniform(0.25, 0.8) / (1 + np.exp(np.clip(edge, -30, 30)))
    return _sheet(writing, _on_paper(writing.cover, rng) * light)


def shadow(digits: list[Labelled], rng: np.random.Generator) -> Sheet:
    """The shadow of a hand or a phone over a part of the page and its digits."""
    writing = _Writing(digits, rng)
    x, y = _xy(writing.shape)
    height, width = writing.shape
    turn = rng.uniform(0, 2 * np.pi)
    middle = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height
    far = (x - middle[0]) * np.cos(turn) + (y - middle[1]) * np.sin(turn)
    far = far + 4 * smooth_noise(writing.shape, 5, rng)
    light = 1 - rng.uniform(0.2, 0.65) / (1 + np.exp(np.clip(far / rng.uniform(1, 12), -30, 30)))
    return _sheet(writing, _on_paper(writing.cover, rng) * light)


def vignette(digits: list[Labelled], rng: np.random.Generator) -> Sheet:
    """Darker towards the corners."""
    writing = _Writing(digits, rng)
    x, y = _xy(writing.shape)
    height, width = writing.shape
    radius = np.hypot((x / width - 0.5) * 2, (y / height - 0.5) * 2) / np.sqrt(2)
    light = 1 - rng.uniform(0.4, 0.95) * radius ** rng.uniform(2, 5)
    return _sheet(writing, _on_paper(writing.cover, rng) * light)


def dark_corners(digits: list[Labelled], rng: np.random.Generator) -> Sheet:
    """Corners that are folded or not on the paper."""
    writing = _Writing(digits, rng)
    x, y = _xy(writing.shape)
    height, width = writing.shape
    grey = _on_paper(writing.cover, rng)
    for corner in rng.permutation(4)[: int(rng.integers(1, 5))]:
        across = x if corner % 2 else width - 1 - x
        down = y if corner // 2 else height - 1 - y
        a, b = rng.uniform(0.5, 2, 2) * writing.height
        round_or_straight = rng.choice([1.0, 2.0, 0.7])
        inside = (across / a) ** round_or_straight + (down / b) ** round_or_straight
        soft = rng.uniform(0.01, 0.15)
        share = 1 / (1 + np.exp(np.clip((inside - 1) / soft, -30, 30)))
        grey = grey * (1 - share) + rng.uniform(10, 140) * share
    return _sheet(writing, grey)


def creases(digits: list[Labelled], rng: np.random.Generator) -> Sheet:
    """One to three folds: a dark or a dark and a light line, the paper darker on one side."""
    writing = _Writing(digits, rng)
    x, y = _xy(writing.shape)
    height, width = writing.shape
    change = np.zeros(writing.shape, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        angle = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.12)
        middle = rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height
        far = (x - middle[0]) * np.sin(angle) - (y - middle[1]) * np.cos(angle)
        far = far + 1.5 * smooth_noise(writing.shape, 12, rng)
        wide = rng.uniform(0.8, 3)
        change -= rng.uniform(20, 80) * np.exp(-((far / wide) ** 2) / 2)
        if rng.random() < 0.5:
            change += rng.uniform(5, 30) * np.exp(-(((far - 2.5 * wide) / wide) ** 2) / 2)
        change -= rng.uniform(0, 25) * (far > 0) * np.exp(-np.abs(far) / rng.uniform(30, 300))
    change = np.where(writing.near(0.05) & (rng.random() < 0.5), 0, change)
    return _sheet(writing, _on_paper(writing.cover, rng) + change)


def holes(digits: list[Labelled], rng: np.random.Generator) -> Sheet:
    """Two to four punched holes along a side."""
    writing = _Writing(digits, rng)
    x, y = _xy(writing.shape)
    height, width = writing.shape
    grey = _on_paper(writing.cover, rng)
    radius, level = rng.uniform(0.2, 0.5) * writing.height, rng.uniform(20, 150)
    inset, count = rng.uniform(0.6, 0.9) * writing.height, int(rng.integers(2, 5))
    along_left = rng.random() < 0.6
    for at in np.linspace(0.15, 0.85, count):
        middle = (inset, at * height) if along_left else (at * width, inset)
        far = np.hypot(x - middle[0], y - middle[1]) - radius
        share = 1 / (1 + np.exp(np.clip(far / 0.7, -30, 30)))
        grey = grey * (1 - share) + level * share
        grey -= rng.uniform(0, 40) * np.exp(-((far / 2.5) ** 2))
    return _sheet(writing, grey)


def stains(digits: list[Labelled], rng: np.random.Generator) -> Sheet:
    """One or two coffee stains: a ring, often broken, and a paler disc."""
    writing = _Writing(digits, rng)
    x, y = _xy(writing.shape)
    height, width = writing.shape
    grey = _on_paper(writing.cover, rng)
    for _ in range(int(rng.integers(1, 3))):
        radius = rng.uniform(0.8, 3) * writing.height
        wave = radius * 0.04 * smooth_noise(writing.shape, 8, rng)
        far = np.hypot(x - rng.uniform(0, width), y - rng.uniform(0, height)) - radius + wave
        wide = rng.uniform(0.04, 0.12) * writing.height + 0.5
        broken = np.clip(0.7 + 0.5 * smooth_noise(writing.shape, 6, rng), 0, 1)
        grey -= rng.uniform(20, 80) * np.exp(-((far / wide) ** 2)) * broken
        grey -= rng.uniform(3, 25) / (1 + np.exp(np.clip(far / 2, -30, 30)))
    return _sheet(writing, grey)


PAGES: dict[str, Callable[[list[Labelled], np.random.Generator], Sheet]] = {
    made.__name__: made
    for made in (
        clean,
        turned,
        turned_whole,
        turned_plain,
        cracks,
        border_shadow,
        shadow,
        vignette,
        dark_corners,
        creases,
        holes,
        stains,
    )
}
