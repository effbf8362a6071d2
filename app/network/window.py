"""Windows that slide over the positions of an array: the geometry of convolutions and poolings.

Arrays are `[N, H, W, C]`, or `[N, T, C]` for layers that slide over rows alone. A tap is one of the
positions that a window reads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided

from app.network.functions import Array
from app.network.geometry import Patch, Shape
from app.network.operation import Config

Sizes = tuple[int, ...]  # one number for each axis: rows, columns
_AXES = (("i", "a"), ("j", "b"))  # names of output and tap in formulas


@dataclass(frozen=True)
class Window:
    """How a window slides.

    Attributes:
        size: Taps along each axis.
        strides: Distance between neighbouring windows.
        padding: `valid` for none, `same` for TensorFlow's padding with zeros, which poolings
            leave out of their result, `causal` for zeros before the first row alone.
        dilation: Distance between neighbouring taps.
        before: Rows and columns of padding before the first of the input, for formulas.
    """

    size: Sizes
    strides: Sizes
    padding: Literal["valid", "same", "causal"]
    dilation: Sizes
    before: Sizes = (0, 0)

    @classmethod
    def from_keras(cls, config: Config, size: Any, axes: int, shape: Shape) -> "Window":
        """Return the window of a Keras layer.

        Args:
            config: The layer's configuration.
            size: Its kernel or pool size: a number, or one for each axis.
            axes: Number of axes that the window slides over.
            shape: Shape of its input, `[..., C]`.
        """
        window = cls(
            sizes(size, axes),
            sizes(config.get("strides") or size, axes),
            config["padding"],
            sizes(config.get("dilation_rate", 1), axes),
        )
        return replace(window, before=tuple(before for before, _ in window.pads(shape)))

    @property
    def axes(self) -> tuple[int, ...]:
        """Return the axes of a tap in an array without the batch."""
        return tuple(range(len(self.size)))

    def extent(self, axis: int) -> int:
        """Return how many rows or columns the window covers, gaps between taps included."""
        return (self.size[axis] - 1) * self.dilation[axis] + 1

    def output_size(self, shape: Shape) -> Sizes:
        """Return the positions of the output for an input `[..., C]`."""
        return tuple(
            -(-(shape[axis] + self._added(axis) - self.extent(axis) + 1) // self.strides[axis])
            for axis in self.axes
        )

    def _added(self, axis: int) -> int:
        """Return the padding that `output_size` counts with: as much as keeps the size."""
        return 0 if self.padding == "valid" else self.extent(axis) - 1

    def pads(self, shape: Shape) -> tuple[tuple[int, int], ...]:
        """Return the rows (above, below) and columns (left, right) that the padding adds."""
        if self.padding == "valid":
            return ((0, 0),) * len(self.size)
        if self.padding == "causal":
            return tuple((self.extent(axis) - 1, 0) for axis in self.axes)
        output, pads = self.output_size(shape), []
        for axis in self.axes:
            needed = (output[axis] - 1) * self.strides[axis] + self.extent(axis)
            total = max(needed - shape[axis], 0)
            pads.append((total // 2, total - total // 2))
        return tuple(pads)

    def footprint(self, shape: Shape, channel_shift: int | None = None) -> Patch:
        """Return what one window reads of an input `[..., C]`; see `Patch.channel_shift`."""
        starts = [-before for before, _ in self.pads(shape)]
        extents = [self.extent(axis) for axis in self.axes]
        return Patch(
            (extents[0], extents[1] if len(extents) > 1 else 1),
            (self.strides[0], self.strides[1] if len(extents) > 1 else 1),
            (starts[0], starts[1] if len(extents) > 1 else 0),
            channel_shift,
        )

    def taps(self, shape: Shape) -> Iterator[tuple[Sizes, tuple[slice, ...]]]:
        """Yield each tap, and the slice of the padded input `[N, ..., C]` that it reads."""
        output = self.output_size(shape)
        for tap in product(*map(range, self.size)):
            starts = [at * step for at, step in zip(tap, self.dilation, strict=True)]
            places = (
                slice(start, start + (count - 1) * stride + 1, stride)
                for start, count, stride in zip(starts, output, self.strides, strict=True)
            )
            yield tap, (slice(None), *places)

    def corner(self, shape: Shape, place: Sequence[int]) -> Sizes:
        """Return the input's position that the first tap of an output's position reads."""
        return tuple(
            at * stride - before
            for at, stride, (before, _) in zip(place, self.strides, self.pads(shape), strict=True)
        )

    def taps_inside(self, shape: Shape, place: Sequence[int]) -> list[tuple[Sizes, Sizes]]:
        """Return the taps of an output's position outside the padding: (tap, input's position)."""
        corner, inside = self.corner(shape, place), []
        for tap in product(*map(range, self.size)):
            read = tuple(
                start + at * step
                for start, at, step in zip(corner, tap, self.dilation, strict=True)
            )
            if all(0 <= at < size for at, size in zip(read, shape, strict=False)):
                inside.append((tap, read))
        return inside

    def padded(self, x: Array, fill: float = 0.0) -> Array:
        """Return `x` with the padding around it."""
        pads = self.pads(x.shape[1:])
        return bordered(x, pads, fill) if any(map(any, pads)) else x

    def windows(self, padded: Array) -> Array:
        """Return what each window reads of a padded input `[N, ..., C]`.

        Returns:
            A read-only view `[N, *positions, *size, C]`; windows that overlap share memory.
        """
        batch, *places, channel = padded.strides
        counts = (
            (padded.shape[1 + axis] - self.extent(axis)) // self.strides[axis] + 1
            for axis in self.axes
        )
        between = (at * step for at, step in zip(places, self.strides, strict=True))
        within = (at * step for at, step in zip(places, self.dilation, strict=True))
        return as_strided(
            padded,
            (len(padded), *counts, *self.size, padded.shape[-1]),
            (batch, *between, *within, channel),
            writeable=False,
        )

    def unpadded(self, padded: Array, shape: Shape) -> Array:
        """Remove what `padded` added to an input `[..., C]`."""
        places = (
            slice(before, before + size)
            for (before, _), size in zip(self.pads(shape), shape, strict=False)
        )
        return padded[(slice(None), *places)]

    def formula(self, channel: str) -> str:
        """Return which input tap (a, b) of output (i, j) reads, such as `x[2 i + a, 2 j + b, c]`.

        Args:
            channel: Name of the input's channel.
        """
        places = []
        for axis, (output, tap) in zip(self.axes, _AXES, strict=False):
            stride, dilation = self.strides[axis], self.dilation[axis]
            start = output if stride == 1 else f"{stride} {output}"
            step = tap if dilation == 1 else f"{dilation} {tap}"
            pad = f" - {self.before[axis]}" if self.before[axis] else ""
            places.append(f"{start} + {step}{pad}")
        return f"x[{', '.join(places)}, {channel}]"

    @property
    def output_names(self) -> str:
        """Return the names of an output's position in formulas, such as `i, j`."""
        return ", ".join(output for output, _ in _AXES[: len(self.size)])

    @property
    def tap_names(self) -> str:
        """Return the names of a tap in formulas, such as `a, b`."""
        return ", ".join(tap for _, tap in _AXES[: len(self.size)])

    @property
    def tap_ranges(self) -> str:
        """Return which taps formulas go through, such as `a < 3, b < 3`."""
        return ", ".join(
            f"{tap} < {size}" for (_, tap), size in zip(_AXES, self.size, strict=False)
        )

    @property
    def size_text(self) -> str:
        """Return the size in words, such as `3x3`."""
        return "x".join(map(str, self.size))


def bordered(x: Array, pads: Sequence[tuple[int, int]], fill: float = 0.0) -> Array:
    """Return an array `[N, ..., C]` with a border: as `np.pad`, which takes 30 us longer.

    Args:
        x: The array.
        pads: Places before and behind, of each axis between the first and the last.
        fill: The value in the border.
    """
    places = zip(pads, x.shape[1:-1], strict=True)
    inside = tuple(slice(before, before + size) for (before, _), size in places)
    out = np.full(bordered_shape(x.shape, pads), fill, x.dtype)
    out[(slice(None), *inside)] = x
    return out


def bordered_shape(shape: Shape, pads: Sequence[tuple[int, int]]) -> Shape:
    """Return the shape of an array `[N, ..., C]` with a border; see `bordered`."""
    places = zip(pads, shape[1:-1], strict=True)
    return (shape[0], *(sum(pad) + size for pad, size in places), shape[-1])


def sizes(value: Any, axes: int) -> Sizes:
    """Return Keras's number, or list of numbers, as one number for each axis."""
    if isinstance(value, int):
        return (value,) * axes
    return tuple(int(part) for part in value)


def borders(value: Any, axes: int) -> tuple[tuple[int, int], ...]:
    """Return Keras's padding or cropping as (before, behind) of each axis."""
    if isinstance(value, int):
        return ((value, value),) * axes
    if axes == 1:
        before, behind = sizes(value, 2)
        return ((before, behind),)
    rows, columns = (sizes(part, 2) for part in value)
    return (rows[0], rows[1]), (columns[0], columns[1])
