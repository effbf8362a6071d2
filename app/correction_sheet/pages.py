"""Reads files for a sheet: each page with a small picture and the 28x28 of each digit.

Knows images and models; knows nothing of HTML.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from app.boxes import Box
from app.errors import DigitscopeError
from app.group_reading import PageDigit
from app.image_files import read_image_file
from app.imaging.decode import Upload
from app.inference.model import Model
from app.page_reading import Page, read_page
from app.recognise import Options
from app.render import png_base64
from app.verdict import Verdict

DIGIT_HEIGHT = 40  # pixels of the middle digit in the picture of a page; it is never enlarged
MARGIN = 2.0  # heights of the middle digit around what was read, if the whole page is too large
# Pixels of the picture of a page: so many for each digit, within limits. About 0.1 byte each.
PIXELS_PER_DIGIT, MIN_PIXELS, MAX_PIXELS = 40_000, 160_000, 2_000_000
QUALITY = 60  # of a JPEG file
MAX_EXACT_SIDE = 64  # pixels; smaller pictures are kept as they are


@dataclass(frozen=True)
class SheetFile:
    """A file whose page is asked for."""

    path: Path


@dataclass(frozen=True)
class SheetDigit:
    """A mark on a page.

    Attributes:
        label: Name of the class; empty for a mark that was taken for no digit.
        verdict: `digit`, `unsure` or `not-a-digit`.
        confidence: Probability of the most probable class, 0..1.
        box: Its place in the picture of the page.
        pixels: The 28x28 that the network received, a PNG file in base64.
    """

    label: str
    verdict: Verdict
    confidence: float
    box: Box[float]
    pixels: str


@dataclass(frozen=True)
class SheetPage:
    """A page of a sheet.

    Attributes:
        path: The file.
        error: Why it could not be read; empty if it was.
        kind: `jpeg` or `png`.
        picture: The page, or the part of it with writing, in base64.
        width: Width of the picture.
        height: Height of the picture.
        lines: The marks, line by line.
        warnings: What may make the text wrong.
    """

    path: Path
    error: str = ""
    kind: str = "png"
    picture: str = ""
    width: int = 1
    height: int = 1
    lines: tuple[tuple[SheetDigit, ...], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def digits(self) -> list[SheetDigit]:
        """Return the marks in order."""
        return [digit for line in self.lines for digit in line]


def read_sheet_pages(
    files: Sequence[SheetFile], models: Sequence[Model], options: Options
) -> list[SheetPage]:
    """Read pages with the one model; a failure becomes the error of its page."""
    (model,) = models
    return [_read_sheet_page(file.path, model, options) for file in files]


def _read_sheet_page(path: Path, model: Model, options: Options) -> SheetPage:
    try:
        content = read_image_file(path, max_pixels=options.max_pixels)
        return _make_page(path, read_page(content, model, options))
    except DigitscopeError as error:
        return SheetPage(path, error=error.detail)


def _make_page(path: Path, page: Page) -> SheetPage:
    boxes = [read.box for line in page.lines for read in line]
    view, scale = _choose_view(page.upload, boxes)
    kind, picture, size = _picture(page.upload, view, scale)
    lines = tuple(
        tuple(_make_digit(read, view, scale) for read in line) for line in page.lines if line
    )
    return SheetPage(path, "", kind, picture, *size, lines, page.upload.warnings + page.warnings)


def _choose_view(upload: Upload, boxes: Sequence[Box[int]]) -> tuple[Box[int], float]:
    """Return the part of the upload that is shown, and how much smaller it is shown."""
    height = median(box.height for box in boxes)
    budget = min(max(len(boxes) * PIXELS_PER_DIGIT, MIN_PIXELS), MAX_PIXELS)
    scale = min(1.0, DIGIT_HEIGHT / height, 1 / upload.factor)
    view = Box(0, 0, upload.width, upload.height)
    if view.width * view.height * scale**2 > budget:
        margin = round(MARGIN * height)
        left = max(0, min(box.x for box in boxes) - margin)
        top = max(0, min(box.y for box in boxes) - margin)
        right = min(upload.width, max(box.right for box in boxes) + margin)
        bottom = min(upload.height, max(box.bottom for box in boxes) + margin)
        view = Box(left, top, right - left, bottom - top)
        scale = min(scale, (budget / (view.width * view.height)) ** 0.5)
    return view, scale


def _picture(upload: Upload, view: Box[int], scale: float) -> tuple[str, str, tuple[int, int]]:
    """Return a part of the upload in grey: its format, the file in base64, and its size."""
    factor = upload.factor
    image = Image.fromarray(_opaque(upload)).convert("L")
    part = (
        view.x // factor,
        view.y // factor,
        min(image.width, -(-view.right // factor)),
        min(image.height, -(-view.bottom // factor)),
    )
    size = max(1, round(view.width * scale)), max(1, round(view.height * scale))
    image = image.resize(size, Image.Resampling.BOX, part)
    stream, kind = io.BytesIO(), "png" if max(size) <= MAX_EXACT_SIDE else "jpeg"
    image.save(stream, kind, quality=QUALITY)
    return kind, base64.b64encode(stream.getvalue()).decode("ascii"), size


def _opaque(upload: Upload) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return the pixels on white, or on black if what is opaque is light."""
    if upload.alpha is None:
        return upload.pixels
    share = upload.alpha.astype(np.float32) / 255
    if upload.pixels.ndim == 3:
        share = share[:, :, None]
    ink = float(
        (upload.pixels * share).sum()
        / max(1.0, float(np.broadcast_to(share, upload.pixels.shape).sum()))
    )
    paper = 255 if ink < 128 else 0
    return (upload.pixels * share + paper * (1 - share)).astype(np.uint8)


def _make_digit(read: PageDigit, view: Box[int], scale: float) -> SheetDigit:
    box = Box(
        (read.box.x - view.x) * scale,
        (read.box.y - view.y) * scale,
        read.box.width * scale,
        read.box.height * scale,
    )
    label = "" if read.verdict == "not-a-digit" else read.label
    pixels = png_base64(read.pixels)
    return SheetDigit(label, read.verdict, read.confidence, box, pixels)
