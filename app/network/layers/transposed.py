"""Transposed convolutions, which enlarge: the gradient of a convolution, used as a layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from app.network.equation import Equation, UnitInputs, sum_of
from app.network.functions import Array, Function
from app.network.geometry import Footprint, Patch, Shape, Unit
from app.network.layers.weighted_sum import (
    WeightedSum,
    kernel_and_bias,
    shuffled,
    with_activation,
)
from app.network.operation import LayerKind, Operation, SavedLayer, Shapes, Unsupported
from app.network.window import Window


@dataclass(frozen=True)
class TransposedConvolution(WeightedSum):
    """Each input value adds a scaled kernel to the output, with bias and activation.

    Attributes:
        kernel: `[*window, C_out, C_in]`.
        window: How the convolution slides whose gradient this layer is; it slides over the output.
        shape: Shape of the output, without the batch.
    """

    kernel: Array
    window: Window
    shape: Shape

    def sums(self, x: Array) -> Array:
        """Return the weighted sums, `[N, *positions, C_out]`."""
        total = self.window.padded(np.zeros((len(x), *self.shape), x.dtype))
        flat = x.reshape(-1, x.shape[-1])
        for tap, at in self.window.taps(self.shape):
            part = flat @ self.kernel[tap].T
            total[at] += part.reshape(*x.shape[:-1], -1)
        return self.window.unpadded(total, self.shape)

    def sums_backward(self, x: Array, grad: Array) -> Array:
        """Return the gradient of the input."""
        padded, total = self.window.padded(grad), np.zeros_like(x)
        for tap, at in self.window.taps(self.shape):
            part = padded[at].reshape(-1, grad.shape[-1]) @ self.kernel[tap]
            total += part.reshape(x.shape)
        return total

    def kernel_gradients(self, x: Array, grad: Array) -> dict[str, Array]:
        """Return for each tap the products of the gradients that it reaches and the inputs."""
        padded, found = self.window.padded(grad), np.empty(self.kernel.shape, grad.dtype)
        flat = x.reshape(-1, x.shape[-1])
        for tap, at in self.window.taps(self.shape):
            found[tap] = padded[at].reshape(-1, grad.shape[-1]).T @ flat
        return {"kernel": found}

    def with_kernel(self, name: str, kernel: Array) -> "TransposedConvolution":
        """Return the layer with another kernel."""
        return replace(self, kernel=kernel.reshape(self.kernel.shape))

    def weight_reads(self, shapes: Shapes, name: str, place: int, unit: Unit) -> Unit | None:
        """Return the unit whose kernel puts the weight on the output's unit."""
        if name != "kernel":
            return None
        *tap, _, depth = (int(at) for at in np.unravel_index(place, self.kernel.shape))
        sources = dict(self._sources(shapes.input, unit[:-1]))
        read = sources.get(tuple(tap))
        return None if read is None else (*read, depth)

    @property
    def sum_formula(self) -> tuple[str, str]:
        """Return the sum over all input values whose kernel covers a unit."""
        window = self.window
        total = (
            f"sum over k, {window.tap_ranges} of"
            f" x[p, k] K[{window.tap_names}, c, k]{self.bias_term},"
            f" where the kernel of p covers ({window.output_names})"
        )
        return f"{window.output_names}, c", total

    def sentence(self, shapes: Shapes) -> str:
        """Return what the kernels do, and both sizes."""
        before, after = shapes.size_text()
        then = f"{self.bias_clause}{self.activation_clause}"
        return (
            f"Lays a kernel of {self.window.size_text} at each position, scaled by the value there,"
            f" and adds up where they overlap{then}: {before} becomes {after}."
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
        return self.sum_equation(at, operands, sums, sum_of(sums, "channel"), sums)

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
    def is_convolution(self) -> bool:
        """Return True."""
        return True

    def shuffled(self, rng: np.random.Generator) -> "TransposedConvolution":
        """Return the layer with the numbers of its kernel in random order."""
        return replace(self, kernel=shuffled(self.kernel, rng))


def _transposed(axes: int) -> LayerKind:
    def build(saved: SavedLayer, function: Function) -> Operation | Unsupported:
        weights, shape = saved.weights, saved.shapes.output
        window = Window.from_keras(saved.config, saved.config["kernel_size"], axes, shape)
        if window.output_size(shape) != saved.shapes.input[:-1]:
            return Unsupported(
                "its output padding makes rows or columns that no kernel reaches",
                "Enlarges its input by learned kernels.",
            )
        return TransposedConvolution(
            weights["kernel"], window, shape, bias=weights.get("bias"), function=function
        )

    return LayerKind(with_activation(build), kernel_and_bias)


KINDS = {"Conv1DTranspose": _transposed(1), "Conv2DTranspose": _transposed(2)}
