"""Poolings: the maximum or mean of each window, or of each whole channel.

Arrays are `[N, H, W, C]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from app.network.equation import MAX_TERMS, Equation, UnitInputs, number
from app.network.functions import Array
from app.network.geometry import Everything, Footprint
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
            for _, _, at in self.window.taps(x.shape[1:]):
                total += padded[at]
            return np.asarray(total / self._counts(x))
        padded = self.window.padded(x, -np.inf)
        largest = np.full((len(x), *size), -np.inf, x.dtype)
        for _, _, at in self.window.taps(x.shape[1:]):
            np.maximum(largest, padded[at], out=largest)
        return largest

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input; of equal maxima the first gets all of it."""
        (x,) = inputs
        padded = self.window.padded(x, -np.inf if self.reduction == "max" else 0.0)
        total = np.zeros_like(padded)
        if self.reduction == "average":
            share = grad / self._counts(x)
            for _, _, at in self.window.taps(x.shape[1:]):
                total[at] += share
        else:
            unclaimed = np.ones(output.shape, bool)
            for _, _, at in self.window.taps(x.shape[1:]):
                selected = unclaimed & (padded[at] == output)
                total[at] += np.where(selected, grad, 0)
                unclaimed &= ~selected
        return [self.window.unpadded(total, x.shape[1:])]

    def _counts(self, x: Array) -> Array:
        """Return how many values of the input each window covers, `[1, H', W', 1]`."""
        ones = self.window.padded(np.ones((1, *x.shape[1:3], 1), x.dtype))
        counts = np.zeros((1, *self.window.output_size(x.shape[1:]), 1), x.dtype)
        for _, _, at in self.window.taps(x.shape[1:]):
            counts += ones[at]
        return counts

    @property
    def formula(self) -> str:
        """Return the reduction over a window."""
        height, width = self.window.size
        return (
            f"y[c, i, j] = {_SYMBOLS[self.reduction]} of {self.window.formula('c')}"
            f" over a < {height}, b < {width}"
        )

    def sentence(self, shapes: Shapes) -> str:
        """Return what is kept, and both sizes."""
        height, width = self.window.size
        (rows, columns), (fewer_rows, fewer_columns) = shapes.input[:2], shapes.output[:2]
        return (
            f"Keeps {_WORDS[self.reduction]} of each {height}x{width} window of a channel:"
            f" {rows}x{columns} becomes {fewer_rows}x{fewer_columns}."
        )

    def equation(self, at: UnitInputs) -> Equation:
        """Return the reduction with the values of the unit's window."""
        taps = self.window.taps_inside(at.x.shape, at.unit[0], at.unit[1])
        values = np.array([at.x[row, column, at.channel] for _, _, row, column in taps])
        places = [[row, column] for _, _, row, column in taps]
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
        return self.window.footprint(shapes.input)

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
        keepdims: Whether the output is `[1, 1, C]` instead of `[C]`.
    """

    reduction: Reduction
    keepdims: bool = False

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return `[N, C]`, or `[N, 1, 1, C]`."""
        reduce = np.max if self.reduction == "max" else np.mean
        return np.asarray(reduce(inputs[0], axis=(1, 2), keepdims=self.keepdims))

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input; equal maxima share it, as in TensorFlow."""
        (x,) = inputs
        grad = grad.reshape(len(x), 1, 1, -1)
        if self.reduction == "average":
            return [np.broadcast_to(grad / (x.shape[1] * x.shape[2]), x.shape)]
        selected = (x == output.reshape(len(x), 1, 1, -1)).astype(x.dtype)
        return [selected * grad / selected.sum(axis=(1, 2), keepdims=True)]

    @property
    def formula(self) -> str:
        """Return the reduction over a channel."""
        return f"y[c] = {_SYMBOLS[self.reduction]} of x[c, i, j] over all i, j"

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
        row, column = (int(i) for i in np.unravel_index(int(values.argmax()), values.shape))
        text = f"{number(value)} = max of {values.size} values, at row {row}, column {column}"
        return Equation(text, {**operands, "winner": [row, column]}, value)

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


def _pooling(reduction: Reduction) -> LayerKind:
    def build(saved: SavedLayer) -> Operation:
        return Pooling(Window.from_keras(saved.config, saved.config["pool_size"]), reduction)

    return LayerKind(build, no_weights)


def _global_pooling(reduction: Reduction) -> LayerKind:
    def build(saved: SavedLayer) -> Operation:
        return GlobalPooling(reduction, bool(saved.config.get("keepdims")))

    return LayerKind(build, no_weights)


KINDS = {
    "MaxPooling2D": _pooling("max"),
    "AveragePooling2D": _pooling("average"),
    "GlobalMaxPooling2D": _global_pooling("max"),
    "GlobalAveragePooling2D": _global_pooling("average"),
}
