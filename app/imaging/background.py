"""The ground under the ink: one level for an even page, a surface for a lit or a foggy one.

Everywhere `raised` is a grey image in which ink is high, float32 `[H, W]`, 0..255.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.imaging.filters import Grey, box_mean, label, otsu, running_max, shrink

EVEN = 8.0  # grey levels that the ground may vary by and still be taken as even
GROUND_SIDE = 128  # longer side, pixels, at which an uneven ground is estimated
STROKE_SIDE = 320  # longer side, pixels, at which stroke widths are measured
SHARE = 1 / 3  # of the shorter side: a window that no stroke fills
FINEST = 1 / 14  # of the shorter side: the smallest window, wider than any pen on a page
WINDOWS_PER_STROKE = 4.0  # width of the window where the stroke's is known
ELONGATED = 8.0  # (outline squared) / (4 areas): 3 for a disc, 6 for a triangle, 8 for a bar of 6:1
MIN_PAGE_SIDE = 64  # pixels a side from which on a stroke is much thinner than the page
CALM_NOISE = 3.0  # grey levels of noise from which on a page is smoothed
SMOOTH_SIDE = 200  # pixels a side from which on smoothing over 3 x 3 leaves strokes as they are


def even_level(raised: Grey) -> np.float32:
    """Return the most common level of the lower class: paper without marks."""
    threshold, _ = otsu(raised)
    lower = raised[raised <= threshold]
    return np.float32(np.median(lower if lower.size else raised))


def is_uneven(raised: Grey) -> bool:
    """Tell whether the lower class varies slowly by more than noise would.

    Pixels beside the upper class are left out: they are the soft edges of strokes.
    """
    raised = shrink(raised, GROUND_SIDE)
    threshold, _ = otsu(raised)
    size = max(3, min(raised.shape) // 8) | 1
    upper = running_max(
        (raised > threshold).astype(np.float32), max(3, min(raised.shape) // 14) | 1
    )
    lower = upper == 0
    share = box_mean(lower.astype(np.float32), size)
    mean = box_mean(np.where(lower, raised, 0), size) / np.maximum(share, 1e-3)
    means = mean[share > 0.3]
    return means.size > 0 and float(np.ptp(np.percentile(means, [2, 98]))) > EVEN


def surface(raised: Grey) -> Grey:
    """Estimate an uneven ground: an opening wider than any stroke.

    A first opening has a window of a third of the shorter side: a digit's strokes are thinner than
    that, shadows and fog are wider. Where the strokes that it leaves are much thinner, a second one
    fits them, and follows the edges of shadows more closely.
    """
    wide = max(3.0, min(raised.shape) * SHARE)
    ground = _opened(raised, wide)
    if min(raised.shape) < MIN_PAGE_SIDE:
        return ground
    width = _stroke_width(raised - ground)
    if width is None:
        return ground
    fitting = max(WINDOWS_PER_STROKE * width, min(raised.shape) * FINEST)
    return _opened(raised, fitting) if fitting < 0.7 * wide else ground


def _opened(raised: Grey, window: float) -> Grey:
    """Open with a square window of `window` pixels; large images at a smaller scale."""
    height, width = raised.shape
    small = shrink(raised, GROUND_SIDE)
    size = max(3, round(window * small.shape[0] / height)) | 1
    if small is raised:
        opened = running_max(-running_max(-raised, size), size)
        return np.minimum(box_mean(opened, max(3, size // 2) | 1), raised)
    opened = box_mean(running_max(-running_max(-box_mean(small, 3), size), size), 3)
    enlarged = Image.fromarray(opened).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(enlarged, np.float32)


def _stroke_width(amount: Grey) -> float | None:
    """Return the width, pixels, of the strokes that hold the most ink; None without a stroke.

    A stroke is long for its width and does not touch the border; patches of shadow are not or do.
    """
    small = shrink(amount, STROKE_SIDE)
    mask = small > otsu(np.maximum(small, 0))[0]
    labels, count = label(mask)
    if count == 0:
        return None
    area = np.bincount(labels.ravel(), minlength=count + 1)
    inner = mask.copy()
    inner[1:-1, 1:-1] &= mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    outline = np.bincount(labels[mask & ~inner], minlength=count + 1).clip(1)
    rim: NDArray[np.int32] = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    stroke = (outline**2 >= ELONGATED * 4 * area) & (area > 8)
    stroke[0] = False
    stroke[rim] = False
    if not stroke.any():
        return None
    most = int(np.argmax(np.where(stroke, area, 0)))
    return float(2 * area[most] / outline[most] * amount.shape[0] / small.shape[0])


def smoothed(raised: Grey) -> Grey:
    """Average over 3 x 3 on a large page whose noise would hide pale ink."""
    if min(raised.shape) < SMOOTH_SIDE:
        return raised
    rows = raised[:: max(1, len(raised) // 100)]
    noise = float(np.median(np.abs(np.diff(rows, axis=1)))) / (0.6745 * np.sqrt(2))
    return box_mean(raised, 3) if noise > CALM_NOISE else raised
