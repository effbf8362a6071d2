"""Pictures of arrays: grey, in diverging colours, in sheets of many tiles; as PNG files."""

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.floating]

# The ends of the diverging scale (ColorBrewer's RdBu): blue for what is negative, red for what is
# positive, white for 0. Both are dark enough on white, and told apart by the colour-blind.
NEGATIVE = np.array((33, 102, 172), np.float32)
POSITIVE = np.array((178, 24, 43), np.float32)


def to_png(pixels: NDArray[np.uint8], *, longest: int | None = None) -> bytes:
    """Write a picture as PNG.

    Args:
        pixels: uint8 `[H, W]`, grey, or `[H, W, 3]`.
        longest: Largest side; a larger picture is averaged down. None keeps its size.
    """
    image = Image.fromarray(pixels)
    if longest and max(image.size) > longest:
        image = image.reduce(-(-max(image.size) // longest))
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=4)
    return stream.getvalue()


def grey(values: Floats, low: Floats | float, high: Floats | float) -> NDArray[np.uint8]:
    """Map `low` to 0 and `high` to 255, linearly; all 0 where both are the same.

    Args:
        values: Any shape.
        low: A number, or what broadcasts to `values`.
        high: Likewise.
    """
    span = np.asarray(high, np.float32) - np.asarray(low, np.float32)
    scaled = (values - low) / np.where(span > 0, span, 1) * (span > 0)
    return np.asarray(np.rint(255 * np.clip(scaled, 0, 1)), np.uint8)


def diverging(values: Floats, limit: float) -> NDArray[np.uint8]:
    """Colour numbers by their sign and size, symmetric about 0.

    Args:
        values: `[H, W]`.
        limit: The size that gets the full colour.

    Returns:
        uint8 `[H, W, 3]`, white where 0.
    """
    share = np.clip(values / limit if limit > 0 else np.zeros_like(values), -1, 1)[..., None]
    end = np.where(share < 0, NEGATIVE, POSITIVE)
    return np.asarray(np.rint(255 + np.abs(share) * (end - 255)), np.uint8)


def sheet_columns(tiles: int) -> int:
    """Return how many tiles stand in a row of a sheet: the sheet is about square."""
    return max(1, math.ceil(math.sqrt(tiles)))


def sheet(tiles: NDArray[np.uint8], *, gap: int = 1, fill: int = 0) -> NDArray[np.uint8]:
    """Lay pictures out in rows, from the top left.

    Args:
        tiles: uint8 `[T, H, W]` or `[T, H, W, 3]`.
        gap: Pixels between tiles; none around the sheet.
        fill: Value of the gaps and of places without a tile.

    Returns:
        uint8 `[rows (H + gap) - gap, columns (W + gap) - gap]`, with 3 colours if the tiles have.
    """
    count, height, width = tiles.shape[:3]
    columns = sheet_columns(count)
    rows = -(-count // columns)
    size = (rows * (height + gap) - gap, columns * (width + gap) - gap, *tiles.shape[3:])
    out = np.full(size, fill, np.uint8)
    for at, tile in enumerate(tiles):
        row, column = divmod(at, columns)
        top, left = row * (height + gap), column * (width + gap)
        out[top : top + height, left : left + width] = tile
    return out


def enlarge(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Repeat every pixel `factor` times along both axes."""
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)
