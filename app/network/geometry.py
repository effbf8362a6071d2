"""Which units of its input a layer's unit reads, and what that means on the image.

Every layer kind gives its `Footprint`; receptive fields follow from it, layer by layer (Araujo et
al., 2019, "Computing Receptive Fields of Convolutional Neural Networks", Distill). An output
`[T, C]` has T rows of one column. Knows rows and columns; knows nothing of weights or values.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor
from typing import assert_never

Shape = tuple[int, ...]  # of an array without the batch
Unit = tuple[int, ...]  # (y, x, channel), (y, channel), or (channel,) in a layer without positions
Real = int | Fraction
Pair = tuple[Real, Real]  # rows first, then columns


@dataclass(frozen=True)
class Patch:
    """The unit at (y, x) reads the rectangle that starts at `start + step * (y, x)`.

    A rectangle may begin and end between two rows or columns, as those of an upsampling do; a unit
    reads the whole rows and columns from its first to its last. An input without positions is read
    by channel alone.

    Attributes:
        size: Rows and columns from the first that is read to the last, both included.
        step: Distance between the rectangles of neighbouring units, in rows and columns.
        start: First row and column that unit (0, 0) reads; negative in the padding.
        channel_shift: A unit of channel c reads the input's channel `c + channel_shift` alone; None
            if it reads all channels.
    """

    size: Pair = (1, 1)
    step: Pair = (1, 1)
    start: Pair = (0, 0)
    channel_shift: int | None = None


@dataclass(frozen=True)
class Reordered:
    """A unit reads one unit, which has another index.

    Attributes:
        axes: The axis of the input that becomes each axis of the output; None if both arrays hold
            the same values in the same order, when they are read row by row.
    """

    axes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Everything:
    """A unit reads every position of the input.

    Attributes:
        keeps_position: Whether the unit at (y, x) still belongs to the input's position (y, x), as
            in a normalisation over all positions.
    """

    keeps_position: bool = False


Footprint = Patch | Reordered | Everything
SAME_POSITION = Patch()
SAME_UNIT = Patch(channel_shift=0)


def positions(shape: Shape) -> tuple[int, int] | None:
    """Return the rows and columns of a layer's output; None for one without positions."""
    if len(shape) == 3:
        return shape[0], shape[1]
    return (shape[0], 1) if len(shape) == 2 else None


@dataclass(frozen=True)
class ReceptiveField:
    """The part of the image that a layer's units depend on, as if the image had no border.

    Attributes:
        size: Rows and columns of the image that one unit sees.
        stride: Distance between neighbouring units on the image, in rows and columns; None where
            units have no position.
        offset: First row and column that unit (0, 0) sees, negative in the padding; None where
            units have no position.
        whole: Whether each unit sees the whole image; stride and offset then give its place only:
            its rectangle would be centred there.
        lost: Whether positions were lost before a layer that reads several units, so that `size` is
            only a bound.
        arranged: Shape and field of the array before it was reshaped. A later reshape to this shape
            gives the units their positions back.
        row: Field of all channels of one row together, where the columns of an image have become
            channels, so that each unit of a row sees another place.
    """

    size: Pair
    stride: Pair | None
    offset: Pair | None
    whole: bool = False
    lost: bool = field(default=False, compare=False)
    arranged: tuple[Shape, "ReceptiveField"] | None = field(default=None, compare=False)
    row: "ReceptiveField | None" = field(default=None, compare=False)

    @property
    def places(self) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """Return stride and offset in whole pixels; None where they do not describe the field."""
        if self.whole or self.stride is None or self.offset is None:
            return None
        numbers = [*self.stride, *self.offset]
        if any(number != int(number) for number in numbers):
            return None
        down, right, top, left = map(int, numbers)
        return (down, right), (top, left)

    def through(
        self, footprint: Footprint, image: Shape, shapes: tuple[Shape, Shape]
    ) -> "ReceptiveField":
        """Return the field of a layer that reads units with this field.

        Args:
            footprint: What the layer reads.
            image: Shape of the image.
            shapes: Shapes of the layer's input and output.
        """
        match footprint:
            case Everything(keeps_position):
                return _whole(image, (self.row or self) if keeps_position else None)
            case Reordered():
                return self._reordered(footprint, image, shapes)
            case Patch():
                return self._through_patch(footprint, image)
        assert_never(footprint)

    def _through_patch(self, patch: Patch, image: Shape) -> "ReceptiveField":
        if self.stride is None or self.offset is None:
            return self._through_patch_without_place(patch, image)
        size, centre = self.size, _centre(self)
        if not self.whole:
            size = _pair(
                self.size[axis] + floor(patch.size[axis] - 1) * self.stride[axis] for axis in (0, 1)
            )
        middle = _pair(
            centre[axis]
            + self.stride[axis] * (patch.start[axis] + Fraction(patch.size[axis] - 1) / 2)
            for axis in (0, 1)
        )
        stride = _pair(self.stride[axis] * patch.step[axis] for axis in (0, 1))
        return ReceptiveField(size, stride, _start(middle, size), self.whole)

    def _through_patch_without_place(self, patch: Patch, image: Shape) -> "ReceptiveField":
        if patch == SAME_UNIT:
            return self
        row = self.row and self.row._through_patch(patch, image)
        if self.whole or (patch.channel_shift is not None and patch.size == (1, 1)):
            return replace(self, arranged=None, row=row)
        return row or ReceptiveField((image[0], image[1]), None, None, lost=True)

    def _reordered(
        self, footprint: Reordered, image: Shape, shapes: tuple[Shape, Shape]
    ) -> "ReceptiveField":
        before, after = shapes
        if footprint.axes is not None:
            return ReceptiveField(self.size, None, None, self.whole)
        if before == after or (self.arranged and self.arranged[0] == after):
            return self.arranged[1] if self.arranged and before != after else self
        arranged = self.arranged or (before, self)
        if len(after) == 2 and before[0] == after[0] and self.stride and self.offset:
            size, stride = (self.size[0], image[1]), (self.stride[0], image[1])
            row = ReceptiveField(size, stride, (self.offset[0], 0), self.whole)
            return ReceptiveField(self.size, None, None, self.whole, arranged=arranged, row=row)
        return ReceptiveField(self.size, None, None, self.whole, arranged=arranged)


def union(fields: Sequence[ReceptiveField]) -> ReceptiveField:
    """Return the smallest receptive field that covers those of several inputs.

    Its units have positions if those of some input have, and all agree on the distance between
    units. Inputs without positions must see the whole image.
    """
    placed = [field for field in fields if field.stride is not None]
    whole = next((field for field in fields if field.whole), None)
    agree = len({field.stride for field in placed}) == 1
    if not agree or not all(field.whole for field in fields if field.stride is None):
        size = _pair(max(field.size[axis] for field in fields) for axis in (0, 1))
        return ReceptiveField(size, None, None, whole is not None, lost=whole is None)
    if whole is not None:
        offset = _start(_centre(placed[0]), whole.size)
        return ReceptiveField(whole.size, placed[0].stride, offset, whole=True)
    offsets = [field.offset or (0, 0) for field in placed]
    start = _pair(min(offset[axis] for offset in offsets) for axis in (0, 1))
    size = _pair(
        max(offset[axis] + field.size[axis] for offset, field in zip(offsets, placed, strict=True))
        - start[axis]
        for axis in (0, 1)
    )
    return ReceptiveField(size, placed[0].stride, start)


def _whole(image: Shape, place: ReceptiveField | None) -> ReceptiveField:
    """Return the field of units that see the whole image, at the places of another field."""
    size = (image[0], image[1])
    if place is None or place.stride is None:
        return ReceptiveField(size, None, None, whole=True)
    return ReceptiveField(size, place.stride, _start(_centre(place), size), whole=True)


def _centre(field: ReceptiveField) -> Pair:
    """Return the middle of what unit (0, 0) sees."""
    offset = field.offset or (0, 0)
    return _pair(offset[axis] + Fraction(field.size[axis] - 1) / 2 for axis in (0, 1))


def _start(centre: Pair, size: Pair) -> Pair:
    return _pair(centre[axis] - Fraction(size[axis] - 1) / 2 for axis in (0, 1))


def _pair(values: Iterable[Real]) -> Pair:
    rows, columns = values
    return rows, columns
