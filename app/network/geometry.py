"""Which units of its input a layer's unit reads, and what that means on the image.

Every layer kind gives its `Footprint`; receptive fields and traces follow from it, layer by layer
(Araujo et al., 2019, "Computing Receptive Fields of Convolutional Neural Networks", Distill).
Knows rows and columns; knows nothing of weights or values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from app.boxes import Box

Shape = tuple[int, ...]  # of an array without the batch
Unit = tuple[int, ...]  # (y, x, channel), or (channel,) in a layer without positions


@dataclass(frozen=True)
class Patch:
    """The unit at (y, x) reads the rectangle that starts at `start + step * (y, x)`.

    In a layer without rows and columns, a patch of one stands for the unit's own position.

    Attributes:
        size: Rows and columns of the rectangle.
        step: Distance between the rectangles of neighbouring units, in rows and columns.
        start: First row and column that unit (0, 0) reads; negative in the padding.
        same_unit: Whether a unit reads the unit with its own index and no other.
    """

    size: tuple[int, int] = (1, 1)
    step: tuple[int, int] = (1, 1)
    start: tuple[int, int] = (0, 0)
    same_unit: bool = False


@dataclass(frozen=True)
class Reordered:
    """A unit reads one unit: the one at its place when both arrays are read row by row."""


@dataclass(frozen=True)
class Everything:
    """A unit reads every position of the input."""


Footprint = Patch | Reordered | Everything
SAME_POSITION = Patch()
SAME_UNIT = Patch(same_unit=True)


@dataclass(frozen=True)
class ReceptiveField:
    """The part of the image that a layer's units depend on, as if the image had no border.

    Attributes:
        size: Rows and columns of the image that one unit sees.
        stride: Distance between the fields of neighbouring units, in rows and columns; None where
            units have no position.
        offset: First row and column that unit (0, 0) sees, negative in the padding; None where
            units have no position.
    """

    size: tuple[int, int]
    stride: tuple[int, int] | None
    offset: tuple[int, int] | None

    def through(self, footprint: Footprint, whole: "ReceptiveField") -> "ReceptiveField":
        """Return the field of a layer that reads units with this field.

        Args:
            footprint: What the layer reads.
            whole: The field of a unit that sees the whole image.
        """
        match footprint:
            case Everything():
                return whole
            case Reordered():
                return ReceptiveField(self.size, None, None)
            case Patch(size, step, start):
                if self.stride is None or self.offset is None:
                    return self
                (down, right), (top, left) = self.stride, self.offset
                return ReceptiveField(
                    (self.size[0] + (size[0] - 1) * down, self.size[1] + (size[1] - 1) * right),
                    (down * step[0], right * step[1]),
                    (top + start[0] * down, left + start[1] * right),
                )
        assert_never(footprint)


def union(fields: Sequence[ReceptiveField]) -> ReceptiveField:
    """Return the smallest receptive field that covers those of several inputs.

    It has no stride and no offset if the strides differ or one is None.
    """
    strides = {field.stride for field in fields}
    if len(strides) != 1 or None in strides:
        height, width = (max(field.size[axis] for field in fields) for axis in (0, 1))
        return ReceptiveField((height, width), None, None)
    offsets = [field.offset or (0, 0) for field in fields]
    top, left = (min(offset[axis] for offset in offsets) for axis in (0, 1))
    bottom, right = (
        max(offset[axis] + field.size[axis] for offset, field in zip(offsets, fields, strict=True))
        for axis in (0, 1)
    )
    return ReceptiveField((bottom - top, right - left), fields[0].stride, (top, left))


def unit_box(unit: Unit) -> Box[int]:
    """Return the box of one unit `(y, x, channel)`."""
    return Box(unit[1], unit[0], 1, 1)


def whole_box(shape: Shape) -> Box[int]:
    """Return the box of a whole array `[H, W, C]`."""
    return Box(0, 0, shape[1], shape[0])


def joined(box: Box[int], other: Box[int]) -> Box[int]:
    """Return the smallest box that contains both."""
    x, y = min(box.x, other.x), min(box.y, other.y)
    right, bottom = max(box.right, other.right), max(box.bottom, other.bottom)
    return Box(x, y, right - x, bottom - y)


def box_read(box: Box[int], footprint: Footprint, shape: Shape) -> Box[int] | None:
    """Return the part of an input that a box of a layer's output depends on.

    Args:
        box: Rows and columns of the output.
        footprint: What the layer reads.
        shape: Shape of the input, `[H, W, C]`.

    Returns:
        The box, clipped to the input; None if the output depends on padding only.
    """
    if not isinstance(footprint, Patch):
        return whole_box(shape)
    size, step, start = footprint.size, footprint.step, footprint.start
    top, left = start[0] + step[0] * box.y, start[1] + step[1] * box.x
    bottom = top + step[0] * (box.height - 1) + size[0]
    right = left + step[1] * (box.width - 1) + size[1]
    x, y = max(left, 0), max(top, 0)
    width, height = min(right, shape[1]) - x, min(bottom, shape[0]) - y
    return Box(x, y, width, height) if width > 0 and height > 0 else None


def unit_read(unit: Unit, footprint: Footprint, shape: Shape, output: Shape) -> Unit | None:
    """Return the only unit of an input that a unit reads, or None if it reads several.

    Args:
        unit: Index of the unit in the output.
        footprint: What the layer reads.
        shape: Shape of the input.
        output: Shape of the output.
    """
    match footprint:
        case Patch(same_unit=True):
            return unit
        case Reordered():
            flat = int(np.ravel_multi_index(unit, output))
            return tuple(int(at) for at in np.unravel_index(flat, shape))
        case Patch() | Everything():
            return None
    assert_never(footprint)
