"""Tell whether the writing on an image may be several digits, by the boxes of its components.

Knows components; only a network can tell whether they are digits (`app.page_reading`).
"""

import numpy as np
from numpy.typing import NDArray

from app.imaging.components import Components
from app.imaging.filters import Mask

MIN_HEIGHT = 0.5  # of a second digit, in heights of the tallest group of strokes
# Width of all writing, in heights of its tallest component, above which digits may touch.
MAX_SINGLE_WIDTH = 1.3
# Share of the narrower of two components by which their columns overlap in one digit.
MIN_OVERLAP = 0.3


def may_be_several(components: Components, writing: Mask) -> bool:
    """Return whether there are two groups of strokes as tall as digits, or one wide one.

    A group holds the components that stand above each other, such as the parts of a 5.

    Args:
        components: All components of the image.
        writing: bool `[K]`, those that are writing.
    """
    chosen = np.flatnonzero(writing)
    chosen = chosen[np.argsort(components.left[chosen], kind="stable")]
    left, right = components.left[chosen], components.right[chosen]
    top, bottom = components.top[chosen], components.bottom[chosen]
    if right.max() - left.min() > MAX_SINGLE_WIDTH * (bottom - top).max():
        return True
    heights = _group_heights(top, bottom, left, right)
    return sum(height >= MIN_HEIGHT * max(heights) for height in heights) > 1


def _group_heights(
    top: NDArray[np.int64],
    bottom: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
) -> list[int]:
    """Merge boxes, sorted by their left, that share columns; return the heights of the groups."""
    groups: list[tuple[int, int, int, int]] = []
    for box in zip(top.tolist(), bottom.tolist(), left.tolist(), right.tolist(), strict=True):
        for index, group in enumerate(groups):
            shared = min(box[3], group[3]) - max(box[2], group[2])
            if shared > MIN_OVERLAP * min(box[3] - box[2], group[3] - group[2]):
                groups[index] = (
                    min(box[0], group[0]),
                    max(box[1], group[1]),
                    min(box[2], group[2]),
                    max(box[3], group[3]),
                )
                break
        else:
            groups.append(box)
    return [group[1] - group[0] for group in groups]
