"""Resize ink with anti-aliasing, and stretch it to MNIST's range of grey levels."""

import numpy as np
from PIL import Image

from app.imaging.filters import Grey, quantile

FULL_INK = 254.0  # grey level of a full stroke; MNIST's are 253 to 255


def resize_longer_side(ink: Grey, length: int) -> Grey:
    """Scale ink so that its longer side has `length` pixels, with its aspect ratio kept.

    Shrinks by area averaging (a box filter) and enlarges by bicubic interpolation.

    Args:
        ink: float32 `[h, w]`, at least 0.
        length: Longer side of the result, in pixels.
    """
    height, width = ink.shape
    factor = length / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    if size == (width, height):
        return ink
    method = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    return np.maximum(np.asarray(Image.fromarray(ink).resize(size, method), np.float32), 0)


def stretch_to_full_range(ink: Grey) -> Grey:
    """Scale ink so that full strokes (its 90th percentile) have 254 of 255 grey levels."""
    strokes = ink[ink > 0.25 * ink.max()]
    full = quantile(strokes, 0.9) if strokes.size else 0.0
    return np.clip(ink * (FULL_INK / full), 0, 255) if full > 0 else ink
