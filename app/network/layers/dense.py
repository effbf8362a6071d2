"""Dense layers: every unit is a weighted sum of all inputs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.network.equation import MAX_TERMS, Equation, UnitInputs, sum_of, weighted_sum
from app.network.functions import LINEAR, Array, Function
from app.network.geometry import SAME_POSITION, Footprint
from app.network.layers.convolution import kernel_and_bias, shuffled
from app.network.operation import (
    LayerKind,
    Operation,
    SavedLayer,
    Shapes,
    Unsupported,
    activation_of,
)


@dataclass(frozen=True)
class Dense(Operation):
    """`y = f(x W + b)` along the last axis.

    Attributes:
        kernel: `[D_in, D_out]`.
        bias: `[D_out]`, or None.
        function: The activation function.
    """

    kernel: Array
    bias: Array | None
    function: Function = LINEAR

    def linear(self, x: Array) -> Array:
        """Return the input of the activation function."""
        out = x @ self.kernel
        return np.asarray(out if self.bias is None else out + self.bias)

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's output."""
        return self.function.value(self.linear(inputs[0]))

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        if self.function is not LINEAR:
            grad = grad * self.function.slope(self.linear(inputs[0]), output)
        return [np.asarray(grad @ self.kernel.T)]

    @property
    def formula(self) -> str:
        """Return the weighted sum, with the activation function if there is one."""
        total = "sum over k of x[k] W[k, c]" + (" + b[c]" if self.bias is not None else "")
        if self.function is LINEAR:
            return f"y[c] = {total}"
        return f"y = f(z), f(x) = {self.function.formula}, z = {total}"

    def sentence(self, shapes: Shapes) -> str:
        """Return what the units do."""
        bias = " plus a bias" if self.bias is not None else ""
        applies = "" if self.function is LINEAR else f", then applies {self.function.name}"
        return (
            f"Each of its {shapes.channels} units multiplies all {self.kernel.shape[0]} inputs by"
            f" weights and adds them up{bias}{applies}."
        )

    def equation(self, at: UnitInputs) -> Equation:
        """Return the sum of products with the unit's numbers."""
        row = at.x[at.unit[:-1]]
        weights = self.kernel[:, at.channel].astype(np.float64)
        products = row * weights
        largest = [
            {
                "input": int(index),
                "x": float(row[index]),
                "weight": float(weights[index]),
                "product": float(products[index]),
            }
            for index in np.argsort(-np.abs(products), kind="stable")[:MAX_TERMS]
        ]
        operands = {"x": row, "weights": weights, "products": products, "largest": largest}
        channel_sums = None
        if at.flattened_from and at.x.ndim == 1:
            channel_sums = products.reshape(-1, at.flattened_from[-1]).sum(axis=0)
        return weighted_sum(
            self.function,
            operands,
            products,
            sum_of(products, "input"),
            bias=None if self.bias is None else float(self.bias[at.channel]),
            channel_sums=channel_sums,
        )

    def multiply_adds(self, shapes: Shapes) -> int:
        """Count each weight once for each position of the output."""
        return math.prod(shapes.output[:-1]) * int(self.kernel.size)

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads all units along the last axis at its position."""
        return SAME_POSITION

    @property
    def keeps_channels(self) -> bool:
        """Return False: every unit depends on all inputs."""
        return False

    @property
    def changes_values(self) -> bool:
        """Return True."""
        return True

    @property
    def activation(self) -> Function:
        """Return the activation function."""
        return self.function

    def shuffled(self, rng: np.random.Generator) -> "Dense":
        """Return the layer with the numbers of its kernel in random order."""
        return replace(self, kernel=shuffled(self.kernel, rng))


def _dense(saved: SavedLayer) -> Operation | Unsupported:
    function = activation_of(saved)
    if isinstance(function, Unsupported):
        return function
    return Dense(saved.weights["kernel"], saved.weights.get("bias"), function)


KINDS = {"Dense": LayerKind(_dense, kernel_and_bias)}
