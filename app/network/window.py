"""Windows that slide over rows and columns: the geometry of convolutions and poolings.

Arrays are `[N, H, W, C]`. A tap is one of the positions that a window reads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from app.network.functions import Array
from app.network.geometry import Patch, Shape
from app.network.operation import Config

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """How a window slides.

    Attributes:
        size: Rows and columns of taps.
        strides: Distance between neighbouring windows, in rows and columns.
        padding: `valid` for none, `same` for TensorFlow's padding with zeros, which poolings
            leave out of their result.
        dilation: Distance between neighbouring taps, in rows and columns.
    """

    size: Pair
    strides: Pair = (1, 1)
    padding: Literal["valid", "same"] = "valid"
    dilation: Pair = (1, 1)

    @classmethod
    def from_keras(cls, config: Config, size: Any) -> "Window":
        """Return the window of a Keras layer.

        Args:
            config: The layer's configuration.
            size: Its kernel or pool size: a number, or rows and columns.
        """
        return cls(
            pair(size),
            pair(config.get("strides") or size),
            config["padding"],
            pair(config.get("dilation_rate", 1)),
        )

    def _extent(self, axis: int) -> int:
        """Return how many rows or columns the window covers, gaps between taps included."""
        return (self.size[axis] - 1) * self.dilation[axis] + 1

    def output_size(self, shape: Shape) -> Pair:
        """Return height and width of the output for an input `[H, W, C]`."""
        sizes = []
        for axis in (0, 1):
            starts = shape[axis] if self.padding == "same" else shape[axis] - self._extent(axis) + 1
            sizes.append(-(-starts // self.strides[axis]))
        return sizes[0], sizes[1]

    def pads(self, shape: Shape) -> tuple[Pair, Pair]:
        """Return the rows (above, below) and columns (left, right) that the padding adds."""
        if self.padding == "valid":
            return (0, 0), (0, 0)
        output, pads = self.output_size(shape), []
        for axis in (0, 1):
            needed = (output[axis] - 1) * self.strides[axis] + self._extent(axis)
            total = max(needed - shape[axis], 0)
            pads.append((total // 2, total - total // 2))
        return pads[0], pads[1]

    def footprint(self, shape: Shape) -> Patch:
        """Return what one window reads of an input `[H, W, C]`."""
        (top, _), (left, _) = self.pads(shape)
        return Patch((self._extent(0), self._extent(1)), self.strides, (-top, -left))

    def taps(self, shape: Shape) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
        """Yield each tap's row and column, and the slice of the padded input that it reads."""
        height, width = self.output_size(shape)
        for i in range(self.size[0]):
            for j in range(self.size[1]):
                top, left = i * self.dilation[0], j * self.dilation[1]
                rows = slice(top, top + (height - 1) * self.strides[0] + 1, self.strides[0])
                columns = slice(left, left + (width - 1) * self.strides[1] + 1, self.strides[1])
                yield i, j, (slice(None), rows, columns)

    def corner(self, shape: Shape, y: int, x: int) -> Pair:
        """Return the input row and column that the first tap of output (y, x) reads."""
        (top, _), (left, _) = self.pads(shape)
        return y * self.strides[0] - top, x * self.strides[1] - left

    def taps_inside(self, shape: Shape, y: int, x: int) -> list[tuple[int, int, int, int]]:
        """Return the taps of output (y, x) outside the padding: (i, j, row, column)."""
        top, left = self.corner(shape, y, x)
        inside = []
        for i in range(self.size[0]):
            for j in range(self.size[1]):
                row, column = top + i * self.dilation[0], left + j * self.dilation[1]
                if 0 <= row < shape[0] and 0 <= column < shape[1]:
                    inside.append((i, j, row, column))
        return inside

    def padded(self, x: Array, fill: float = 0.0) -> Array:
        """Return `x` with the padding around it."""
        pads = self.pads(x.shape[1:])
        if not any(map(any, pads)):
            return x
        return np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill)

    def unpadded(self, padded: Array, shape: Shape) -> Array:
        """Remove what `padded` added to an input `[H, W, C]`."""
        (top, _), (left, _) = self.pads(shape)
        return padded[:, top : top + shape[0], left : left + shape[1]]

    def formula(self, channel: str) -> str:
        """Return which input tap (a, b) of output (i, j) reads, such as `x[c, 2 i + a, 2 j + b]`.

        Args:
            channel: Name of the input's channel.
        """
        places = []
        for axis, (output, tap) in enumerate((("i", "a"), ("j", "b"))):
            stride, dilation = self.strides[axis], self.dilation[axis]
            start = output if stride == 1 else f"{stride} {output}"
            step = tap if dilation == 1 else f"{dilation} {tap}"
            pad = f" - p_{'yx'[axis]}" if self.padding == "same" else ""
            places.append(f"{start} + {step}{pad}")
        return f"x[{channel}, {places[0]}, {places[1]}]"


def pair(value: Any) -> Pair:
    """Return Keras's number, or pair of numbers, as a pair."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def pairs(value: Any) -> tuple[Pair, Pair]:
    """Return Keras's padding or cropping as rows (above, below) and columns (left, right)."""
    if isinstance(value, int):
        value = (value, value)
    rows, columns = (pair(part) for part in value)
    return rows, columns
