"""Draw forms filled in with digits: fields, combs, boxes, tables, and sheets on a desk."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tests.imaging.samples import Pixels, Sheet, enlarge, tight

Labelled = tuple[int, Pixels]  # a digit and its 28x28 image, uint8


def _ink(digit: Pixels, height: int, most_wide: int) -> NDArray[np.float32]:
    ink = tight(enlarge(digit, round(height * 1.4)))
    scale = min(height / ink.shape[0], most_wide / ink.shape[1])
    size = (max(2, round(ink.shape[1] * scale)), max(2, round(ink.shape[0] * scale)))
    return np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BOX), np.float32)


class _Form:
    """A white page on which walls and digits are drawn, and where the digits are."""

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        self.cover = np.zeros((height, width), np.float32)
        self.rng = rng
        self.darkness = float(rng.uniform(0.45, 1))  # of the walls
        self.thickness = int(rng.integers(1, 4))
        self.boxes: list[tuple[int, int, int, int]] = []

    def rectangle(self, left: int, top: int, right: int, bottom: int) -> None:
        """Draw a frame."""
        page = Image.fromarray(self.cover)
        box = (left, top, right, bottom)
        ImageDraw.Draw(page).rectangle(box, outline=self.darkness, width=self.thickness)
        self.cover = np.maximum(self.cover, np.asarray(page))

    def write(self, digit: Pixels, left: int, top: int, right: int, bottom: int) -> None:
        """Write a digit somewhere in a cell; sometimes it reaches a wall."""
        height, width = bottom - top, right - left
        ink = _ink(digit, round(height * self.rng.uniform(0.5, 0.75)), round(0.8 * width))
        shape = ink.shape
        y = top + int(self.rng.integers(1, max(2, height - shape[0])))
        x = left + int(self.rng.integers(1, max(2, width - shape[1])))
        view = self.cover[y : y + shape[0], x : x + shape[1]]
        np.maximum(view, ink[: view.shape[0], : view.shape[1]], out=view)
        self.boxes.append((x, y, shape[1], shape[0]))

    def sheet(self, text: str) -> Sheet:
        """Return the form as a picture."""
        noise = self.rng.normal(0, self.rng.uniform(0, 3), self.cover.shape)
        grey = 250 - 230 * self.cover + noise
        return Sheet(np.clip(grey, 0, 255).astype(np.uint8), text, tuple(self.boxes))


def field(digits: list[Labelled], rng: np.random.Generator) -> Sheet:
    """One frame around a row of digits."""
    cell = int(rng.integers(28, 90))
    margin = int(rng.integers(15, 60))
    width = round(cell * 0.8)
    form = _Form(2 * margin + width * len(digits) + cell, 2 * margin + cell, rng)
    form.rectangle(margin, margin, margin + width * len(digits) + cell, margin + cell)
    for at, (_, digit) in enumerate(digits):
        left = margin + cell // 2 + at * width
        form.write(digit, left, margin + 3, left + width, margin + cell - 3)
    return form.sheet("".join(str(label) for label, _ in digits))


def comb(digits: list[Labelled], rng: np.random.Generator) -> Sheet:
    """Cells side by side that share their walls."""
    return table(digits, rng, rows=1)


def table(digits: list[Labelled], rng: np.random.Generator, rows: int = 2) -> Sheet:
    """Cells in rows and columns that share their walls."""
    columns = len(digits) // rows
    cell, margin = int(rng.integers(28, 90)), int(rng.integers(15, 60))
    form = _Form(2 * margin + cell * columns, 2 * margin + cell * rows, rng)
    for at in range(rows * columns):
        left, top = margin + cell * (at % columns), margin + cell * (at // columns)
        form.rectangle(left, top, left + cell, top + cell)
    for at, (_, digit) in enumerate(digits[: rows * columns]):
        left, top = margin + cell * (at % columns), margin + cell * (at // columns)
        form.write(digit, left + 2, top + 2, left + cell - 2, top + cell - 2)
    text = "".join(str(label) for label, _ in digits[: rows * columns])
    return form.sheet("\n".join(text[at : at + columns] for at in range(0, len(text), columns)))


def boxes(digits: list[Labelled], rng: np.random.Generator) -> Sheet:
    """Cells with gaps between them."""
    cell, margin = int(rng.integers(28, 90)), int(rng.integers(15, 60))
    pitch = cell + max(4, round(cell * rng.uniform(0.1, 0.5)))
    form = _Form(2 * margin + pitch * len(digits), 2 * margin + cell, rng)
    for at, (_, digit) in enumerate(digits):
        left = margin + at * pitch
        form.rectangle(left, margin, left + cell, margin + cell)
        form.write(digit, left + 2, margin + 2, left + cell - 2, margin + cell - 2)
    return form.sheet("".join(str(label) for label, _ in digits))


def desk(digits: list[Labelled], rng: np.random.Generator) -> Sheet:
    """A sheet of paper, slightly turned, on a darker desk."""
    height = int(rng.integers(30, 70))
    width = round(height * 1.1)
    page_width, page_height = width * (len(digits) + 2), round(height * rng.uniform(2.5, 5))
    form = _Form(page_width, page_height, rng)
    top = (page_height - height) // 2
    for at, (_, digit) in enumerate(digits):
        left = width * (at + 1)
        form.write(digit, left, top, left + width, top + height)
    paper = form.sheet("".join(str(label) for label, _ in digits))
    around = int(rng.integers(40, 140))
    level = int(rng.integers(30, 130))
    page = Image.new("L", (page_width + 2 * around, page_height + 2 * around), level)
    sheet = Image.new("L", page.size, 0)
    sheet.paste(Image.fromarray(paper.image), (around, around))
    mask = Image.new("L", page.size, 0)
    mask.paste(255, (around, around, around + page_width, around + page_height))
    angle = float(rng.uniform(-5, 5))
    turned = sheet.rotate(angle, Image.Resampling.BICUBIC)
    page.paste(turned, (0, 0), mask.rotate(angle, Image.Resampling.BICUBIC))
    noisy = np.asarray(page, np.float32) + rng.normal(0, 2, (page.height, page.width))
    return Sheet(np.clip(noisy, 0, 255).astype(np.uint8), paper.text, paper.boxes)


FORMS: dict[str, Callable[[list[Labelled], np.random.Generator], Sheet]] = {
    made.__name__: made for made in (field, comb, table, boxes, desk)
}
