"""Softmax, which turns logits into probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.network.equation import MAX_TERMS, Equation, UnitInputs, number
from app.network.functions import Array, softmax
from app.network.geometry import SAME_POSITION, Everything, Footprint
from app.network.operation import LayerKind, Operation, SavedLayer, Shapes, no_weights


@dataclass(frozen=True)
class Softmax(Operation):
    """Each value's share of the sum of exponentials along the last axis."""

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the shares, which sum to 1 along the last axis."""
        return softmax(inputs[0])

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        inner = (grad * output).sum(axis=-1, keepdims=True)
        return [np.asarray(output * (grad - inner))]

    @property
    def formula(self) -> str:
        """Return the share of unit k."""
        return "y[k] = exp(x[k]) / sum over j of exp(x[j])"

    def sentence(self, shapes: Shapes) -> str:
        """Return what softmax does."""
        return f"Turns {shapes.channels} numbers into shares that sum to 1: the probabilities."

    def equation(self, at: UnitInputs) -> Equation:
        """Return the unit's exponential over the sum of all; `exp(max)` is divided out."""
        row = at.x[at.unit[:-1]]
        raised = np.exp(row - row.max())
        total = float(raised.sum())
        value = float(raised[at.channel] / total)
        terms = [f"exp({number(x)})" for x in row[:MAX_TERMS]]
        denominator = " + ".join(terms) + (" + ..." if row.size > MAX_TERMS else "")
        text = f"{number(value)} = exp({number(row[at.channel])}) / ({denominator})"
        operands = {"x": row, "exponentials": raised, "subtracted": float(row.max()), "sum": total}
        return Equation(text, operands, value)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return 0: there are no weights."""
        return 0

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads all units along the last axis at its position."""
        return SAME_POSITION if shapes.spatial else Everything()

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


def _softmax(saved: SavedLayer) -> Operation | None:
    return Softmax() if saved.config.get("axis", -1) in (-1, [-1]) else None


KINDS = {"Softmax": LayerKind(_softmax, no_weights)}
