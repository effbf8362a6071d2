"""The results of the Python API as PNG files.

Knows arrays and results; knows nothing of models.
"""

import io
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from app.boxes import Box
from app.errors import InvalidInputError, NotFoundError
from app.inspection.activations import Scale, make_sheet
from app.inspection.weights import draw_weights
from app.render import PNG_COMPRESSION, diverging, enlarge, to_png
from app.verdict import Verdict

if TYPE_CHECKING:
    from app.api.layers import Layer, Unit
    from app.api.results import Page

MAX_SIDE = 800  # pixels of the picture of a page or of weights
SHOWN_SIDE = 256  # pixels of the picture of weights in a notebook, which keeps all pictures
MIN_SIDE = 320  # pixels to which the sheet of a small layer is enlarged
LABEL_SIZE = 16  # pixels of the text above a box
JPEG_QUALITY = 80  # of the picture of a page, 1 to 95
DIGIT_SCALE = 5  # pixels for each pixel of a 28x28
MAP_SCALE = 10  # pixels for each pixel of a map
VERDICT_COLOURS: dict[Verdict, str] = {
    "digit": "#1b7837",
    "unsure": "#e08214",
    "not-a-digit": "#888888",
}
FRAME_COLOUR = "#e08214"


class Shown:
    """A result that shows itself as a picture where HTML is not shown."""

    def png(self) -> bytes:
        """Return the picture as a PNG file."""
        raise NotImplementedError

    def _repr_png_(self) -> bytes | None:
        return self.png()


def digit_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a 28x28, uint8 `[28, 28]`, enlarged."""
    return to_png(enlarge(pixels, DIGIT_SCALE))


def map_png(values: NDArray[np.float32]) -> bytes:
    """Return a map `[28, 28]`: red is positive, blue negative, white 0."""
    return to_png(enlarge(diverging(values, float(np.abs(values).max())), MAP_SCALE))


def sheet_png(values: NDArray[np.float32], scale: Scale = "layer") -> bytes:
    """Return the sheet of a layer's channels; that of a small layer is enlarged.

    Raises:
        InvalidInputError: The scale is neither `layer` nor `channel`.
    """
    if scale not in get_args(Scale):
        raise InvalidInputError(
            f"There is no scale {scale!r}; choose one of {', '.join(get_args(Scale))}."
        )
    pixels = make_sheet(values, scale).pixels
    return to_png(enlarge(pixels, max(1, MIN_SIDE // max(pixels.shape))))


def weights_png(layer: "Layer", name: str | None = None, *, max_side: int = MAX_SIDE) -> bytes:
    """Return a picture of a layer's weights: red is positive, blue negative, white 0.

    Args:
        layer: The layer.
        name: Which weights; None for the kernel, or the first ones of a layer without a kernel.
        max_side: Largest height and width; a larger picture is reduced.

    Raises:
        NotFoundError: The layer has no weights of this name, or none at all.
    """
    if name is None and layer.weights:
        name = "kernel" if "kernel" in layer.weights else next(iter(layer.weights))
    if not isinstance(name, str) or name not in layer.weights:
        names = ", ".join(layer.weights)
        raise NotFoundError(
            f"The layer {layer.name!r} ({layer.type}) has no weights"
            + (f" {name!r}; it has {names}." if names else "."),
            valid=list(layer.weights),
        )
    return to_png(draw_weights(layer.weights[name]), max_side=max_side)


def page_picture(page: "Page", file_format: Literal["PNG", "JPEG"]) -> bytes:
    """Return the image of a page with a box around each digit, in its verdict's colour.

    As JPEG, a photo takes a tenth of its size as PNG.
    """
    pixels = enlarge(page.picture, max(1, MAX_SIDE // max(page.picture.shape)))
    picture = Image.fromarray(pixels).convert("RGB")
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    draw = ImageDraw.Draw(picture)
    scale, font = picture.width / page.input.width, ImageFont.load_default(LABEL_SIZE)
    for digit in page.digits:
        colour = VERDICT_COLOURS[digit.verdict]
        _frame(draw, digit.box, scale, colour)
        label = "?" if digit.verdict == "not-a-digit" else digit.label
        place = round(scale * digit.box.x), max(LABEL_SIZE, round(scale * digit.box.y))
        draw.text(place, label, colour, font, anchor="ls", stroke_width=2, stroke_fill="white")
    return _to_file(picture, file_format)


def unit_png(unit: "Unit") -> bytes:
    """Return the 28x28 with a frame around what a unit sees, enlarged."""
    picture = Image.fromarray(enlarge(unit.prediction.pixels, MAP_SCALE)).convert("RGB")
    if unit.image:
        _frame(ImageDraw.Draw(picture), unit.image, MAP_SCALE, FRAME_COLOUR)
    return _to_file(picture, "PNG")


def _frame(draw: ImageDraw.ImageDraw, box: Box[int], scale: float, colour: str) -> None:
    """Draw the outline of a box whose numbers are multiplied by `scale`."""
    edges = [scale * box.x, scale * box.y, scale * box.right - 1, scale * box.bottom - 1]
    left, top, right, bottom = map(round, edges)
    draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=2)


def _to_file(picture: Image.Image, file_format: Literal["PNG", "JPEG"]) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, file_format, compress_level=PNG_COMPRESSION, quality=JPEG_QUALITY)
    return stream.getvalue()
