"""Dense layers: every unit is a weighted sum of all inputs."""

import math
from dataclasses import dataclass, replace

import numpy as np

from app.network.equation import MAX_TERMS, Equation, UnitInputs, sum_of
from app.network.functions import Array, Function
from app.network.geometry import SAME_POSITION, Footprint, Unit
from app.network.layers.weighted_sum import (
    WeightedSum,
    kernel_and_bias,
    shuffled,
    with_activation,
)
from app.network.operation import LayerKind, Operation, SavedLayer, Shapes


@dataclass(frozen=True)
class Dense(WeightedSum):
    """`y = f(x W + b)` along the last axis.

    Attributes:
        kernel: `[D_in, D_out]`.
    """

    kernel: Array

    def sums(self, x: Array) -> Array:
        """Return the weighted sums of the last axis."""
        return np.asarray(x @ self.kernel)

    def sums_backward(self, x: Array, grad: Array) -> Array:
        """Return the gradient of the input."""
        return np.asarray(grad @ self.kernel.T)

    def kernel_gradients(self, x: Array, grad: Array) -> dict[str, Array]:
        """Return the products of inputs and gradients, summed over all rows."""
        rows = x.reshape(-1, x.shape[-1])
        return {"kernel": np.asarray(rows.T @ grad.reshape(-1, grad.shape[-1]))}

    def with_kernel(self, name: str, kernel: Array) -> "Dense":
        """Return the layer with another kernel."""
        return replace(self, kernel=kernel.reshape(self.kernel.shape))

    def weight_reads(self, shapes: Shapes, name: str, place: int, unit: Unit) -> Unit | None:
        """Return the unit of the weight's row at the same position."""
        if name != "kernel":
            return None
        return (*unit[:-1], place // self.kernel.shape[1])

    def scaled(self, scale: Array, shift: Array) -> "Dense":
        """Return the layer with a scaled kernel and bias."""
        bias = self.scaled_bias(scale, shift)
        return replace(self, kernel=self.kernel * scale, bias=bias)

    @property
    def sum_formula(self) -> tuple[str, str]:
        """Return the sum over all inputs."""
        return "c", f"sum over k of x[k] W[k, c]{self.bias_term}"

    def sentence(self, shapes: Shapes) -> str:
        """Return what the units do."""
        bias = " and a bias" if self.bias is not None else ""
        return (
            f"Each of its {shapes.channels} units multiplies each of {self.kernel.shape[0]} inputs"
            f" by a weight and adds up the products{bias}{self.activation_clause}."
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
        return self.sum_equation(at, operands, products, sum_of(products, "input"), channel_sums)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Count each weight once for each position of the output."""
        return math.prod(shapes.output[:-1]) * int(self.kernel.size)

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads all units along the last axis at its position."""
        return SAME_POSITION

    def shuffled(self, rng: np.random.Generator) -> "Dense":
        """Return the layer with the numbers of its kernel in random order."""
        return replace(self, kernel=shuffled(self.kernel, rng))


def _dense(saved: SavedLayer, function: Function) -> Operation:
    return Dense(saved.weights["kernel"], bias=saved.weights.get("bias"), function=function)


KINDS = {"Dense": LayerKind(with_activation(_dense), kernel_and_bias)}
