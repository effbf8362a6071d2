"""Convert every colour mode of Pillow to 8-bit grey or RGB, with or without alpha."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Values of white for floats in 0..1 and for integers of 8, 10, 12, 14 and 16 bits.
_WHITE_LEVELS = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
_BLOCK_ROWS = 256  # rows that are scaled at a time


def to_8_bit(image: Image.Image, warnings: list[str]) -> Image.Image:
    """Return an image in mode L, LA, RGB or RGBA.

    Args:
        image: An image in any mode.
        warnings: A warning is appended here if grey values had to be stretched.
    """
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        return image.convert("RGBA") if "transparency" in image.info else image
    if image.mode in ("1", "La"):
        return image.convert("L" if image.mode == "1" else "LA")
    if image.mode.startswith(("I", "F")):
        return _scale_deep_grey(image, warnings)
    if image.mode in ("P", "PA"):
        transparent = image.mode == "PA" or "transparency" in image.info
        return image.convert("RGBA" if transparent else "RGB")
    return image.convert("RGBA" if image.mode == "RGBa" else "RGB")  # CMYK, YCbCr, LAB, HSV, RGBX


def _scale_deep_grey(image: Image.Image, warnings: list[str]) -> Image.Image:
    """Scale grey values of more than 8 bits, or floats, to 0..255.

    White is the smallest of `_WHITE_LEVELS` that is not below the image's maximum (1.0 counts for
    floats only). The same picture therefore gives the same bytes at every depth. An image with
    values outside 0..65535 is stretched from its minimum to its maximum, with a warning.

    Works in blocks of rows: an array of the whole image would take as much memory as the image.
    """
    ends = [(float(block.min()), float(block.max())) for block in _blocks(image)]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if low < 0 or high > _WHITE_LEVELS[-1]:
        warnings.append(f"Grey values from {low:g} to {high:g} were stretched to 0..255.")
    else:
        levels = _WHITE_LEVELS[not image.mode.startswith("F") :]
        low, high = 0.0, next(white for white in levels if high <= white)
    scaled = Image.new("L", image.size)
    for number, block in enumerate(_blocks(image)):
        values = 255 * (block.astype(np.float64) - low) / max(high - low, 1e-12) + 0.5
        scaled.paste(Image.fromarray(values.astype(np.uint8)), (0, number * _BLOCK_ROWS))
    return scaled


def _blocks(image: Image.Image) -> Iterator[NDArray[np.generic]]:
    """Yield the values of a grey image, `_BLOCK_ROWS` rows at a time, without NaN and infinity."""
    for top in range(0, image.height, _BLOCK_ROWS):
        bottom = min(top + _BLOCK_ROWS, image.height)
        block = np.asarray(image.crop((0, top, image.width, bottom)))
        yield (
            block
            if image.mode.startswith("I")
            else np.nan_to_num(block, nan=0.0, posinf=65535.0, neginf=0.0)
        )


def has_equal_channels(pixels: NDArray[np.uint8]) -> bool:
    """Return whether an RGB array `[H, W, 3]` is grey, as in formats without a grey mode."""
    red = pixels[..., 0]
    return np.array_equal(red, pixels[..., 1]) and np.array_equal(red, pixels[..., 2])
