"""Poolings: the maximum or mean of each window, or of each whole channel.

Arrays are `[N, H, W, C]` or `[N, T, C]`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from app.network.equation import MAX_TERMS, Equation, UnitInputs, number
from app.network.functions import Array
from app.network.geometry import Everything, Footprint
from app.network.layers.padding import place_text
from app.network.operation import LayerKind, Operation, SavedLayer, Shapes, no_weights
from app.network.window import Window

Reduction = Literal["max", "average"]
_WORDS: dict[Reduction, str] = {"max": "the largest value", "average": "the mean"}
_SYMBOLS: dict[Reduction, str] = {"max": "max", "average": "mean"}


@dataclass(frozen=True)
class Pooling(Operation):
    """The maximum or mean of each window; padding does not count."""

    window: Window
    reduction: Reduction

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's output."""
        (x,) = inputs
        size = (*self.window.output_size(x.shape[1:]), x.shape[-1])
        if self.reduction == "average":
            padded = self.window.padded(x)
            total = np.zeros((len(x), *size), x.dtype)
            for _, at in self.window.taps(x.shape[1:]):
                total += padded[at]
            return np.asarray(total / self._counts(x))
        padded = self.window.padded(x, -np.inf)
        largest = np.full((len(x), *size), -np.inf, x.dtype)
        for _, at in self.window.taps(x.shape[1:]):
            np.maximum(largest, padded[at], out=largest)
        return largest

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input; of equal maxima the first gets all of it."""
        (x,) = inputs
        padded = self.window.padded(x, -np.inf if self.reduction == "max" else 0.0)
        total = np.zeros_like(padded)
        if self.reduction == "average":
            share = grad / self._counts(x)
            for _, at in self.window.taps(x.shape[1:]):
                total[at] += share
        else:
            unclaimed = np.ones(output.shape, bool)
            for _, at in self.window.taps(x.shape[1:]):
                selected = unclaimed & (padded[at] == output)
                total[at] += grad * selected  # `np.where` takes 15 times as long
                unclaimed &= ~selected
        return [self.window.unpadded(total, x.shape[1:])]

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the mean change of each window, or that of its first maximum."""
        if self.reduction == "average":
            return self.forward(changes)
        padded, change = self.window.padded(inputs[0], -np.inf), self.window.padded(changes[0])
        total, unclaimed = np.zeros_like(output), np.ones(output.shape, bool)
        for _, at in self.window.taps(inputs[0].shape[1:]):
            selected = unclaimed & (padded[at] == output)
            total += change[at] * selected
            unclaimed &= ~selected
        return total

    def _counts(self, x: Array) -> Array:
        """Return how many values of the input each window covers, `[1, *positions, 1]`."""
        ones = self.window.padded(np.ones((1, *x.shape[1:-1], 1), x.dtype))
        counts = np.zeros((1, *self.window.output_size(x.shape[1:]), 1), x.dtype)
        for _, at in self.window.taps(x.shape[1:]):
            counts += ones[at]
        return counts

    @property
    def slope_name(self) -> str:
        """Return what a unit gets of the value."""
        if self.reduction == "average":
            return "1 over the number of values in the mean"
        return "1, because it is the maximum"

    @property
    def formula(self) -> str:
        """Return the reduction over a window."""
        return (
            f"y[{self.window.output_names}, c] = {_SYMBOLS[self.reduction]} of"
            f" {self.window.formula('c')} over {self.window.tap_ranges}"
        )

    def sentence(self, shapes: Shapes) -> str:
        """Return what is kept, and both sizes."""
        before, after = shapes.size_text()
        return (
            f"Keeps {_WORDS[self.reduction]} of each {self.window.size_text} window of a channel:"
            f" {before} becomes {after}."
        )

    def equation(self, at: UnitInputs) -> Equation:
        """Return the reduction with the values of the unit's window."""
        reads = [read for _, read in self.window.taps_inside(at.x.shape, at.unit[:-1])]
        values = np.array([at.x[(*read, at.channel)] for read in reads])
        places = [list(read) for read in reads]
        operands: dict[str, Any] = {"values": values, "places": places}
        value = float(values.max() if self.reduction == "max" else values.mean())
        if self.reduction == "max":
            operands["winner"] = places[int(values.argmax())]
        listed = ", ".join(number(part) for part in values[:MAX_TERMS])
        rest = ", ..." if values.size > MAX_TERMS else ""
        text = f"{number(value)} = {_SYMBOLS[self.reduction]}({listed}{rest})"
        return Equation(text, operands, value)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return 0: there are no weights."""
        return 0

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return the window."""
        return self.window.footprint(shapes.input, channel_shift=0)

    @property
    def keeps_channels(self) -> bool:
        """Return True: each channel is pooled alone."""
        return True

    @property
    def changes_values(self) -> bool:
        """Return True."""
        return True


@dataclass(frozen=True)
class GlobalPooling(Operation):
    """The maximum or mean of each whole channel.

    Attributes:
        reduction: What is computed.
        axes: Number of axes that the positions have.
        keepdims: Whether the output is `[1, 1, C]` instead of `[C]`.
    """

    reduction: Reduction
    axes: int
    keepdims: bool = False

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return `[N, C]`, or `[N, 1, 1, C]`."""
        (x,) = inputs
        reduce = np.max if self.reduction == "max" else np.mean
        return np.asarray(reduce(x, axis=_positions(x), keepdims=self.keepdims))

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input; equal maxima share it, as in TensorFlow."""
        (x,) = inputs
        kept = (len(x), *[1] * len(_positions(x)), x.shape[-1])
        grad = grad.reshape(kept)
        if self.reduction == "average":
            return [np.broadcast_to(grad / math.prod(x.shape[1:-1]), x.shape)]
        selected = (x == output.reshape(kept)).astype(x.dtype)
        return [selected * grad / selected.sum(axis=_positions(x), keepdims=True)]

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the mean change of each channel, or that of its maximum."""
        if self.reduction == "average":
            return self.forward(changes)
        axes = _positions(inputs[0])
        kept = (len(output), *[1] * len(axes), output.shape[-1])
        selected = inputs[0] == output.reshape(kept)
        total = (changes[0] * selected).sum(axis=axes) / selected.sum(axis=axes)
        return np.asarray(total.reshape(output.shape))

    @property
    def slope_name(self) -> str:
        """Return what a unit gets of the value."""
        if self.reduction == "average":
            return "1 over the number of values in the mean"
        return "1, because it is the maximum"

    @property
    def formula(self) -> str:
        """Return the reduction over a channel."""
        names = ", ".join("ij"[: self.axes])
        return f"y[c] = {_SYMBOLS[self.reduction]} of x[{names}, c] over all {names}"

    def sentence(self, shapes: Shapes) -> str:
        """Return what is kept."""
        return f"Keeps {_WORDS[self.reduction]} of each of the {shapes.channels} channels."

    def equation(self, at: UnitInputs) -> Equation:
        """Return the reduction with the values of the unit's channel."""
        values = at.x[..., at.channel]
        operands: dict[str, Any] = {"values": values}
        if self.reduction == "average":
            value = float(values.mean())
            text = (
                f"{number(value)} = {number(values.sum())} / {values.size},"
                f" the mean of {values.size} values"
            )
            return Equation(text, operands, value)
        value = float(values.max())
        winner = [int(i) for i in np.unravel_index(int(values.argmax()), values.shape)]
        text = f"{number(value)} = max of {values.size} values, at {place_text(winner)}"
        return Equation(text, {**operands, "winner": winner}, value)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return 0: there are no weights."""
        return 0

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads every position."""
        return Everything()

    @property
    def keeps_channels(self) -> bool:
        """Return True: each channel is pooled alone."""
        return True

    @property
    def changes_values(self) -> bool:
        """Return True."""
        return True


def _positions(x: Array) -> tuple[int, ...]:
    """Return the axes between the batch and the channels."""
    return tuple(range(1, x.ndim - 1))


def _pooling(reduction: Reduction, axes: int) -> LayerKind:
    def build(saved: SavedLayer) -> Operation:
        window = Window.from_keras(
            saved.config, saved.config["pool_size"], axes, saved.shapes.input
        )
        return Pooling(window, reduction)

    return LayerKind(build, no_weights)


def _global_pooling(reduction: Reduction, axes: int) -> LayerKind:
    def build(saved: SavedLayer) -> Operation:
        return GlobalPooling(reduction, axes, bool(saved.config.get("keepdims")))

    return LayerKind(build, no_weights)


KINDS = {
    "MaxPooling1D": _pooling("max", 1),
    "MaxPooling2D": _pooling("max", 2),
    "AveragePooling1D": _pooling("average", 1),
    "AveragePooling2D": _pooling("average", 2),
    "GlobalMaxPooling1D": _global_pooling("max", 1),
    "GlobalMaxPooling2D": _global_pooling("max", 2),
    "GlobalAveragePooling1D": _global_pooling("average", 1),
    "GlobalAveragePooling2D": _global_pooling("average", 2),
}
