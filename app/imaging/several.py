"""Tell whether the writing on an image may be several digits, by the boxes of its components.

Knows components; only a network can tell whether they are digits (`app.page_reading`).
"""

import math

import numpy as np

from app.imaging.components import Components
from app.imaging.filters import Mask
from app.imaging.stroke_groups import component_boxes, merge_stacked

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
    width = components.right[chosen].max() - components.left[chosen].min()
    if width > MAX_SINGLE_WIDTH * components.height[chosen].max():
        return True
    groups = merge_stacked(component_boxes(components, chosen), math.inf, MIN_OVERLAP)
    heights = [group.height for group in groups]
    return sum(height >= MIN_HEIGHT * max(heights) for height in heights) > 1
