"""Windows that slide over an image: convolutions and poolings, forwards and backwards.

Arrays are `[N, H, W, C]`. A window never copies weights; a batch is unrolled into columns once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.network.functions import LINEAR, Array, Function


@dataclass(frozen=True)
class Window:
    """How a window slides.

    Attributes:
        size: Height and width in taps.
        strides: Steps between windows.
        padding: `valid`, or `same` for TensorFlow's padding with zeros (ignored by poolings).
        dilation: Distance between taps.
    """

    size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Literal["valid", "same"] = "valid"
    dilation: tuple[int, int] = (1, 1)

    def output_size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return height and width of what comes out, for an input `[H, W, C]`."""
        sizes = []
        for axis in (0, 1):
            reach = (self.size[axis] - 1) * self.dilation[axis] + 1
            room = shape[axis] if self.padding == "same" else shape[axis] - reach + 1
            sizes.append(-(-room // self.strides[axis]))
        return sizes[0], sizes[1]

    def pads(self, shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the rows and columns that `same` adds before and after."""
        if self.padding == "valid":
            return (0, 0), (0, 0)
        out, pads = self.output_size(shape), []
        for axis in (0, 1):
            reach = (self.size[axis] - 1) * self.dilation[axis] + 1
            total = max((out[axis] - 1) * self.strides[axis] + reach - shape[axis], 0)
            pads.append((total // 2, total - total // 2))
        return pads[0], pads[1]

    def taps(self, shape: tuple[int, ...]) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
        """Give each tap with the slice of the padded input `[N, H, W, C]` that it reads."""
        height, width = self.output_size(shape)
        for i in range(self.size[0]):
            for j in range(self.size[1]):
                top, left = i * self.dilation[0], j * self.dilation[1]
                rows = slice(top, top + (height - 1) * self.strides[0] + 1, self.strides[0])
                columns = slice(left, left + (width - 1) * self.strides[1] + 1, self.strides[1])
                yield i, j, (slice(None), rows, columns)

    def corner(self, shape: tuple[int, ...], y: int, x: int) -> tuple[int, int]:
        """Return the input row and column that the first tap of output (y, x) reads."""
        (top, _), (left, _) = self.pads(shape)
        return y * self.strides[0] - top, x * self.strides[1] - left

    def inside(self, shape: tuple[int, ...], y: int, x: int) -> list[tuple[int, int, int, int]]:
        """Return the taps of output (y, x) that lie on the input: (i, j, row, column)."""
        top, left = self.corner(shape, y, x)
        found = []
        for i in range(self.size[0]):
            for j in range(self.size[1]):
                row, column = top + i * self.dilation[0], left + j * self.dilation[1]
                if 0 <= row < shape[0] and 0 <= column < shape[1]:
                    found.append((i, j, row, column))
        return found

    def padded(self, x: Array, fill: float = 0.0) -> Array:
        """Return `x` with the rows and columns that `same` adds."""
        pads = self.pads(x.shape[1:])
        if not any(map(any, pads)):
            return x
        return np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill)

    def cropped(self, grown: Array, shape: tuple[int, ...]) -> Array:
        """Undo `padded`."""
        (top, _), (left, _) = self.pads(shape)
        return grown[:, top : top + shape[0], left : left + shape[1]]


@dataclass(frozen=True)
class Convolution:
    """A convolution, plain, grouped or depthwise, with bias and activation.

    Attributes:
        kernel: `[kh, kw, C_in / groups, C_out]`; output channels of a group lie together.
        bias: `[C_out]`, or None.
        groups: Into how many the input's channels fall; `C_in` for a depthwise convolution.
    """

    kernel: Array
    bias: Array | None
    window: Window
    groups: int = 1
    activation: Function = LINEAR

    def linear(self, x: Array) -> Array:
        """Return what enters the activation, `[N, H', W', C_out]`."""
        size = self.window.output_size(x.shape[1:])
        out: Array
        if self.groups == 1:
            out = self._columns(x) @ self.kernel.reshape(-1, self.kernel.shape[-1])
        else:
            out = self._grouped(x)
        out = out.reshape(len(x), *size, -1)
        return np.asarray(out if self.bias is None else out + self.bias)

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's output."""
        return self.activation.value(self.linear(inputs[0]))

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        (x,) = inputs
        if self.activation is not LINEAR:
            grad = grad * self.activation.slope(self.linear(x), output)
        grown = np.zeros_like(self.window.padded(x))
        taps = list(self.window.taps(x.shape[1:]))
        if self.groups == 1:
            flat = self.kernel.reshape(-1, self.kernel.shape[-1])
            spread = grad.reshape(-1, grad.shape[-1]) @ flat.T
            spread = spread.reshape(*grad.shape[:3], *self.kernel.shape[:3])
            for i, j, at in taps:
                grown[at] += spread[:, :, :, i, j]
        else:
            kernel = self._by_group()
            grouped = grad.reshape(*grad.shape[:3], self.groups, -1)
            for i, j, at in taps:
                part = np.einsum("nyxgm,gcm->nyxgc", grouped, kernel[i, j])
                grown[at] += part.reshape(*grad.shape[:3], -1)
        return [self.window.cropped(grown, x.shape[1:])]

    def _columns(self, x: Array) -> Array:
        height, width = self.window.output_size(x.shape[1:])
        columns = np.empty((len(x), height, width, *self.kernel.shape[:3]), x.dtype)
        padded = self.window.padded(x)
        for i, j, at in self.window.taps(x.shape[1:]):
            columns[:, :, :, i, j] = padded[at]
        return columns.reshape(-1, int(np.prod(self.kernel.shape[:3])))

    def _by_group(self) -> Array:
        """Return the kernel as `[kh, kw, groups, C_in / groups, C_out / groups]`."""
        kh, kw, depth, _ = self.kernel.shape
        return self.kernel.reshape(kh, kw, depth, self.groups, -1).swapaxes(2, 3)

    def _grouped(self, x: Array) -> Array:
        kernel, padded = self._by_group(), self.window.padded(x)
        size = self.window.output_size(x.shape[1:])
        out = np.zeros((len(x), *size, self.groups, kernel.shape[-1]), x.dtype)
        for i, j, at in self.window.taps(x.shape[1:]):
            part = padded[at].reshape(len(x), *size, self.groups, -1)
            out += np.einsum("nyxgc,gcm->nyxgm", part, kernel[i, j])
        return out


@dataclass(frozen=True)
class Pooling:
    """The largest value or the mean of each window; what `same` adds does not count."""

    window: Window
    how: Literal["max", "average"]

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's output."""
        (x,) = inputs
        size = (*self.window.output_size(x.shape[1:]), x.shape[-1])
        if self.how == "average":
            padded = self.window.padded(x)
            total = np.zeros((len(x), *size), x.dtype)
            for _, _, at in self.window.taps(x.shape[1:]):
                total += padded[at]
            return np.asarray(total / self._counts(x))
        padded = self.window.padded(x, -np.inf)
        best = np.full((len(x), *size), -np.inf, x.dtype)
        for _, _, at in self.window.taps(x.shape[1:]):
            np.maximum(best, padded[at], out=best)
        return best

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input; of equal maxima the first gets all of it."""
        (x,) = inputs
        padded = self.window.padded(x, -np.inf if self.how == "max" else 0.0)
        grown = np.zeros_like(padded)
        if self.how == "average":
            share = grad / self._counts(x)
            for _, _, at in self.window.taps(x.shape[1:]):
                grown[at] += share
        else:
            free = np.ones(output.shape, bool)
            for _, _, at in self.window.taps(x.shape[1:]):
                won = free & (padded[at] == output)
                grown[at] += np.where(won, grad, 0)
                free &= ~won
        return [self.window.cropped(grown, x.shape[1:])]

    def _counts(self, x: Array) -> Array:
        """Return how many values of the input each window covers, `[1, H', W', 1]`."""
        ones = self.window.padded(np.ones((1, *x.shape[1:3], 1), x.dtype))
        counts = np.zeros((1, *self.window.output_size(x.shape[1:]), 1), x.dtype)
        for _, _, at in self.window.taps(x.shape[1:]):
            counts += ones[at]
        return counts


@dataclass(frozen=True)
class GlobalPooling:
    """The largest value or the mean of each whole channel."""

    how: Literal["max", "average"]
    keepdims: bool = False

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return `[N, C]`, or `[N, 1, 1, C]`."""
        reduce = np.max if self.how == "max" else np.mean
        return np.asarray(reduce(inputs[0], axis=(1, 2), keepdims=self.keepdims))

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input; equal maxima share it, as in TensorFlow."""
        (x,) = inputs
        grad = grad.reshape(len(x), 1, 1, -1)
        if self.how == "average":
            return [np.broadcast_to(grad / (x.shape[1] * x.shape[2]), x.shape)]
        won = (x == output.reshape(len(x), 1, 1, -1)).astype(x.dtype)
        return [won * grad / won.sum(axis=(1, 2), keepdims=True)]
