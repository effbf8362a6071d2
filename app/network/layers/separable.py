"""Separable convolutions: a depthwise convolution, then a mix of channels at each position.

Chollet, 2017, "Xception", arXiv:1610.02357.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.network.equation import Equation, UnitInputs, sum_of, weighted_sum
from app.network.functions import LINEAR, Array, Function
from app.network.geometry import Footprint
from app.network.layers.convolution import Convolution, by_channel, kernel_sentence, shuffled
from app.network.operation import (
    Config,
    LayerKind,
    Operation,
    SavedLayer,
    Shapes,
    Unsupported,
    activation_of,
)
from app.network.window import Window


@dataclass(frozen=True)
class SeparableConvolution(Operation):
    """A depthwise convolution, a matrix on its channels, bias and activation.

    Attributes:
        depthwise: The convolution of each channel, without bias.
        pointwise: `[C_in multiplier, C_out]`.
        bias: `[C_out]`, or None.
        function: The activation function.
    """

    depthwise: Convolution
    pointwise: Array
    bias: Array | None
    function: Function = LINEAR

    def linear(self, x: Array) -> Array:
        """Return the input of the activation function, `[N, *positions, C_out]`."""
        out = self.depthwise.linear(x) @ self.pointwise
        return np.asarray(out if self.bias is None else out + self.bias)

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's output."""
        return self.function.value(self.linear(inputs[0]))

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        if self.function is not LINEAR:
            grad = grad * self.function.slope(self.linear(inputs[0]), output)
        return self.depthwise.backward(inputs, output, np.asarray(grad @ self.pointwise.T))

    @property
    def formula(self) -> str:
        """Return both sums, with the activation function if there is one."""
        window = self.depthwise.window
        bias = " + b[c]" if self.bias is not None else ""
        total = (
            f"sum over k, m, {window.tap_ranges} of"
            f" {window.formula('k')} D[{window.tap_names}, k, m] P[k, m, c]{bias}"
        )
        if self.function is LINEAR:
            return f"y[c, {window.output_names}] = {total}"
        return f"y = f(z), f(x) = {self.function.formula}, z = {total}"

    def sentence(self, shapes: Shapes) -> str:
        """Return what both steps do."""
        kernels = f"{len(self.pointwise)} kernels of {self.depthwise.window.size_text}"
        plain = replace(self.depthwise, bias=None)
        mixes = f"Then mixes the {len(self.pointwise)} sums at each position into {shapes.channels}"
        bias = ", adds a bias" if self.bias is not None else ""
        applies = "" if self.function is LINEAR else f", and applies {self.function.name}"
        return f"{kernel_sentence(kernels, 'one channel each', plain)} {mixes}{bias}{applies}."

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
        return weighted_sum(
            self.function,
            operands,
            products,
            sum_of(products, "depthwise channel"),
            bias=None if self.bias is None else float(self.bias[channel]),
            channel_sums=products.reshape(inputs, -1).sum(axis=1),
        )

    def multiply_adds(self, shapes: Shapes) -> int:
        """Count each weight once for each position of the output."""
        weights = self.depthwise.kernel.size + self.pointwise.size
        return math.prod(shapes.output[:-1]) * int(weights)

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return the window."""
        return self.depthwise.window.footprint(shapes.input)

    @property
    def keeps_channels(self) -> bool:
        """Return False: the second step mixes channels."""
        return False

    @property
    def changes_values(self) -> bool:
        """Return True."""
        return True

    @property
    def is_convolution(self) -> bool:
        """Return True."""
        return True

    @property
    def activation(self) -> Function:
        """Return the activation function."""
        return self.function

    def shuffled(self, rng: np.random.Generator) -> "SeparableConvolution":
        """Return the layer with the numbers of both kernels in random order."""
        return replace(
            self, depthwise=self.depthwise.shuffled(rng), pointwise=shuffled(self.pointwise, rng)
        )


def _separable(axes: int) -> LayerKind:
    def build(saved: SavedLayer) -> Operation | Unsupported:
        config, weights, function = saved.config, saved.weights, activation_of(saved)
        if isinstance(function, Unsupported):
            return function
        window = Window.from_keras(config, config["kernel_size"], axes)
        kernel, channels = by_channel(weights["depthwise_kernel"])
        pointwise = weights["pointwise_kernel"]
        return SeparableConvolution(
            Convolution(kernel, None, window, channels),
            pointwise.reshape(pointwise.shape[-2:]),
            weights.get("bias"),
            function,
        )

    return LayerKind(build, _two_kernels_and_bias)


def _two_kernels_and_bias(config: Config) -> tuple[str, ...]:
    bias = ("bias",) if config.get("use_bias") else ()
    return ("depthwise_kernel", "pointwise_kernel", *bias)


KINDS = {"SeparableConv1D": _separable(1), "SeparableConv2D": _separable(2)}
