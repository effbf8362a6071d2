"""Draw arrays as grey pictures, pictures in diverging colours and sheets of tiles; write PNG."""

import base64
import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.floating]

# Ends of the diverging scale, from ColorBrewer's RdBu: blue is negative, red positive, white 0.
# Colour-blind readers can tell them apart, and both are dark enough to be seen on white.
NEGATIVE_COLOUR = np.array((33, 102, 172), np.float32)
POSITIVE_COLOUR = np.array((178, 24, 43), np.float32)
PNG_COMPRESSION = 4  # zlib level, 0 to 9


def to_png(pixels: NDArray[np.uint8], *, max_side: int | None = None) -> bytes:
    """Return a picture as a PNG file.

    Args:
        pixels: Grey, uint8 `[H, W]`, or RGB, uint8 `[H, W, 3]`.
        max_side: Largest height and width; a larger picture is reduced by averaging. None keeps
            the size.
    """
    image = Image.fromarray(pixels)
    if max_side and max(image.size) > max_side:
        image = image.reduce(-(-max(image.size) // max_side))
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=PNG_COMPRESSION)
    return stream.getvalue()


def png_base64(pixels: NDArray[np.uint8], *, max_side: int | None = None) -> str:
    """Return a picture as a PNG file in base64; arguments as for `to_png`."""
    return base64.b64encode(to_png(pixels, max_side=max_side)).decode("ascii")


def grey(values: Floats, low: Floats | float, high: Floats | float) -> NDArray[np.uint8]:
    """Map `low` to 0 and `high` to 255, linearly; values outside are clipped.

    Args:
        values: Any shape.
        low: A number, or an array that broadcasts to `values`.
        high: A number, or an array that broadcasts to `values`.

    Returns:
        Grey levels in the shape of `values`; 0 where `low` equals `high`.
    """
    # Halves, because the difference of two float32 numbers may exceed the range of float32.
    start = np.asarray(low, np.float32) / 2
    span = np.asarray(high, np.float32) / 2 - start
    scaled = (values / 2 - start) / np.where(span > 0, span, 1) * (span > 0)
    return np.asarray(np.rint(255 * np.clip(scaled, 0, 1)), np.uint8)


def diverging(values: Floats, limit: float) -> NDArray[np.uint8]:
    """Colour numbers by sign and magnitude: blue is negative, red positive, white 0.

    Args:
        values: `[H, W]`.
        limit: The magnitude that gets the full colour; larger ones are clipped.

    Returns:
        uint8 `[H, W, 3]`.
    """
    strength = np.clip(values / limit if limit > 0 else np.zeros_like(values), -1, 1)[..., None]
    end = np.where(strength < 0, NEGATIVE_COLOUR, POSITIVE_COLOUR)
    return np.asarray(np.rint(255 + np.abs(strength) * (end - 255)), np.uint8)


def sheet_columns(tiles: int) -> int:
    """Return the number of tiles in a row that makes a sheet about square."""
    return max(1, math.ceil(math.sqrt(tiles)))


def sheet(tiles: NDArray[np.uint8], *, gap: int = 1, fill: int = 0) -> NDArray[np.uint8]:
    """Lay tiles out in rows of `sheet_columns`, from the top left.

    Args:
        tiles: uint8 `[T, H, W]` or `[T, H, W, 3]`.
        gap: Pixels between tiles; there is no border around the sheet.
        fill: Grey level of the gaps and of positions without a tile.

    Returns:
        uint8 `[rows (H + gap) - gap, columns (W + gap) - gap]`, with a last axis of 3 if the tiles
        have one.
    """
    count, height, width = tiles.shape[:3]
    columns = sheet_columns(count)
    rows = -(-count // columns)
    size = (rows * (height + gap) - gap, columns * (width + gap) - gap, *tiles.shape[3:])
    out = np.full(size, fill, np.uint8)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        top, left = row * (height + gap), column * (width + gap)
        out[top : top + height, left : left + width] = tile
    return out


def enlarge(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Repeat every pixel `factor` times along both axes."""
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)
