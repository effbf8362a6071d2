"""Ten digits of MNIST's training split, one of each class.

The page, the OpenAPI examples and the check of a loaded model use them.
"""

import io
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def sample_png(digit: int) -> bytes:
    """Return a 28x28 grey PNG of a handwritten `digit`, 0..9."""
    return (files(__name__) / f"{digit}.png").read_bytes()


@lru_cache(maxsize=1)
def sample_sheet_png() -> bytes:
    """Return a grey PNG of 280x28: the samples of the digits 0 to 9 next to each other."""
    stream = io.BytesIO()
    sheet = np.hstack([sample_pixels(digit) for digit in range(10)])
    Image.fromarray(sheet).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def sample_pixels(digit: int) -> NDArray[np.uint8]:
    """Return the pixels of a handwritten `digit`, 0..9: uint8 `[28, 28]`, 0..255, ink high."""
    with Image.open(io.BytesIO(sample_png(digit)), formats=("PNG",)) as image:
        return np.array(image)
