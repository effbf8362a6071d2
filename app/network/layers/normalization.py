"""Layers that normalise by the present image's own mean, spread or length.

Layer normalisation: Ba et al., 2016, arXiv:1607.06450. Group normalisation: Wu and He, 2018,
arXiv:1803.08494. Root mean square: Zhang and Sennrich, 2019, arXiv:1910.07467.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from app.network.equation import Equation, UnitInputs, number, operand
from app.network.functions import Array
from app.network.geometry import SAME_POSITION, Everything, Footprint, Shape
from app.network.layers.gamma_beta import GammaBeta
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

MIN_LENGTH = 1e-12  # Keras's epsilon: a shorter vector is divided by this


@dataclass(frozen=True)
class Standardisation(GammaBeta):
    """`y = gamma (x - mean) / sqrt(variance + epsilon) + beta` over sets of values.

    Attributes:
        groups: Number of groups of channels that are normalised apart.
        axes: Axes of a set, counted in an array whose channels are `[groups, C / groups]`, with the
            batch.
        gamma: Factors, which broadcast to the output without the batch, or None.
        beta: Addends, which broadcast to the output without the batch, or None.
        epsilon: Added to the variance.
        centred: Whether the mean is subtracted; False for the root mean square alone.
    """

    groups: int
    axes: tuple[int, ...]
    gamma: Array | None
    beta: Array | None
    epsilon: float
    centred: bool = True

    def _split(self, x: Array) -> Array:
        return x.reshape(*x.shape[:-1], self.groups, -1)

    def _figures(self, split: Array) -> tuple[Array, Array]:
        """Return the mean and 1 over the deviation of each set."""
        mean = split.mean(axis=self.axes, keepdims=True) if self.centred else np.zeros_like(split)
        variance = ((split - mean) ** 2).mean(axis=self.axes, keepdims=True)
        return mean, 1 / np.sqrt(variance + split.dtype.type(self.epsilon))

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the normalised input."""
        out = self.normal(inputs[0])
        out = out if self.gamma is None else out * self.gamma
        return np.asarray(out if self.beta is None else out + self.beta)

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        split = self._split(inputs[0])
        mean, inverse = self._figures(split)
        normal = (split - mean) * inverse
        grad = self._split(grad if self.gamma is None else np.asarray(grad * self.gamma))
        along = (grad * normal).mean(axis=self.axes, keepdims=True)
        centred = grad - grad.mean(axis=self.axes, keepdims=True) if self.centred else grad
        return [np.asarray((centred - normal * along) * inverse).reshape(inputs[0].shape)]

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the derivative: the mean and the deviation change, too."""
        split, change = self._split(inputs[0]), self._split(changes[0])
        mean, inverse = self._figures(split)
        normal = (split - mean) * inverse
        if self.centred:
            change = change - change.mean(axis=self.axes, keepdims=True)
        along = (change * normal).mean(axis=self.axes, keepdims=True)
        out = ((change - normal * along) * inverse).reshape(inputs[0].shape)
        return np.asarray(out if self.gamma is None else out * self.gamma)

    def normal(self, x: Array) -> Array:
        """Return the input, normalised, before gamma and beta."""
        split = self._split(x)
        mean, inverse = self._figures(split)
        return np.asarray(((split - mean) * inverse).reshape(x.shape))

    @property
    def formula(self) -> str:
        """Return the normalisation, with the learned factor and addend if there are any."""
        scaled = "x / sqrt(mean of x^2 + epsilon)"
        if self.centred:
            scaled = "(x - mean) / sqrt(variance + epsilon)"
        gamma = "gamma " if self.gamma is not None else ""
        return f"y = {gamma}{scaled}{' + beta' if self.beta is not None else ''}"

    def sentence(self, shapes: Shapes) -> str:
        """Return what is normalised together."""
        everywhere = set(range(1, len(shapes.input))) <= set(self.axes) and len(shapes.input) > 1
        where = "all positions" if everywhere else "each position"
        if self.groups > 1:
            which = f"each of {self.groups} groups of channels over {where}"
        else:
            which = "all values" if everywhere else f"the channels of {where}"
        if len(shapes.input) == 1 and self.groups == 1:
            which = "all values"
        what = "subtracts the mean of" if self.centred else "takes"
        by = "its standard deviation" if self.centred else "its root mean square"
        return f"For the present image, {what} {which} and divides by {by}."

    def equation(self, at: UnitInputs) -> Equation:
        """Return the normalisation with the unit's numbers."""
        split = self._split(at.x[None])
        figures = [np.broadcast_to(part, split.shape) for part in self._figures(split)]
        mean, inverse = (float(part.reshape(at.shape)[at.unit]) for part in figures)
        gamma, beta = (
            default if part is None else float(np.broadcast_to(part, at.shape)[at.unit])
            for part, default in ((self.gamma, 1.0), (self.beta, 0.0))
        )
        variance, x = inverse**-2 - self.epsilon, at.same_unit
        value = gamma * (x - mean) * inverse + beta
        text = (
            f"{number(value)} = {number(gamma)} ({number(x)} - {operand(mean)}) /"
            f" sqrt({number(variance)} + {self.epsilon:g}) + {operand(beta)}"
        )
        operands = {
            "x": x,
            "mean": mean,
            "variance": variance,
            "gamma": gamma,
            "beta": beta,
            "epsilon": self.epsilon,
        }
        return Equation(text, operands, value)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return one for each value in the variance, one in the division and one for gamma."""
        return prod(shapes.output) * (2 if self.gamma is None else 3)

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads all units that are normalised with it."""
        positions = range(1, len(shapes.input))
        if any(axis in self.axes for axis in positions):
            return Everything(keeps_position=True)
        return SAME_POSITION

    @property
    def keeps_channels(self) -> bool:
        """Return False: every unit depends on other channels."""
        return False

    @property
    def changes_values(self) -> bool:
        """Return True."""
        return True


@dataclass(frozen=True)
class UnitNormalization(Operation):
    """Divides values by their Euclidean length, so that it becomes 1.

    Attributes:
        axes: Axes of a vector, with the batch.
    """

    axes: tuple[int, ...]

    def _inverse_length(self, x: Array) -> Array:
        length = np.sqrt((x * x).sum(axis=self.axes, keepdims=True))
        return np.asarray(1 / np.maximum(length, x.dtype.type(MIN_LENGTH)))

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the input, scaled."""
        return np.asarray(inputs[0] * self._inverse_length(inputs[0]))

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        inverse = self._inverse_length(inputs[0])
        along = (grad * output).sum(axis=self.axes, keepdims=True)
        return [np.asarray((grad - output * along) * inverse)]

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the derivative: the length changes, too."""
        inverse = self._inverse_length(inputs[0])
        along = (changes[0] * output).sum(axis=self.axes, keepdims=True)
        return np.asarray((changes[0] - output * along) * inverse)

    @property
    def formula(self) -> str:
        """Return the division."""
        return "y = x / sqrt(sum of x^2)"

    def sentence(self, shapes: Shapes) -> str:
        """Return what the layer does."""
        return "Scales each vector of values, so that its Euclidean length is 1."

    def equation(self, at: UnitInputs) -> Equation:
        """Return the division with the unit's numbers."""
        lengths = 1 / np.broadcast_to(self._inverse_length(at.x[None]), (1, *at.x.shape))[0]
        length, x = float(lengths[at.unit]), at.same_unit
        text = f"{number(x / length)} = {number(x)} / {number(length)}"
        return Equation(text, {"x": x, "length": length}, x / length)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return one for each value in the length, and one in the division."""
        return 2 * prod(shapes.output)

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads all units of its vector."""
        alone = self.axes == (len(shapes.input),)
        return SAME_POSITION if alone else Everything(keeps_position=True)

    @property
    def keeps_channels(self) -> bool:
        """Return False: every unit depends on other channels."""
        return False

    @property
    def changes_values(self) -> bool:
        """Return True."""
        return True


def _axes(value: Any, shape: Shape) -> tuple[int, ...]:
    """Return Keras's axis or axes, counted from the batch."""
    given = [value] if isinstance(value, int) else list(value)
    return tuple(sorted(int(axis) % (len(shape) + 1) for axis in given))


def _spread(values: Array | None, axes: tuple[int, ...], shape: Shape) -> Array | None:
    """Return weights `[sizes of the axes]` with axes of size 1 for the others of the output."""
    if values is None:
        return None
    return values.reshape([size if at in axes else 1 for at, size in enumerate(shape, 1)])


def _layer_normalization(*, centred: bool) -> LayerKind:
    def build(saved: SavedLayer) -> Operation | Unsupported:
        shape, config, weights = saved.shapes.input, saved.config, saved.weights
        axes = _axes(config["axis"], shape)
        if config.get("rms_scaling"):  # an option of old versions
            return unsupported("it uses rms_scaling", saved)
        if len(shape) not in axes:
            return unsupported("it does not normalise over the channels", saved)
        # The channels are split into one group of all.
        split = (*(axis for axis in axes if axis < len(shape)), len(shape), len(shape) + 1)
        gamma = _spread(weights.get("gamma"), axes, shape)
        beta = _spread(weights.get("beta"), axes, shape)
        return Standardisation(1, split, gamma, beta, float(config["epsilon"]), centred)

    names = _affine_weights if centred else _root_weights
    return LayerKind(build, names, "`axis` with the channels")


def _group_normalization(saved: SavedLayer) -> Operation | Unsupported:
    shape, config, weights = saved.shapes.input, saved.config, saved.weights
    if _axes(config["axis"], shape) != (len(shape),):
        return unsupported("its axis is not the last", saved)
    groups = int(config["groups"])
    groups = shape[-1] if groups == -1 else groups
    axes = (*range(1, len(shape)), len(shape) + 1)
    return Standardisation(
        groups, axes, weights.get("gamma"), weights.get("beta"), float(config["epsilon"])
    )


def _unit_normalization(saved: SavedLayer) -> Operation:
    return UnitNormalization(_axes(saved.config["axis"], saved.shapes.input))


def _affine_weights(config: Config) -> tuple[str, ...]:
    by_root = bool(config.get("rms_scaling"))
    gamma = ("gamma",) if config.get("scale") or by_root else ()
    return (*gamma, "beta") if config.get("center") and not by_root else gamma


def _root_weights(config: Config) -> tuple[str, ...]:
    return ("gamma",)


KINDS = {
    "LayerNormalization": _layer_normalization(centred=True),
    "GroupNormalization": LayerKind(_group_normalization, _affine_weights, "the last axis"),
    "RMSNormalization": _layer_normalization(centred=False),
    "UnitNormalization": LayerKind(_unit_normalization, no_weights),
}
