"""Tell whether the marks on an image may be several digits, by the boxes of its components.

Knows components; only a network can tell whether they are digits (`app.page_reading`).
"""

import math

import numpy as np

from app.imaging.components import Components
from app.imaging.filters import Mask
from app.imaging.page_size import is_page
from app.imaging.stroke_groups import StrokeBox, component_boxes, digit_of, merge_stacked

MIN_HEIGHT = 0.5  # of a second digit, in heights of the tallest group of strokes
# Width of all writing, in heights of its tallest component, above which digits may touch.
MAX_SINGLE_WIDTH = 1.3
# Share of the narrower of two components by which their columns overlap in one digit.
MIN_OVERLAP = 0.3
MIN_MARK_HEIGHT = 0.2  # of a mark that may be a small digit, in heights of the tallest component
MIN_MARK_PIXELS = 6  # in a small image, where strokes are thin
MIN_PAGE_MARK_PIXELS = 14  # on a page; lower ones are left over from lines, folds and grain
MAX_MARKS = 4  # besides the tallest; a page has more
MAX_STROKES = 40  # components as large as a small digit; a texture has more


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


def separate_marks(components: Components, writing: Mask, possible: Mask) -> list[Mask]:
    """Return the tallest component of the writing and others that may be digits of their own.

    Strokes that may belong to the tallest one, such as the bar of a 5, are joined to it.

    Args:
        components: All components of the image.
        writing: bool `[K]`, those that are writing.
        possible: bool `[K]`, those that may be writing (`components.may_be_writing`).

    Returns:
        bool `[K]` for each mark, the tallest first; none if there is only one, or a texture.
    """
    tallest = int(np.argmax(np.where(writing, components.height, 0)))
    pixels = MIN_PAGE_MARK_PIXELS if is_page(components.labels) else MIN_MARK_PIXELS
    least = max(pixels, MIN_MARK_HEIGHT * components.height[tallest])
    large = possible & (np.maximum(components.height, components.width) >= least)
    large[tallest] = False
    if not 0 < large.sum() <= MAX_STROKES:
        return []
    first, *rest = component_boxes(components, np.array([tallest, *np.flatnonzero(large)]))
    strokes, others = [first], list[StrokeBox]()
    for box in rest:
        if digit_of(box, [first], first.height) is not None:
            strokes.append(box)
        elif box.height >= least:
            others.append(box)
    if not others:
        return []
    others.sort(key=lambda box: -box.height)
    marks = [strokes, *([box] for box in others[:MAX_MARKS])]
    return [_mask(mark, len(components)) for mark in marks]


def _mask(boxes: list[StrokeBox], count: int) -> Mask:
    mask = np.zeros(count, bool)
    mask[[label - 1 for box in boxes for label in box.labels]] = True
    return mask
