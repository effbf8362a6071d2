"""Draw pen strokes on batches of 28x28 images, by the distance to line segments."""

import numpy as np
from numpy.typing import NDArray

_Y, _X = np.mgrid[0:28, 0:28].astype(np.float32)


def draw_segments(
    start: NDArray[np.float32], end: NDArray[np.float32], radius: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Draw anti-aliased line segments.

    Args:
        start: float32 `[N, K, 2]`, (y, x) of each segment's start, pixels.
        end: float32 `[N, K, 2]`, (y, x) of each segment's end, pixels.
        radius: float32 `[N]`, half the width of the pen in each image, pixels.

    Returns:
        float32 `[N, 28, 28]`, 0..255: full ink within `radius` of a segment, fading over one pixel.
    """
    step = end - start
    length2 = np.maximum((step**2).sum(axis=2), 1e-6)[:, :, None, None]
    from_y = _Y - start[:, :, 0, None, None]  # (N, K, 28, 28)
    from_x = _X - start[:, :, 1, None, None]
    step_y, step_x = step[:, :, 0, None, None], step[:, :, 1, None, None]
    along = np.clip((from_y * step_y + from_x * step_x) / length2, 0, 1)
    distance = np.hypot(from_y - along * step_y, from_x - along * step_x).min(axis=1)
    return np.asarray(255 * np.clip(radius[:, None, None] + 0.5 - distance, 0, 1), np.float32)
