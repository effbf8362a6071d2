"""Pictures of arrays, as PNG files."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def to_png(pixels: NDArray[np.uint8], *, longest: int | None = None) -> bytes:
    """Write a grey picture as PNG.

    Args:
        pixels: uint8 `[H, W]`.
        longest: Largest side; a larger picture is averaged down. None keeps its size.
    """
    image = Image.fromarray(pixels)
    if longest and max(image.size) > longest:
        image = image.reduce(-(-max(image.size) // longest))
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=4)
    return stream.getvalue()
