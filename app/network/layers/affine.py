"""Layers that multiply and add fixed numbers for each channel: normalisations at inference.

Batch normalisation: Ioffe and Szegedy, 2015, arXiv:1502.03167.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from app.network.equation import Equation, UnitInputs, number, operand
from app.network.functions import Array, summed_to
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
        scale, shift = (_of_channel(values, at.channel) for values in (self.scale, self.shift))
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
        mean, variance = (_of_channel(part, at.channel) for part in (self.mean, self.variance))
        value = (at.same_unit - mean) / max(float(np.sqrt(variance)), MIN_DEVIATION)
        text = (
            f"{number(value)} = ({number(at.same_unit)} - {operand(mean)})"
            f" / sqrt({number(variance)})"
        )
        return Equation(text, {**self._operands(at), "mean": mean, "variance": variance}, value)


@dataclass(frozen=True)
class BatchNormalization(Affine):
    """Normalises each channel by the mean and variance that training recorded.

    Attributes:
        moving_mean: `[C]`.
        moving_variance: `[C]`.
        gamma: Learned factor `[C]`, or None.
        beta: Learned addend `[C]`, or None.
        epsilon: Added to the variance.
    """

    moving_mean: Array
    moving_variance: Array
    gamma: Array | None
    beta: Array | None
    epsilon: float

    @cached_property
    def _root(self) -> Array:
        return np.asarray(np.sqrt(self.moving_variance.astype(np.float64) + self.epsilon))

    @cached_property
    def _scale(self) -> Array:
        return np.asarray((1.0 if self.gamma is None else self.gamma) / self._root)

    @cached_property
    def scale(self) -> Array:
        """Return the learned factor over the standard deviation."""
        return self._scale.astype(self.moving_mean.dtype)

    @cached_property
    def shift(self) -> Array:
        """Return the learned addend less the scaled mean."""
        moved = self.moving_mean.astype(np.float64) * self._scale
        beta = 0.0 if self.beta is None else self.beta
        return np.asarray(beta - moved, self.moving_mean.dtype)

    def _normal(self, x: Array) -> Array:
        """Return the input, normalised, before gamma and beta."""
        return np.asarray((x - self.moving_mean) / self._root, x.dtype)

    def weight_gradients(
        self, inputs: Sequence[Array], output: Array, grad: Array
    ) -> dict[str, Array]:
        """Return the gradients of gamma and beta."""
        found = {}
        if self.gamma is not None:
            found["gamma"] = summed_to(grad * self._normal(inputs[0]), self.gamma.shape)
        if self.beta is not None:
            found["beta"] = summed_to(grad, self.beta.shape)
        return found

    def weight_tangent(
        self, inputs: Sequence[Array], output: Array, name: str, change: Array
    ) -> Array:
        """Return the change, times the normalised input for gamma."""
        factor = self._normal(inputs[0]) if name == "gamma" else np.ones_like(output)
        return np.asarray(factor * change)

    @property
    def fixed_weights(self) -> frozenset[str]:
        """Return the moving mean and variance, which are measured and not learned."""
        return frozenset({"moving_mean", "moving_variance"})

    @property
    def formula(self) -> str:
        """Return the normalisation of channel c."""
        return "y = gamma[c] (x - moving_mean[c]) / sqrt(moving_variance[c] + epsilon) + beta[c]"

    def sentence(self, shapes: Shapes) -> str:
        """Return what batch normalisation does at inference."""
        return (
            "Once trained, a fixed multiplication and addition for each channel. Mean and variance"
            " come from training, not from the present image."
        )

    def equation(self, at: UnitInputs) -> Equation:
        """Return the normalisation with the unit's numbers."""
        mean, variance, gamma, beta = (
            default if values is None else float(values[at.channel])
            for values, default in (
                (self.moving_mean, 0.0),
                (self.moving_variance, 1.0),
                (self.gamma, 1.0),
                (self.beta, 0.0),
            )
        )
        x = at.same_unit
        value = gamma * (x - mean) / float(np.sqrt(variance + self.epsilon)) + beta
        text = (
            f"{number(value)} = {number(gamma)} ({number(x)} - {operand(mean)}) /"
            f" sqrt({number(variance)} + {self.epsilon:g}) + {operand(beta)}"
        )
        operands = {
            **self._operands(at),
            "gamma": gamma,
            "beta": beta,
            "moving_mean": mean,
            "moving_variance": variance,
            "epsilon": self.epsilon,
        }
        return Equation(text, operands, value)


def _of_channel(values: Array, channel: int) -> float:
    return float(values[channel if values.size > 1 else 0])


def _rescaling(saved: SavedLayer) -> Operation:
    factor, offset = (
        np.asarray(saved.config[name], np.float32).reshape(-1) for name in ("scale", "offset")
    )
    return Rescaling(factor, offset)


def _normalization(saved: SavedLayer) -> Operation | Unsupported:
    axis = saved.config.get("axis", [-1])
    if axis not in ([], None) and not _is_last(axis, saved):
        return unsupported("its axis is not the last", saved)
    known = saved.weights if "mean" in saved.weights else saved.config
    mean, variance = (
        np.asarray(known[name], np.float64).reshape(-1) for name in ("mean", "variance")
    )
    return Normalization(mean, variance, bool(saved.config.get("invert")))


def _normalization_weights(config: Config) -> tuple[str, ...]:
    return ("mean", "variance", "count") if config.get("mean") is None else ()


def _is_last(axis: Any, saved: SavedLayer) -> bool:
    """Tell whether Keras's axis, or list of one, is that of the channels."""
    axes = [axis] if isinstance(axis, int) else list(axis)
    return len(axes) == 1 and axes[0] in (-1, len(saved.shapes.output))


def _batch_normalization(saved: SavedLayer) -> Operation | Unsupported:
    if not _is_last(saved.config["axis"], saved):
        return unsupported("its axis is not the last", saved)
    weights = saved.weights
    return BatchNormalization(
        weights["moving_mean"],
        weights["moving_variance"],
        weights.get("gamma"),
        weights.get("beta"),
        float(saved.config["epsilon"]),
    )


def _batch_normalization_weights(config: Config) -> tuple[str, ...]:
    gamma = ("gamma",) if config.get("scale") else ()
    beta = ("beta",) if config.get("center") else ()
    return (*gamma, *beta, "moving_mean", "moving_variance")


KINDS = {
    "Rescaling": LayerKind(_rescaling, no_weights),
    "Normalization": LayerKind(_normalization, _normalization_weights, "the last axis, or none"),
    "BatchNormalization": LayerKind(
        _batch_normalization, _batch_normalization_weights, "the last axis"
    ),
}
