"""Softmax, which turns logits into probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.network.equation import MAX_TERMS, Equation, UnitInputs, number
from app.network.functions import Array, softmax
from app.network.geometry import SAME_POSITION, Everything, Footprint
from app.network.operation import (
    LayerKind,
    Operation,
    SavedLayer,
    Shapes,
    Unsupported,
    no_weights,
    unsupported,
)


@dataclass(frozen=True)
class Softmax(Operation):
    """Each value's share of the sum of exponentials along an axis.

    Attributes:
        axis: The axis, counted from the last: -1 for the channels.
    """

    axis: int = -1

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the shares, which sum to 1 along the axis."""
        return softmax(inputs[0], self.axis)

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        inner = (grad * output).sum(axis=self.axis, keepdims=True)
        return [np.asarray(output * (grad - inner))]

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the derivative: every share loses what the others gain."""
        inner = (changes[0] * output).sum(axis=self.axis, keepdims=True)
        return np.asarray(output * (changes[0] - inner))

    @property
    def formula(self) -> str:
        """Return the share of unit k."""
        return "y[c] = exp(x[c]) / sum over k of exp(x[k])"

    def sentence(self, shapes: Shapes) -> str:
        """Return what softmax does."""
        numbers = shapes.output[self.axis]
        if len(shapes.output) == 1:
            return f"Turns {numbers} numbers into shares that sum to 1: the probabilities."
        return f"Turns each {numbers} numbers along one axis into shares that sum to 1."

    def equation(self, at: UnitInputs) -> Equation:
        """Return the unit's exponential over the sum of all; `exp(max)` is divided out."""
        index: list[int | slice] = list(at.unit)
        index[self.axis] = slice(None)
        row, place = at.x[tuple(index)], at.unit[self.axis]
        raised = np.exp(row - row.max())
        total = float(raised.sum())
        value = float(raised[place] / total)
        terms = [f"exp({number(x)})" for x in row[:MAX_TERMS]]
        denominator = " + ".join(terms) + (" + ..." if row.size > MAX_TERMS else "")
        text = f"{number(value)} = exp({number(row[place])}) / ({denominator})"
        operands = {
            "x": row,
            "at": place,
            "exponentials": raised,
            "subtracted": float(row.max()),
            "sum": total,
        }
        return Equation(text, operands, value)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return 0: there are no weights."""
        return 0

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads all units along the axis."""
        return SAME_POSITION if self.axis == -1 else Everything(keeps_position=True)

    @property
    def keeps_channels(self) -> bool:
        """Return False: every share depends on all channels."""
        return False

    @property
    def changes_values(self) -> bool:
        """Return True."""
        return True

    @property
    def activation_name(self) -> str:
        """Return `softmax`."""
        return "softmax"


def _softmax(saved: SavedLayer) -> Operation | Unsupported:
    axes = saved.config.get("axis", -1)
    axes = [axes] if isinstance(axes, int) else list(axes)
    if len(axes) != 1:
        return unsupported("it runs over several axes", saved)
    axis = int(axes[0])
    return Softmax(axis if axis < 0 else axis - len(saved.shapes.output) - 1)


KINDS = {"Softmax": LayerKind(_softmax, no_weights, "one axis")}
