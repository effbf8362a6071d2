"""Separable convolutions: a depthwise convolution, then a mix of channels at each position.

Chollet, 2017, "Xception", arXiv:1610.02357.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from app.network.equation import Equation, UnitInputs, sum_of
from app.network.functions import LINEAR, Array, Function
from app.network.geometry import Footprint
from app.network.layers.convolution import Convolution, by_channel, kernel_sentence
from app.network.layers.weighted_sum import WeightedSum, shuffled, with_activation
from app.network.operation import Config, LayerKind, Operation, SavedLayer, Shapes
from app.network.window import Window


@dataclass(frozen=True)
class SeparableConvolution(WeightedSum):
    """A depthwise convolution, a matrix on its channels, bias and activation.

    Attributes:
        depthwise: The convolution of each channel, without bias.
        pointwise: `[C_in multiplier, C_out]`.
    """

    depthwise: Convolution
    pointwise: Array

    def sums(self, x: Array) -> Array:
        """Return the weighted sums, `[N, *positions, C_out]`."""
        return np.asarray(self.depthwise.sums(x) @ self.pointwise)

    def sums_backward(self, x: Array, grad: Array) -> Array:
        """Return the gradient of the input."""
        return self.depthwise.sums_backward(x, np.asarray(grad @ self.pointwise.T))

    def kernel_gradients(self, x: Array, grad: Array) -> dict[str, Array]:
        """Return the gradients of both kernels."""
        middle = self.depthwise.sums(x).reshape(-1, len(self.pointwise))
        inner = self.depthwise.kernel_gradients(x, np.asarray(grad @ self.pointwise.T))
        return {
            "depthwise_kernel": inner["kernel"],
            "pointwise_kernel": np.asarray(middle.T @ grad.reshape(-1, grad.shape[-1])),
        }

    def with_kernel(self, name: str, kernel: Array) -> "SeparableConvolution":
        """Return the layer with another depthwise or pointwise kernel."""
        if name == "depthwise_kernel":
            return replace(self, depthwise=self.depthwise.with_kernel("kernel", kernel))
        return replace(self, pointwise=kernel.reshape(self.pointwise.shape))

    @property
    def sum_formula(self) -> tuple[str, str]:
        """Return both sums in one."""
        window = self.depthwise.window
        total = (
            f"sum over k, m, {window.tap_ranges} of"
            f" {window.formula('k')} D[{window.tap_names}, k, m] P[k, m, c]{self.bias_term}"
        )
        return f"{window.output_names}, c", total

    def sentence(self, shapes: Shapes) -> str:
        """Return what both steps do."""
        kernels = f"{len(self.pointwise)} kernels of {self.depthwise.window.size_text}"
        mixes = f"Then mixes the {len(self.pointwise)} sums at each position into {shapes.channels}"
        applies = "" if self.function is LINEAR else f", and applies {self.function.name}"
        first = kernel_sentence(kernels, "one channel each", self.depthwise)
        return f"{first} {mixes}{self.bias_clause}{applies}."

    def equation(self, at: UnitInputs) -> Equation:
        """Return the mix of the depthwise sums with the unit's numbers."""
        *place, channel = at.unit
        window, depthwise = self.depthwise.window, self.depthwise.kernel.astype(np.float64)
        inputs = at.x.shape[-1]
        kernel = depthwise.reshape(*window.size, inputs, -1)  # (*window, C_in, multiplier)
        patch = np.zeros((*window.size, inputs))
        for tap, read in window.taps_inside(at.x.shape, place):
            patch[tap] = at.x[read]
        sums = (patch[..., None] * kernel).sum(axis=window.axes).reshape(-1)
        weights = self.pointwise[:, channel].astype(np.float64)
        products = sums * weights
        operands = {
            "patch": patch,
            "depthwise_kernel": kernel,
            "depthwise_sums": sums,
            "pointwise_kernel": weights,
            "products": products,
            "first": list(window.corner(at.x.shape, place)),
        }
        channel_sums = products.reshape(inputs, -1).sum(axis=1)
        text = sum_of(products, "depthwise channel")
        return self.sum_equation(at, operands, products, text, channel_sums)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Count each weight once for each position of the output."""
        weights = self.depthwise.kernel.size + self.pointwise.size
        return math.prod(shapes.output[:-1]) * int(weights)

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return the window."""
        return self.depthwise.window.footprint(shapes.input)

    @property
    def is_convolution(self) -> bool:
        """Return True."""
        return True

    def shuffled(self, rng: np.random.Generator) -> "SeparableConvolution":
        """Return the layer with the numbers of both kernels in random order."""
        return replace(
            self, depthwise=self.depthwise.shuffled(rng), pointwise=shuffled(self.pointwise, rng)
        )


def _separable(axes: int) -> LayerKind:
    def build(saved: SavedLayer, function: Function) -> Operation:
        weights = saved.weights
        window = Window.from_keras(
            saved.config, saved.config["kernel_size"], axes, saved.shapes.input
        )
        kernel, channels = by_channel(weights["depthwise_kernel"])
        pointwise = weights["pointwise_kernel"]
        return SeparableConvolution(
            Convolution(kernel, window, channels),
            pointwise.reshape(pointwise.shape[-2:]),
            bias=weights.get("bias"),
            function=function,
        )

    return LayerKind(with_activation(build), _two_kernels_and_bias)


def _two_kernels_and_bias(config: Config) -> tuple[str, ...]:
    bias = ("bias",) if config.get("use_bias") else ()
    return ("depthwise_kernel", "pointwise_kernel", *bias)


KINDS = {"SeparableConv1D": _separable(1), "SeparableConv2D": _separable(2)}
