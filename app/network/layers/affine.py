"""Layers that multiply and add fixed numbers for each channel."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from app.network.equation import Equation, UnitInputs, number, operand
from app.network.functions import Array
from app.network.layers.elementwise import Elementwise
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

MIN_DEVIATION = 1e-7  # Keras's epsilon: Normalization divides by no smaller standard deviation


class Affine(Elementwise):
    """`y = scale x + shift`, along the last axis."""

    @property
    @abstractmethod
    def scale(self) -> Array:
        """Return the factors, float32 `[C]` or `[1]`."""

    @property
    @abstractmethod
    def shift(self) -> Array:
        """Return the addends, float32 `[C]` or `[1]`."""

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the scaled and shifted input."""
        return np.asarray(inputs[0] * self.scale + self.shift)

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        return [np.asarray(grad * self.scale)]

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the scaled change."""
        return np.asarray(changes[0] * self.scale)

    @property
    def slope_name(self) -> str:
        """Return the scale."""
        return "the factor of the channel"

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return one for each value."""
        return prod(shapes.output)

    @property
    def changes_values(self) -> bool:
        """Return True."""
        return True

    def equation(self, at: UnitInputs) -> Equation:
        """Return `scale x + shift` with the unit's numbers."""
        operands = self._operands(at)
        x, scale, shift = (operands[name] for name in ("x", "scale", "shift"))
        value = scale * x + shift
        text = f"{number(value)} = {number(scale)} · {operand(x)} + {operand(shift)}"
        return Equation(text, operands, value)

    def _operands(self, at: UnitInputs) -> dict[str, float]:
        scale, shift = (of_channel(values, at.channel) for values in (self.scale, self.shift))
        return {"x": at.same_unit, "scale": scale, "shift": shift}


@dataclass(frozen=True)
class Rescaling(Affine):
    """The same factor and addend for every value.

    Attributes:
        factor: `[1]` or `[C]`.
        offset: `[1]` or `[C]`.
    """

    factor: Array
    offset: Array

    @property
    def scale(self) -> Array:
        """Return the factor."""
        return self.factor

    @property
    def shift(self) -> Array:
        """Return the offset."""
        return self.offset

    @property
    def formula(self) -> str:
        """Return the multiplication and addition."""
        return "y = scale x + offset"

    def sentence(self, shapes: Shapes) -> str:
        """Return what rescaling does."""
        return "Multiplies every value by a fixed number and adds another."


@dataclass(frozen=True)
class Normalization(Affine):
    """Subtracts the mean of the training data and divides by its standard deviation.

    Attributes:
        mean: `[1]` or `[C]`, float64.
        variance: `[1]` or `[C]`, float64.
        invert: Whether the layer does the opposite: multiplies, then adds.
    """

    mean: Array
    variance: Array
    invert: bool = False

    @cached_property
    def _deviation(self) -> Array:
        return np.asarray(np.maximum(np.sqrt(self.variance), MIN_DEVIATION))

    @cached_property
    def scale(self) -> Array:
        """Return the standard deviation if inverted, else its reciprocal."""
        return np.asarray(self._deviation if self.invert else 1 / self._deviation, np.float32)

    @cached_property
    def shift(self) -> Array:
        """Return what is added after the multiplication."""
        return np.asarray(self.mean if self.invert else -self.mean / self._deviation, np.float32)

    @property
    def fixed_weights(self) -> frozenset[str]:
        """Return all: they are measured on the training data and not learned."""
        return frozenset({"mean", "variance", "count"})

    @property
    def formula(self) -> str:
        """Return the subtraction and division."""
        return "y = x sqrt(variance) + mean" if self.invert else "y = (x - mean) / sqrt(variance)"

    def sentence(self, shapes: Shapes) -> str:
        """Return what normalisation does."""
        if self.invert:
            return (
                "Multiplies by the standard deviation of the training images and adds their mean."
            )
        return (
            "Subtracts the mean grey level of the training images and divides by their standard"
            " deviation, so that inputs have a mean of about 0 and a spread of about 1."
        )

    def equation(self, at: UnitInputs) -> Equation:
        """Return the subtraction and division with the unit's numbers."""
        if self.invert:
            return super().equation(at)
        mean, variance = (of_channel(part, at.channel) for part in (self.mean, self.variance))
        value = (at.same_unit - mean) / max(float(np.sqrt(variance)), MIN_DEVIATION)
        text = (
            f"{number(value)} = ({number(at.same_unit)} - {operand(mean)})"
            f" / sqrt({number(variance)})"
        )
        return Equation(text, {**self._operands(at), "mean": mean, "variance": variance}, value)


def of_channel(values: Array, channel: int) -> float:
    """Return the number of a channel, or the one of all channels."""
    return float(values[channel if values.size > 1 else 0])


def _rescaling(saved: SavedLayer) -> Operation:
    factor, offset = (
        np.asarray(saved.config[name], np.float32).reshape(-1) for name in ("scale", "offset")
    )
    return Rescaling(factor, offset)


def _normalization(saved: SavedLayer) -> Operation | Unsupported:
    axis = saved.config.get("axis", [-1])
    if axis not in ([], None) and not is_last(axis, saved):
        return unsupported("its axis is not the last", saved)
    known = saved.weights if "mean" in saved.weights else saved.config
    mean, variance = (
        np.asarray(known[name], np.float64).reshape(-1) for name in ("mean", "variance")
    )
    return Normalization(mean, variance, bool(saved.config.get("invert")))


def _normalization_weights(config: Config) -> tuple[str, ...]:
    return ("mean", "variance", "count") if config.get("mean") is None else ()


def is_last(axis: Any, saved: SavedLayer) -> bool:
    """Tell whether Keras's axis, or list of one, is that of the channels."""
    axes = [axis] if isinstance(axis, int) else list(axis)
    return len(axes) == 1 and axes[0] in (-1, len(saved.shapes.output))


KINDS = {
    "Rescaling": LayerKind(_rescaling, no_weights),
    "Normalization": LayerKind(_normalization, _normalization_weights, "the last axis, or none"),
}
