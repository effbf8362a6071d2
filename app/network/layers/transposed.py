"""Transposed convolutions, which enlarge: the gradient of a convolution, used as a layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from app.network.equation import Equation, UnitInputs, sum_of, weighted_sum
from app.network.functions import LINEAR, Array, Function
from app.network.geometry import Footprint, Patch, Shape
from app.network.layers.convolution import kernel_and_bias, shuffled
from app.network.operation import (
    LayerKind,
    Operation,
    SavedLayer,
    Shapes,
    Unsupported,
    activation_of,
)
from app.network.window import Window


@dataclass(frozen=True)
class TransposedConvolution(Operation):
    """Each input value adds a scaled kernel to the output, with bias and activation.

    Attributes:
        kernel: `[*window, C_out, C_in]`.
        bias: `[C_out]`, or None.
        window: How the convolution slides whose gradient this layer is; it slides over the output.
        shape: Shape of the output, without the batch.
        function: The activation function.
    """

    kernel: Array
    bias: Array | None
    window: Window
    shape: Shape
    function: Function = LINEAR

    def linear(self, x: Array) -> Array:
        """Return the input of the activation function, `[N, *positions, C_out]`."""
        total = self.window.padded(np.zeros((len(x), *self.shape), x.dtype))
        flat = x.reshape(-1, x.shape[-1])
        for tap, at in self.window.taps(self.shape):
            part = flat @ self.kernel[tap].T
            total[at] += part.reshape(*x.shape[:-1], -1)
        out = self.window.unpadded(total, self.shape)
        return np.asarray(out if self.bias is None else out + self.bias)

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's output."""
        return self.function.value(self.linear(inputs[0]))

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        (x,) = inputs
        if self.function is not LINEAR:
            grad = grad * self.function.slope(self.linear(x), output)
        padded, total = self.window.padded(grad), np.zeros_like(x)
        for tap, at in self.window.taps(self.shape):
            part = padded[at].reshape(-1, grad.shape[-1]) @ self.kernel[tap]
            total += part.reshape(x.shape)
        return [total]

    @property
    def formula(self) -> str:
        """Return the sum over all input values whose kernel covers a unit."""
        window = self.window
        bias = " + b[c]" if self.bias is not None else ""
        total = (
            f"sum over k, {window.tap_ranges} of x[k, p] K[{window.tap_names}, c, k]{bias},"
            f" where the kernel of p covers ({window.output_names})"
        )
        if self.function is LINEAR:
            return f"y[c, {window.output_names}] = {total}"
        return f"y = f(z), f(x) = {self.function.formula}, z = {total}"

    def sentence(self, shapes: Shapes) -> str:
        """Return what the kernels do, and both sizes."""
        before, after = shapes.size_text()
        applies = "" if self.function is LINEAR else f", then applies {self.function.name}"
        bias = ", adds a bias" if self.bias is not None else ""
        return (
            f"Lays a kernel of {self.window.size_text} at each position, scaled by the value there,"
            f" and adds up where they overlap{bias}{applies}: {before} becomes {after}."
        )

    def equation(self, at: UnitInputs) -> Equation:
        """Return the sum of products with the unit's numbers."""
        *place, channel = at.unit
        taps, reads = [], []
        for tap, read in self._sources(at.x.shape, place):
            taps.append(tap)
            reads.append(read)
        values = np.array([at.x[read] for read in reads]).reshape(-1, at.x.shape[-1])
        kernel = np.array([self.kernel[tap][channel] for tap in taps], np.float64)
        products = values * kernel.reshape(values.shape)
        sums = products.sum(axis=0)
        operands = {
            "reads": [list(read) for read in reads],
            "read_values": values,
            "taps": [list(tap) for tap in taps],
            "weights": kernel,
            "products": products,
        }
        bias = None if self.bias is None else float(self.bias[channel])
        text = sum_of(sums, "channel")
        return weighted_sum(self.function, operands, sums, text, bias=bias, channel_sums=sums)

    def _sources(self, shape: Shape, place: Sequence[int]) -> list[tuple[Shape, Shape]]:
        """Return the taps that reach an output's position, and the input's position of each."""
        pads, found = self.window.pads(self.shape), []
        for tap in np.ndindex(*self.window.size):
            read = []
            for axis, at in enumerate(tap):
                away = place[axis] + pads[axis][0] - at * self.window.dilation[axis]
                position, rest = divmod(away, self.window.strides[axis])
                if rest or not 0 <= position < shape[axis]:
                    break
                read.append(position)
            else:
                found.append((tap, tuple(read)))
        return found

    def multiply_adds(self, shapes: Shapes) -> int:
        """Count each weight once for each position of the input."""
        return math.prod(shapes.input[:-1]) * int(self.kernel.size)

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return the positions whose kernels cover a unit: a window on a spread input."""
        pads, size, step, start = self.window.pads(self.shape), [], [], []
        for axis in self.window.axes:
            stride, reach = self.window.strides[axis], self.window.extent(axis) - 1
            size.append(Fraction(reach, stride) + 1)
            step.append(Fraction(1, stride))
            start.append(Fraction(pads[axis][0] - reach, stride))
        if len(size) == 1:
            return Patch((size[0], 1), (step[0], 1), (start[0], 0))
        return Patch((size[0], size[1]), (step[0], step[1]), (start[0], start[1]))

    @property
    def keeps_channels(self) -> bool:
        """Return False: the kernels make new channels."""
        return False

    @property
    def changes_values(self) -> bool:
        """Return True."""
        return True

    @property
    def activation(self) -> Function:
        """Return the activation function."""
        return self.function

    @property
    def is_convolution(self) -> bool:
        """Return True."""
        return True

    def shuffled(self, rng: np.random.Generator) -> "TransposedConvolution":
        """Return the layer with the numbers of its kernel in random order."""
        return replace(self, kernel=shuffled(self.kernel, rng))


def _transposed(axes: int) -> LayerKind:
    def build(saved: SavedLayer) -> Operation | Unsupported:
        config, weights, function = saved.config, saved.weights, activation_of(saved)
        if isinstance(function, Unsupported):
            return function
        window = Window.from_keras(config, config["kernel_size"], axes)
        shape = saved.shapes.output
        if window.output_size(shape) != saved.shapes.input[:-1]:
            return Unsupported(
                "its output padding makes rows or columns that no kernel reaches",
                "Enlarges its input by learned kernels.",
            )
        return TransposedConvolution(
            weights["kernel"], weights.get("bias"), window, shape, function
        )

    return LayerKind(build, kernel_and_bias)


KINDS = {"Conv1DTranspose": _transposed(1), "Conv2DTranspose": _transposed(2)}
