"""Layers that compute each unit from the input unit with the same index: activation functions."""

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.network.equation import Equation, UnitInputs, number
from app.network.functions import Array, Function, elu, find_function, relu, summed_to
from app.network.geometry import SAME_UNIT, Footprint, Unit
from app.network.layers.softmax import Softmax
from app.network.operation import (
    Config,
    LayerKind,
    Operation,
    SavedLayer,
    Shapes,
    Unsupported,
    no_weights,
    unsupported,
)


class Elementwise(Operation, ABC):
    """What all layers have in common whose units depend on the same unit of one input."""

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads the unit with its own index."""
        return SAME_UNIT

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return 0: functions are not counted."""
        return 0

    @property
    def keeps_channels(self) -> bool:
        """Return True: every unit stays in its channel."""
        return True


@dataclass(frozen=True)
class Activation(Elementwise):
    """An activation function as a layer of its own."""

    function: Function

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the function of the input."""
        return self.function.value(inputs[0])

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        return [grad * self.function.slope(inputs[0], output)]

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the change times the slope."""
        return np.asarray(changes[0] * self.function.slope(inputs[0], output))

    @property
    def slope_name(self) -> str:
        """Return the slope of the function."""
        return f"the slope of {self.function.name} there"

    @property
    def formula(self) -> str:
        """Return the function's formula."""
        return f"y = {self.function.formula}"

    def sentence(self, shapes: Shapes) -> str:
        """Return what the function does."""
        if self.formula == "y = max(0, x)":
            return "Keeps positive values and sets all others to 0, unit by unit."
        return f"Applies the function {self.function.name} to every value, unit by unit."

    def equation(self, at: UnitInputs) -> Equation:
        """Return the function with the unit's numbers."""
        x = at.same_unit
        value = float(self.function.value(at.x[None])[0][at.unit])
        text = f"{number(value)} = f({number(x)}), f(x) = {self.function.formula}"
        return Equation(text, {"x": x}, value)

    @property
    def changes_values(self) -> bool:
        """Return True, also for the linear function, which is rarely a layer."""
        return True

    @property
    def activation(self) -> Function:
        """Return the function."""
        return self.function


def _activation(saved: SavedLayer) -> Operation | Unsupported:
    name = saved.config["activation"]
    if name == "softmax":
        return Softmax()
    function = find_function(name)
    return Activation(function) if function else unsupported(f"its function is {name!r}", saved)


def _relu(saved: SavedLayer) -> Operation:
    config = saved.config
    return Activation(
        relu(
            config.get("max_value"),
            config.get("negative_slope") or 0.0,
            config.get("threshold") or 0.0,
        )
    )


def _leaky_relu(saved: SavedLayer) -> Operation:
    slope = saved.config.get("negative_slope", saved.config.get("alpha"))  # alpha: Keras 2
    return Activation(relu(negative_slope=float(slope)))


def _elu(saved: SavedLayer) -> Operation:
    return Activation(elu(float(saved.config.get("alpha", 1.0))))


@dataclass(frozen=True)
class ParametricRelu(Activation):
    """A leaky ReLU whose slope below 0 is learned (He et al., 2015, arXiv:1502.01852).

    Attributes:
        alpha: The slope, which broadcasts to the output without the batch.
    """

    alpha: Array

    def weight_gradients(
        self, inputs: Sequence[Array], output: Array, grad: Array
    ) -> dict[str, Array]:
        """Return the gradient of the slope."""
        return {"alpha": summed_to(grad * np.minimum(inputs[0], 0), self.alpha.shape)}

    def weight_reads(self, shapes: Shapes, name: str, place: int, unit: Unit) -> Unit | None:
        """Return the unit with the same index."""
        return unit

    def weight_tangent(
        self, inputs: Sequence[Array], output: Array, name: str, change: Array
    ) -> Array:
        """Return the change times what the slope multiplies."""
        return np.asarray(np.minimum(inputs[0], 0) * change.reshape(self.alpha.shape))


def _prelu(saved: SavedLayer) -> Operation:
    alpha = saved.weights["alpha"]
    function = Function(
        "prelu",
        "x if x >= 0 else alpha x",
        lambda x: np.where(x >= 0, x, alpha * x).astype(x.dtype),
        lambda x, y: np.where(x > 0, 1.0, np.where(x < 0, alpha, 0.0)).astype(x.dtype),
    )
    return ParametricRelu(function, alpha)


def _alpha(config: Config) -> tuple[str, ...]:
    return ("alpha",)


KINDS = {
    "Activation": LayerKind(_activation, no_weights, "the functions below"),
    "ReLU": LayerKind(_relu, no_weights),
    "LeakyReLU": LayerKind(_leaky_relu, no_weights),
    "ELU": LayerKind(_elu, no_weights),
    "PReLU": LayerKind(_prelu, _alpha),
}
