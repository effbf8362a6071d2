"""Measure the stroke width of a digit, and bring extreme widths into MNIST's range."""

import numpy as np
from PIL import Image, ImageFilter

from app.imaging.filters import Grey
from app.imaging.resize import resize_longer_side, stretch_to_full_range

# Stroke widths of MNIST's training digits, in pixels. Widths between the 1st and the 99th
# percentile are left alone; others are brought to the 5th or the 95th.
MIN_STROKE, THIN_TARGET, THICK_TARGET, MAX_STROKE = 1.43, 1.63, 3.58, 4.28
FINE = 4  # strokes are dilated and eroded at this multiple of the final resolution
MAX_STEPS = 2 * FINE  # dilations or erosions, each of one fine pixel on either side
# If no pixel keeps this grey level, the stroke has been eroded away.
MIN_REMAINING_INK = 128


def stroke_width(ink: Grey) -> float:
    """Return the mean stroke width, in pixels: 2 * ink / length of the outline.

    The length of the outline is the total variation, the sum of the gradient's magnitude.

    Args:
        ink: float32 `[h, w]`, 0..255.
    """
    height, width = ink.shape
    padded = np.zeros((height + 2, width + 2), np.float32)  # np.pad takes five times as long
    padded[1:-1, 1:-1] = ink
    corner = padded[:-1, :-1]
    gradient = np.hypot(padded[1:, :-1] - corner, padded[:-1, 1:] - corner)
    outline = float(gradient.sum())
    return 2 * float(ink.sum()) / outline if outline > 0 else 0.0


def normalise_stroke_width(scaled: Grey, original: Grey) -> tuple[Grey, dict[str, object]]:
    """Dilate hairlines and erode blots until their stroke width is common in MNIST.

    Args:
        scaled: float32 `[h, w]`, 0..255, the digit in its 20x20 box.
        original: float32 `[H, W]`, the same ink before it was scaled.

    Returns:
        The ink with the new stroke width, float32 `[h, w]`, and the widths before and after, in
        pixels. Ink whose stroke width is in MNIST's range is returned unchanged.
    """
    before = stroke_width(scaled)
    if MIN_STROKE <= before <= MAX_STROKE:
        return scaled, {"before": round(before, 2), "after": round(before, 2)}
    longer_side = max(scaled.shape)
    fine = stretch_to_full_range(resize_longer_side(original, longer_side * FINE))
    picture = Image.fromarray(np.pad(fine, FINE).astype(np.uint8))
    thin = before < MIN_STROKE
    step = ImageFilter.MaxFilter(3) if thin else ImageFilter.MinFilter(3)
    box = (FINE, FINE, picture.width - FINE, picture.height - FINE)
    size = (scaled.shape[1], scaled.shape[0])
    result = scaled
    for _ in range(MAX_STEPS):
        picture = picture.filter(step)
        reduced = np.asarray(picture.resize(size, Image.Resampling.BOX, box=box), np.float32)
        if reduced.max() < MIN_REMAINING_INK:
            break
        result = stretch_to_full_range(reduced)
        width = stroke_width(result)
        if (width >= THIN_TARGET) if thin else (width <= THICK_TARGET):
            break
    return result, {"before": round(before, 2), "after": round(stroke_width(result), 2)}
