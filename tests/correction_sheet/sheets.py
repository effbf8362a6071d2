"""Sheets with chosen digits and verdicts, for tests that need no model."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from app.boxes import Box
from app.correction_sheet.document import SheetContext
from app.correction_sheet.pages import SheetDigit, SheetPage
from app.samples import sample_pixels
from app.verdict import Verdict

VERDICTS: dict[str, Verdict] = {"": "digit", "?": "unsure", "x": "not-a-digit"}
SIDE = 28


def _png(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def make_page(path: Path, *lines: str, warnings: tuple[str, ...] = ()) -> SheetPage:
    """Return a page of lines such as `3 7? 8x`: `?` makes a digit unsure, `x` none."""
    marks = [line.split() for line in lines]
    picture = np.zeros((SIDE * len(marks), SIDE * max(map(len, marks))), np.uint8)
    rows = list[tuple[SheetDigit, ...]]()
    for row, line in enumerate(marks):
        digits = list[SheetDigit]()
        for column, mark in enumerate(line):
            pixels, verdict = sample_pixels(int(mark[0])), VERDICTS[mark[1:]]
            box = Box[float](SIDE * column, SIDE * row, SIDE, SIDE)
            picture[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = pixels
            label = "" if verdict == "not-a-digit" else mark[0]
            digits.append(SheetDigit(label, verdict, 0.5, box, _png(pixels)))
        rows.append(tuple(digits))
    height, width = picture.shape
    return SheetPage(path, "", "png", _png(picture), width, height, tuple(rows), warnings)


def make_context(base: Path) -> SheetContext:
    """Return the context of a sheet of a model of digits."""
    return SheetContext("compact 7", "1.2.3", list("0123456789"), str(base))
