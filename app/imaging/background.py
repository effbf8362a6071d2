"""Estimate the background under the ink: one level for an even page, a surface for an uneven one.

In this module ink is bright: `image` is float32 `[H, W]`, 0..255, with ink above the background.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.imaging.filters import (
    Grey,
    Mask,
    box_mean,
    dilate,
    downscale,
    label,
    opening,
    otsu,
    sample,
)
from app.imaging.page_size import is_page

MAX_EVEN_RANGE = 8.0  # grey levels by which an even background may vary across the page
SURFACE_SIDE = 128  # longer side, in pixels, of the reduced image for the background surface
STROKE_SIDE = 320  # longer side, in pixels, of the reduced image for stroke widths
# Opening windows, as shares of the page's shorter side. The wide one is wider than any stroke of a
# digit; the minimum is still wider than any pen on a page.
WIDE_WINDOW = 1 / 3
MIN_WINDOW = 1 / 14
WINDOW_PER_STROKE = 4.0  # width of the fitted opening window, in stroke widths
FITTED_BELOW = 0.7  # share of the wide window below which the fitted window is worth a second pass
# Smallest outline**2 / (4 * area) of a stroke. A disc has 3, a triangle 6, a bar of 6:1 has 8.
MIN_ELONGATION = 8.0
MIN_STROKE_AREA = 8  # pixels; a smaller component is a speck
MAX_NOISE = 3.0  # grey levels; a page with more noise is smoothed
MIN_SMOOTHED_SIDE = 200  # pixels; on a smaller page a 3x3 mean would blur the strokes


def background_level(image: Grey) -> np.float32:
    """Return the level of an even background: the median of the class below Otsu's threshold."""
    pixels = sample(image)
    threshold, _ = otsu(pixels)
    lower = pixels[pixels <= threshold]
    return np.float32(np.median(lower if lower.size else pixels))


def is_uneven(image: Grey) -> bool:
    """Return whether the background varies by more than `MAX_EVEN_RANGE` grey levels.

    Compares local means of the background class (below Otsu's threshold). Pixels close to ink are
    left out because stroke edges are blurred.
    """
    image = downscale(image, SURFACE_SIDE)
    if is_page(image) and _has_wide_shadow(image):
        return True
    threshold, _ = otsu(image)
    size = max(3, min(image.shape) // 8) | 1
    near_ink = dilate((image > threshold).astype(np.float32), max(3, min(image.shape) // 14) | 1)
    background = near_ink == 0
    share = box_mean(background.astype(np.float32), size)
    mean = box_mean(np.where(background, image, 0), size) / np.maximum(share, 1e-3)
    means = mean[share > 0.3]
    return means.size > 0 and float(np.ptp(np.percentile(means, [2, 98]))) > MAX_EVEN_RANGE


def _has_wide_shadow(image: Grey) -> bool:
    """Return whether an image shows two levels in regions that are wider than any stroke.

    Otsu's threshold takes a wide shadow with a sharp edge for ink.
    """
    window = max(3, round(min(image.shape) * WIDE_WINDOW)) | 1
    levels = opening(box_mean(image, 3), window)
    return float(np.ptp(np.percentile(levels, [2, 98]))) > MAX_EVEN_RANGE


def background_surface(image: Grey) -> Grey:
    """Estimate an uneven background by a grey opening that is wider than any stroke.

    The first opening uses a window of a third of the shorter side: strokes of a digit are narrower,
    shadows and fog are wider. If the strokes turn out much thinner, a second opening with a window
    fitted to them follows the edges of shadows more closely.

    Returns:
        float32 `[H, W]`, the background's grey level at each pixel.
    """
    wide = max(3.0, min(image.shape) * WIDE_WINDOW)
    surface = _opened(image, wide)
    if not is_page(image):
        return surface
    width = _stroke_width(image - surface)
    if width is None:
        return surface
    fitted = max(WINDOW_PER_STROKE * width, min(image.shape) * MIN_WINDOW)
    return _opened(image, fitted) if fitted < FITTED_BELOW * wide else surface


def _opened(image: Grey, window: float) -> Grey:
    """Return the smoothed opening with a square of `window` pixels.

    A large image is opened at a reduced size and the result enlarged bilinearly.
    """
    height, width = image.shape
    small = downscale(image, SURFACE_SIDE)
    size = max(3, round(window * small.shape[0] / height)) | 1
    if small is image:
        return np.minimum(box_mean(opening(image, size), max(3, size // 2) | 1), image)
    surface = box_mean(opening(box_mean(small, 3), size), 3)
    enlarged = Image.fromarray(surface).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(enlarged, np.float32)


def _stroke_width(ink: Grey) -> float | None:
    """Return the width, in pixels, of the largest stroke, or None if there is no stroke.

    The width is 2 * area / outline. A stroke is an elongated component that does not touch the
    border; remains of shadows are compact or touch it.
    """
    small = downscale(ink, STROKE_SIDE)
    mask = small > otsu(small)[0]
    labels, count = label(mask)
    if count == 0:
        return None
    area = np.bincount(labels.ravel(), minlength=count + 1)
    outline = np.bincount(labels[mask & ~_interior(mask)], minlength=count + 1).clip(1)
    border: NDArray[np.int32] = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    is_stroke = (outline**2 >= MIN_ELONGATION * 4 * area) & (area > MIN_STROKE_AREA)
    is_stroke[0] = False
    is_stroke[border] = False
    if not is_stroke.any():
        return None
    largest = int(np.argmax(np.where(is_stroke, area, 0)))
    return float(2 * area[largest] / outline[largest] * ink.shape[0] / small.shape[0])


def _interior(mask: Mask) -> Mask:
    """Return the pixels of a mask whose four neighbours belong to it (border pixels count)."""
    interior = mask.copy()
    interior[1:-1, 1:-1] &= mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    return interior


def denoise(image: Grey) -> Grey:
    """Apply a 3x3 mean to a large page whose noise would hide pale ink; return others unchanged.

    The noise is estimated from the differences of horizontal neighbours in about 100 rows.
    """
    if min(image.shape) < MIN_SMOOTHED_SIDE:
        return image
    rows = image[:: max(1, len(image) // 100)]
    noise = float(np.median(np.abs(sample(np.diff(rows, axis=1))))) / (0.6745 * np.sqrt(2))
    return box_mean(image, 3) if noise > MAX_NOISE else image
