"""Layers that combine several inputs: arithmetic unit by unit, and concatenation of channels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.network.equation import Equation, UnitInputs, number
from app.network.functions import Array
from app.network.geometry import SAME_POSITION, Footprint
from app.network.operation import LayerKind, Operation, SavedLayer, Shapes, no_weights

Operator = Literal["add", "average", "multiply", "subtract", "maximum", "minimum"]
_FUNCTIONS: dict[Operator, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "average": np.add,
    "multiply": np.multiply,
    "subtract": np.subtract,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
_FORMULAS: dict[Operator, str] = {
    "add": "y = x1 + x2 + ...",
    "average": "y = (x1 + x2 + ... + xn) / n",
    "multiply": "y = x1 x2 ...",
    "subtract": "y = x1 - x2",
    "maximum": "y = max(x1, x2, ...)",
    "minimum": "y = min(x1, x2, ...)",
}
_SENTENCES: dict[Operator, str] = {
    "add": "Adds its inputs, unit by unit.",
    "average": "Takes the mean of its inputs, unit by unit.",
    "multiply": "Multiplies its inputs, unit by unit.",
    "subtract": "Subtracts the second input from the first, unit by unit.",
    "maximum": "Keeps the largest of its inputs, unit by unit.",
    "minimum": "Keeps the smallest of its inputs, unit by unit.",
}


@dataclass(frozen=True)
class Merge(Operation):
    """Arithmetic on several inputs of one shape, unit by unit."""

    operator: Operator

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the combined inputs."""
        out = inputs[0]
        for other in inputs[1:]:
            out = _FUNCTIONS[self.operator](out, other)
        return np.asarray(out / len(inputs)) if self.operator == "average" else out

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of each input; of equal extremes the first gets all of it."""
        if self.operator == "multiply":
            return [
                np.asarray(grad * np.prod([b for j, b in enumerate(inputs) if j != i], axis=0))
                for i in range(len(inputs))
            ]
        if self.operator in ("maximum", "minimum"):
            unclaimed = np.ones(output.shape, bool)
            grads = []
            for part in inputs:
                selected = unclaimed & (part == output)
                grads.append(np.where(selected, grad, 0))
                unclaimed &= ~selected
            return grads
        if self.operator == "average":
            return [grad / len(inputs)] * len(inputs)
        return [grad, *[-grad if self.operator == "subtract" else grad] * (len(inputs) - 1)]

    @property
    def formula(self) -> str:
        """Return the arithmetic."""
        return _FORMULAS[self.operator]

    def sentence(self, shapes: Shapes) -> str:
        """Return what the layer does to its inputs."""
        return _SENTENCES[self.operator]

    def equation(self, at: UnitInputs) -> Equation:
        """Return the arithmetic with the unit's numbers."""
        values = np.array([part[at.unit] for part in at.inputs])
        value = float(self.forward([values[i : i + 1] for i in range(len(values))])[0])
        text = f"{number(value)} = {self.operator} of {', '.join(number(part) for part in values)}"
        return Equation(text, {"values": values}, value)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return 0: there are no weights."""
        return 0

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads its own position in each input."""
        return SAME_POSITION

    @property
    def keeps_channels(self) -> bool:
        """Return False: a channel comes from several inputs."""
        return False

    @property
    def changes_values(self) -> bool:
        """Return True."""
        return True


@dataclass(frozen=True)
class Concatenate(Operation):
    """The inputs' channels one after the other."""

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the inputs, joined along the last axis."""
        return np.concatenate(inputs, axis=-1)

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return each input's part of the gradient."""
        ends = np.cumsum([part.shape[-1] for part in inputs])[:-1]
        return list(np.split(grad, ends, axis=-1))

    @property
    def formula(self) -> str:
        """Return the order of the channels."""
        return "y = x1, x2, ... one after the other"

    def sentence(self, shapes: Shapes) -> str:
        """Return what the layer does to its inputs."""
        return "Puts its inputs' channels one after the other."

    def equation(self, at: UnitInputs) -> Equation:
        """Return the value, and the input and channel that it comes from."""
        ends = np.cumsum([part.shape[-1] for part in at.inputs])
        source = int(np.searchsorted(ends, at.channel, side="right"))
        channel = at.channel - (int(ends[source - 1]) if source else 0)
        value = float(at.inputs[source][(*at.unit[:-1], channel)])
        text = f"{number(value)} = {number(value)}, channel {channel} of input {source}"
        return Equation(text, {"x": value, "input": source, "channel": channel}, value)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return 0: nothing is computed."""
        return 0

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads its own position in each input."""
        return SAME_POSITION

    @property
    def keeps_channels(self) -> bool:
        """Return False: channels get new indices."""
        return False

    @property
    def changes_values(self) -> bool:
        """Return False: values only move."""
        return False


def _merge(operator: Operator) -> LayerKind:
    def build(saved: SavedLayer) -> Operation | None:
        return Merge(operator) if len(set(saved.shapes.inputs)) == 1 else None

    return LayerKind(build, no_weights)


def _concatenate(saved: SavedLayer) -> Operation | None:
    last_axis = saved.config.get("axis", -1) in (-1, len(saved.shapes.output))
    return Concatenate() if last_axis else None


KINDS = {
    "Add": _merge("add"),
    "Average": _merge("average"),
    "Multiply": _merge("multiply"),
    "Subtract": _merge("subtract"),
    "Maximum": _merge("maximum"),
    "Minimum": _merge("minimum"),
    "Concatenate": LayerKind(_concatenate, no_weights),
}
