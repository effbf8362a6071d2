"""Group the components of a page into digits and signs, and drop specks.

Knows bounding boxes and the ink of components; knows nothing of pixels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.imaging.components import Components, is_cut_off, is_frame

MAX_GROUPS = 400  # stroke groups on a page; handwriting has fewer, a texture more
# Lengths below are in heights of the page's digits.
MIN_DIGIT_HEIGHT = 0.5  # a lower box is a detached stroke, a sign or a speck
MAX_STROKE_GAP = 0.25  # between a digit and a detached stroke above, below or in it
MAX_SIDE_GAP = 0.06  # between a digit and a stroke beside it; further away is a sign, as in -4
MIN_SHARED_COLUMNS = 0.3  # share of a detached stroke's width that is above, below or in its digit
MIN_LONE_SIZE = 0.3  # a smaller box far from any digit is a speck
MAX_STACK_GAP = 0.12  # between strokes one above the other, as in a 5
MAX_SIGN_GAP = 0.55  # between low strokes one above the other, as in = and :
# A dot: its size, its distance to a digit on its left, and how far its middle is from the lower end
# of that digit.
MIN_DOT, MAX_DOT_GAP, MAX_DOT_RISE = 0.07, 0.5, 0.3
# A sign: its height in heights of a digit next to it in its line, and the gap between them.
MAX_SIGN_HEIGHT, MAX_NEIGHBOUR_GAP = 0.45, 1.0
MIN_DOT_DARKNESS = 0.5  # mean ink, as a share of the digits'; small marks are blurred


@dataclass(frozen=True)
class StrokeBox:
    """A bounding box, in pixels of the page, and the labels of the components in it."""

    top: int
    bottom: int
    left: int
    right: int
    labels: tuple[int, ...]

    @property
    def height(self) -> int:
        """Return the number of rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Return the number of columns."""
        return self.right - self.left

    @property
    def middle(self) -> tuple[float, float]:
        """Return column and row of the middle."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


def find_groups(components: Components) -> tuple[list[StrokeBox], int]:
    """Return the boxes of the stroke groups with the most ink, and the number of the others."""
    order = np.argsort(-components.weight, kind="stable")
    writing = order[~(is_frame(components) | is_cut_off(components))[order]]
    heavy, light = writing[: 2 * MAX_GROUPS], writing[2 * MAX_GROUPS :]
    boxes = component_boxes(components, heavy)
    groups = _group_strokes(boxes, components.darkness)
    # Lower ones are specks, or detached strokes of digits.
    high = components.height[light] >= MIN_DIGIT_HEIGHT * digit_height(boxes)
    return groups[:MAX_GROUPS], max(0, len(groups) - MAX_GROUPS) + int(high.sum())


def are_signs(line: list[StrokeBox]) -> list[bool]:
    """Return which boxes of a text line are signs: far lower than a digit next to them."""
    found = []
    for index, box in enumerate(line):
        neighbours = line[max(0, index - 1) : index] + line[index + 1 : index + 2]
        found.append(
            any(
                box.height < MAX_SIGN_HEIGHT * other.height
                and -_shared_columns(box, other) <= MAX_NEIGHBOUR_GAP * other.height
                for other in neighbours
            )
        )
    return found


def digit_height(boxes: list[StrokeBox]) -> float:
    """Return the typical height of a digit: the median of the boxes that are not much lower."""
    heights = sorted((box.height for box in boxes), reverse=True)
    tall = max(1, sum(height >= 0.4 * heights[0] for height in heights))
    return float(np.median(heights[:tall]))


def component_boxes(components: Components, indices: NDArray[np.int64]) -> list[StrokeBox]:
    """Return the boxes of some components, in the order of their indices."""
    sides = (components.top, components.bottom, components.left, components.right)
    columns = (side[indices].tolist() for side in sides)
    labels = ((index + 1,) for index in indices.tolist())
    return [StrokeBox(*row) for row in zip(*columns, labels, strict=True)]


def _group_strokes(boxes: list[StrokeBox], darkness: NDArray[np.float64]) -> list[StrokeBox]:
    """Merge detached strokes with the digit they belong to, and drop specks.

    Args:
        boxes: The boxes of the components.
        darkness: float64 `[K]`, the mean ink of every component.

    Returns:
        A box for each stroke group.
    """
    height = digit_height(boxes)
    digits = [box for box in boxes if box.height >= MIN_DIGIT_HEIGHT * height]
    ink = float(np.median([darkness[box.labels[0] - 1] for box in digits]))
    signs = list[StrokeBox]()
    for small in (box for box in boxes if box.height < MIN_DIGIT_HEIGHT * height):
        nearest = digit_of(small, digits, height)
        if nearest is not None:
            digits[nearest] = _union(digits[nearest], small)
        elif max(small.height, small.width) >= MIN_LONE_SIZE * height or (
            darkness[small.labels[0] - 1] >= MIN_DOT_DARKNESS * ink
            and _is_dot(small, digits, height)
        ):
            signs.append(small)
    stacked = merge_stacked(signs, MAX_SIGN_GAP * height)
    return merge_stacked([*digits, *stacked], 0)


def digit_of(small: StrokeBox, digits: list[StrokeBox], height: float) -> int | None:
    """Return the index of the digit that a low box is a stroke of, or None.

    Args:
        small: The box.
        digits: The boxes of the digits.
        height: Their height.
    """
    if not digits:
        return None
    gaps = [_distance(small, digit) for digit in digits]
    nearest = int(np.argmin(gaps))
    digit = digits[nearest]
    size = max(digit.height, 0.6 * height)
    beside = _shared_columns(small, digit) < MIN_SHARED_COLUMNS * small.width
    max_gap = MAX_SIDE_GAP if beside else MAX_STROKE_GAP
    return nearest if gaps[nearest] <= max_gap * size else None


def _is_dot(small: StrokeBox, digits: list[StrokeBox], height: float) -> bool:
    """Return whether a small box is a dot or a comma after a digit."""
    if max(small.height, small.width) < MIN_DOT * height:
        return False
    return any(
        0 <= small.left - digit.right + 0.1 * height <= MAX_DOT_GAP * height
        and abs(small.middle[1] - digit.bottom) <= MAX_DOT_RISE * digit.height
        for digit in digits
    )


def merge_stacked(
    boxes: list[StrokeBox], min_gap: float, min_overlap: float = 0.6
) -> list[StrokeBox]:
    """Merge boxes that share most of their columns and are close to each other vertically.

    Args:
        boxes: The boxes.
        min_gap: Pixels between two boxes that are close, whatever their heights.
        min_overlap: Share of the narrower box's columns that both have.
    """
    merged: list[StrokeBox] = []
    for box in boxes:
        for index, other in enumerate(merged):
            if other.right <= box.left or other.left >= box.right:
                continue  # most pairs; a call for each takes three times as long
            if _shared_columns(box, other) <= min_overlap * min(box.width, other.width):
                continue
            gap = max(box.top, other.top) - min(box.bottom, other.bottom)
            if gap <= max(min_gap, MAX_STACK_GAP * max(box.height, other.height)):
                merged[index] = _union(box, other)
                break
        else:
            merged.append(box)
    return merged


def _shared_columns(first: StrokeBox, second: StrokeBox) -> int:
    """Return the number of columns that two boxes share; negative if there is a gap."""
    return min(first.right, second.right) - max(first.left, second.left)


def _distance(first: StrokeBox, second: StrokeBox) -> float:
    """Return the Euclidean distance between two boxes, in pixels; 0 if they overlap."""
    vertical = max(0, first.top - second.bottom, second.top - first.bottom)
    horizontal = max(0, -_shared_columns(first, second))
    return float(np.hypot(vertical, horizontal))


def _union(first: StrokeBox, second: StrokeBox) -> StrokeBox:
    """Return the smallest box around two boxes, with the labels of both."""
    return StrokeBox(
        min(first.top, second.top),
        max(first.bottom, second.bottom),
        min(first.left, second.left),
        max(first.right, second.right),
        first.labels + second.labels,
    )
