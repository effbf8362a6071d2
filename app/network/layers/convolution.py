"""Convolutions over rows, or over rows and columns: strided, dilated, grouped and depthwise.

Arrays are `[N, H, W, C]` or `[N, T, C]`. The windows of a few images at a time are unrolled into
the rows of a matrix, so that a convolution is a matrix product (Chellapilla et al., 2006).
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from app.network.equation import MAX_TERMS, Equation, UnitInputs, operand, sum_of
from app.network.functions import Array, Function
from app.network.geometry import Footprint, Unit
from app.network.layers.weighted_sum import (
    WeightedSum,
    kernel_and_bias,
    shuffled,
    with_activation,
)
from app.network.operation import LayerKind, Operation, SavedLayer, Shapes
from app.network.window import Window, bordered, bordered_shape

MAX_COLUMNS = 1 << 23  # values of an unrolled image, 32 MiB; larger ones are multiplied tap by tap
BLOCK_COLUMNS = 1 << 18  # values of unrolled images, 1 MiB: as large as the L2 cache of a core
MIN_MIRROR_DEPTH = 8  # input channels; for fewer, the gradient is faster tap by tap


@dataclass(frozen=True)
class Convolution(WeightedSum):
    """A convolution with bias and activation.

    Attributes:
        kernel: `[*window, C_in / groups, C_out]`; output channels of a group are neighbours.
        window: How the kernel slides.
        groups: Number of groups of input channels; `C_in` for a depthwise convolution.
    """

    kernel: Array
    window: Window
    groups: int = 1

    def sums(self, x: Array) -> Array:
        """Return the weighted sums, `[N, *positions, C_out]`."""
        size = self.window.output_size(x.shape[1:])
        columns = math.prod(size) * math.prod(self.kernel.shape[:-1])
        if self.groups == 1 and columns <= MAX_COLUMNS:
            return _convolved(self.window.padded(x), self.window, self.kernel)
        return self._by_tap(x).reshape(len(x), *size, -1)

    def sums_backward(self, x: Array, grad: Array) -> Array:
        """Return the gradient of the input."""
        if self._is_mirrored(grad):
            return self._mirrored(grad)
        total = np.zeros(bordered_shape(x.shape, self.window.pads(x.shape[1:])), x.dtype)
        kernel = self.kernel.reshape(-1, grad.shape[-1])
        if self.groups == 1 and math.prod(grad.shape[:-1]) * len(kernel) <= MAX_COLUMNS:
            parts = grad.reshape(-1, grad.shape[-1]) @ kernel.T
            by_tap = parts.reshape(*grad.shape[:-1], *self.window.size, -1)
            for tap, at in self.window.taps(x.shape[1:]):
                place: tuple[Any, ...] = (..., *tap, slice(None))
                total[at] += by_tap[place]
        else:
            grouped = grad.reshape(*grad.shape[:-1], self.groups, -1)
            for tap, at in self.window.taps(x.shape[1:]):
                part = np.einsum("n...gm,gcm->n...gc", grouped, self._by_group()[tap])
                total[at] += part.reshape(*grad.shape[:-1], -1)
        return self.window.unpadded(total, x.shape[1:])

    def _is_mirrored(self, grad: Array) -> bool:
        """Tell whether the gradient is cheaper as a convolution than tap by tap.

        It is if the output has as many positions as the input and the input many channels.
        """
        window, depth = self.window, self.kernel.shape[-2]
        columns = math.prod(grad.shape[1:]) * math.prod(window.size)
        return (
            self.groups == 1
            and window.padding == "same"
            and set(window.strides) == {1}
            and depth >= MIN_MIRROR_DEPTH
            and columns <= MAX_COLUMNS
        )

    def _mirrored(self, grad: Array) -> Array:
        """Return the gradient of the input: that of the output, convolved with the mirrored kernel.

        Dumoulin and Visin, 2016, arXiv:1603.07285, section 4.3.
        """
        window, pads = self.window, []
        for axis, (before, behind) in zip(window.axes, window.pads(grad.shape[1:]), strict=True):
            reach = window.extent(axis) - 1
            pads.append((reach - before, reach - behind))
        mirrored = np.flip(self.kernel, window.axes).swapaxes(-1, -2)
        return _convolved(bordered(grad, pads), window, np.ascontiguousarray(mirrored))

    def _by_group(self) -> Array:
        """Return the kernel as `[*window, groups, C_in / groups, C_out / groups]`."""
        *window, depth, _ = self.kernel.shape
        return self.kernel.reshape(*window, depth, self.groups, -1).swapaxes(-3, -2)

    def _by_tap(self, x: Array) -> Array:
        kernel, padded = self._by_group(), self.window.padded(x)
        size = self.window.output_size(x.shape[1:])
        out = np.zeros((len(x), *size, self.groups, kernel.shape[-1]), x.dtype)
        for tap, at in self.window.taps(x.shape[1:]):
            if self.groups == 1:
                part = padded[at].reshape(-1, x.shape[-1]) @ self.kernel[tap]
                out += part.reshape(out.shape)
            else:
                part = padded[at].reshape(len(x), *size, self.groups, -1)
                out += np.einsum("n...gc,gcm->n...gm", part, kernel[tap])
        return out

    def kernel_gradients(self, x: Array, grad: Array) -> dict[str, Array]:
        """Return for each tap the products of what it reads and the gradients, summed."""
        padded, found = self.window.padded(x), np.empty(self._by_group().shape, grad.dtype)
        grouped = grad.reshape(-1, self.groups, grad.shape[-1] // self.groups).swapaxes(0, 1)
        for tap, at in self.window.taps(x.shape[1:]):
            part = padded[at].reshape(-1, self.groups, x.shape[-1] // self.groups)
            found[tap] = part.transpose(1, 2, 0) @ grouped
        return {"kernel": found.swapaxes(-3, -2).reshape(self.kernel.shape)}

    def with_kernel(self, name: str, kernel: Array) -> "Convolution":
        """Return the layer with another kernel."""
        return replace(self, kernel=kernel.reshape(self.kernel.shape))

    def weight_reads(self, shapes: Shapes, name: str, place: int, unit: Unit) -> Unit | None:
        """Return the unit that the weight's tap reads; None in the padding."""
        if name != "kernel":
            return None
        *tap, depth, channel = (int(at) for at in np.unravel_index(place, self.kernel.shape))
        group = channel // (self.kernel.shape[-1] // self.groups)
        reads = dict(self.window.taps_inside(shapes.input, unit[:-1]))
        read = reads.get(tuple(tap))
        return None if read is None else (*read, group * self.kernel.shape[-2] + depth)

    def scaled(self, scale: Array, shift: Array) -> "Convolution":
        """Return the layer with a scaled kernel and bias."""
        bias = self.scaled_bias(scale, shift)
        return replace(self, kernel=self.kernel * scale, bias=bias)

    @property
    def sum_formula(self) -> tuple[str, str]:
        """Return the sum over the window and the channels."""
        window = self.window
        channels = "k" if self.groups == 1 else "k of the group of c"
        total = (
            f"sum over {channels}, {window.tap_ranges} of"
            f" {window.formula('k')} K[{window.tap_names}, k, c]{self.bias_term}"
        )
        return f"{window.output_names}, c", total

    def sentence(self, shapes: Shapes) -> str:
        """Return what the kernels do."""
        depth = self.kernel.shape[-2]
        reads = f"all {depth} channels"
        if shapes.input[-1] == 1:
            reads = "the one channel"
        elif self.groups > 1:
            reads = f"{depth} channels each" if depth > 1 else "one channel each"
        return kernel_sentence(f"{shapes.channels} kernels of {self.window.size_text}", reads, self)

    def equation(self, at: UnitInputs) -> Equation:
        """Return the sum of products with the unit's numbers."""
        *place, channel = at.unit
        depth = self.kernel.shape[-2]
        group = channel // (self.kernel.shape[-1] // self.groups)
        kernel = self.kernel[..., channel].astype(np.float64)  # (*window, depth)
        patch = np.zeros_like(kernel)
        for tap, read in self.window.taps_inside(at.x.shape, place):
            patch[tap] = at.x[read][group * depth : (group + 1) * depth]
        products = patch * kernel
        sums = products.sum(axis=self.window.axes)
        text = sum_of(sums, "channel")
        if products.size <= MAX_TERMS:
            text = " + ".join(
                f"{operand(value)} · {operand(weight)}"
                for value, weight in zip(patch.flat, kernel.flat, strict=True)
            )
        operands = {
            "patch": patch,
            "kernel": kernel,
            "products": products,
            "corner": list(self.window.corner(at.x.shape, place)),
            "input_channels": [group * depth, (group + 1) * depth - 1],
        }
        return self.sum_equation(at, operands, sums, text, sums)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Count each weight once for each position of the output."""
        return math.prod(shapes.output[:-1]) * int(self.kernel.size)

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return the window."""
        return self.window.footprint(shapes.input)

    @property
    def is_convolution(self) -> bool:
        """Return True."""
        return True

    @property
    def has_channel_kernels(self) -> bool:
        """Return True; a depthwise one has them, too, but stores them in another shape."""
        return True

    def shuffled(self, rng: np.random.Generator) -> "Convolution":
        """Return the convolution with the numbers of its kernel in random order."""
        return replace(self, kernel=shuffled(self.kernel, rng))


def _convolved(padded: Array, window: Window, kernel: Array) -> Array:
    """Return the sums of a kernel `[*window, C_in, C_out]` over the windows of a padded input."""
    windows = window.windows(padded)
    size, depth = windows.shape[1 : 1 + len(window.size)], math.prod(kernel.shape[:-1])
    kernel = kernel.reshape(depth, -1)
    out = np.empty((len(padded), *size, kernel.shape[-1]), np.result_type(padded, kernel))
    step = max(1, BLOCK_COLUMNS // (math.prod(size) * depth))
    for start in range(0, len(padded), step):
        part = slice(start, start + step)
        unrolled = windows[part].reshape(-1, depth)
        np.matmul(unrolled, kernel, out=out[part].reshape(len(unrolled), -1))
    return out


def kernel_sentence(kernels: str, reads: str, convolution: Convolution) -> str:
    """Return what sliding kernels do.

    Args:
        kernels: The kernels, with number and size.
        reads: The channels that one reads.
        convolution: Its strides, bias and activation.
    """
    strides = convolution.window.strides
    steps = "" if set(strides) == {1} else f" in steps of {'x'.join(map(str, strides))}"
    then = f"{convolution.bias_clause}{convolution.activation_clause}"
    return (
        f"Slides {kernels} over {reads}{steps} and computes"
        f" at each position how well the kernel fits{then}."
    )


def _convolution(axes: int) -> LayerKind:
    def build(saved: SavedLayer, function: Function) -> Operation:
        config, weights = saved.config, saved.weights
        size, shape = config["kernel_size"], saved.shapes.input
        window = Window.from_keras(config, size, axes, shape)
        groups, bias = int(config.get("groups", 1)), weights.get("bias")
        return Convolution(weights["kernel"], window, groups, bias=bias, function=function)

    return LayerKind(with_activation(build), kernel_and_bias)


def _depthwise(axes: int) -> LayerKind:
    def build(saved: SavedLayer, function: Function) -> Operation:
        window = Window.from_keras(
            saved.config, saved.config["kernel_size"], axes, saved.shapes.input
        )
        kernel, channels = by_channel(saved.weights["kernel"])
        bias = saved.weights.get("bias")
        return Convolution(kernel, window, channels, bias=bias, function=function)

    return LayerKind(with_activation(build), kernel_and_bias)


def by_channel(kernel: Array) -> tuple[Array, int]:
    """Return a depthwise kernel as that of a grouped convolution, and the number of groups.

    Args:
        kernel: `[*window, C_in, multiplier]`.
    """
    *window, channels, multiplier = kernel.shape
    return kernel.reshape(*window, 1, channels * multiplier), channels


KINDS = {
    "Conv1D": _convolution(1),
    "Conv2D": _convolution(2),
    "DepthwiseConv1D": _depthwise(1),
    "DepthwiseConv2D": _depthwise(2),
}
