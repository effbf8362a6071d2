"""Layers that combine several inputs: arithmetic unit by unit, and concatenation.

Inputs of one arithmetic may have different shapes, as where one number scales each channel: Keras
puts axes of size 1 before the first axis of an input with fewer axes, and repeats axes of size 1.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.network.equation import Equation, UnitInputs, number
from app.network.functions import Array, summed_to
from app.network.geometry import SAME_UNIT, Everything, Footprint, Patch, Shape
from app.network.operation import (
    LayerKind,
    Operation,
    SavedLayer,
    Shapes,
    Unsupported,
    no_weights,
    unsupported,
)

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
    """Arithmetic on several inputs, unit by unit."""

    operator: Operator

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the combined inputs."""
        out, *others = _with_equal_axes(inputs)
        for other in others:
            out = _FUNCTIONS[self.operator](out, other)
        return np.asarray(out / len(inputs)) if self.operator == "average" else out

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of each input, summed over the units that read the same value."""
        parts = self._unit_gradients(_with_equal_axes(inputs), output, grad)
        return [_summed(part, x.shape) for part, x in zip(parts, inputs, strict=True)]

    def _unit_gradients(
        self, inputs: Sequence[Array], output: Array, grad: Array
    ) -> Sequence[Array]:
        """Return the gradient of each input, unit by unit; the first of equal extremes gets it."""
        if self.operator == "multiply":
            return [
                np.asarray(grad * math.prod(b for j, b in enumerate(inputs) if j != i))
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

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return what each input's change adds."""
        if self.operator not in ("multiply", "maximum", "minimum"):
            return self.forward(changes)
        slopes = self._unit_gradients(_with_equal_axes(inputs), output, np.ones_like(output))
        parts = zip(slopes, _with_equal_axes(changes), strict=True)
        return np.asarray(sum(slope * change for slope, change in parts))

    @property
    def formula(self) -> str:
        """Return the arithmetic."""
        return _FORMULAS[self.operator]

    def sentence(self, shapes: Shapes) -> str:
        """Return what the layer does to its inputs."""
        return _SENTENCES[self.operator]

    def equation(self, at: UnitInputs) -> Equation:
        """Return the arithmetic with the unit's numbers."""
        values = np.array(
            [
                np.broadcast_to(part[0], at.shape)[at.unit]
                for part in _with_equal_axes([x[None] for x in at.inputs])
            ]
        )
        value = float(self.forward([values[i : i + 1] for i in range(len(values))])[0])
        text = f"{number(value)} = {self.operator} of {', '.join(number(part) for part in values)}"
        return Equation(text, {"values": values}, value)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return one for each value and further input of a product, else 0."""
        return (len(shapes.inputs) - 1) * math.prod(shapes.output) * (self.operator == "multiply")

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads the unit with its own index in each input."""
        return SAME_UNIT

    def footprints(self, shapes: Shapes) -> tuple[Footprint, ...]:
        """Return the same unit, or for a smaller input the one that is repeated."""
        return tuple(_footprint(shape, shapes.output) for shape in shapes.inputs)

    @property
    def keeps_channels(self) -> bool:
        """Return False: a channel comes from several inputs."""
        return False

    @property
    def changes_values(self) -> bool:
        """Return True."""
        return True


def _with_equal_axes(inputs: Sequence[Array]) -> list[Array]:
    """Return the inputs `[N, ...]` with as many axes as the one that has most."""
    most = max(x.ndim for x in inputs)
    return [x.reshape(len(x), *[1] * (most - x.ndim), *x.shape[1:]) for x in inputs]


def _summed(grad: Array, shape: Shape) -> Array:
    """Return the gradient of an input `[N, ...]` that was repeated along some axes."""
    added = tuple(range(1, 1 + grad.ndim - len(shape)))
    return summed_to(grad.sum(axis=added) if added else grad, shape)


def _footprint(shape: Shape, output: Shape) -> Footprint:
    """Return what a unit reads of an input that may be smaller than the output."""
    channel_shift = 0 if shape[-1] == output[-1] else None
    if len(shape) not in (1, len(output)) or (len(shape) > 3 and shape != output):
        return Everything(keeps_position=True)
    steps = [int(size == whole) for size, whole in zip(shape[:-1], output[:-1], strict=False)]
    down, right = (*steps, 1, 1)[:2]
    return Patch(step=(down, right), channel_shift=channel_shift)


@dataclass(frozen=True)
class Concatenate(Operation):
    """The inputs one after the other along an axis.

    Attributes:
        axis: The axis, counted from the last: -1 for the channels.
    """

    axis: int = -1

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the joined inputs."""
        return np.concatenate(inputs, axis=self.axis)

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return each input's part of the gradient."""
        ends = np.cumsum([part.shape[self.axis] for part in inputs])[:-1]
        return list(np.split(grad, ends, axis=self.axis))

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the change, treated as the input is: the layer is linear."""
        return self.forward(changes)

    @property
    def slope_name(self) -> str:
        """Return 1."""
        return "1, because the value is copied"

    @property
    def formula(self) -> str:
        """Return the order of the inputs."""
        return "y = x1, x2, ... one after the other"

    def sentence(self, shapes: Shapes) -> str:
        """Return what the layer does to its inputs."""
        if self.axis == -1:
            return "Puts its inputs' channels one after the other."
        axis = "rows" if len(shapes.output) + self.axis == 0 else "columns"
        return f"Puts its inputs' {axis} one after the other."

    def equation(self, at: UnitInputs) -> Equation:
        """Return the value, and the input and index that it comes from."""
        ends = np.cumsum([part.shape[self.axis] for part in at.inputs])
        source = int(np.searchsorted(ends, at.unit[self.axis], side="right"))
        place = list(at.unit)
        place[self.axis] -= int(ends[source - 1]) if source else 0
        value = float(at.inputs[source][tuple(place)])
        operands = {"x": value, "input": source, "index": place, "channel": place[-1]}
        if self.axis == -1:
            text = f"{number(value)} = {number(value)}, channel {place[-1]} of input {source}"
            return Equation(text, operands, value)
        text = f"{number(value)} = {number(value)}, index {place} of input {source}"
        return Equation(text, operands, value)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return 0: nothing is computed."""
        return 0

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads its own position in the first input."""
        return self.footprints(shapes)[0]

    def footprints(self, shapes: Shapes) -> tuple[Footprint, ...]:
        """Return the unit with the same index after a shift along the axis."""
        starts = np.cumsum([0, *(shape[self.axis] for shape in shapes.inputs)])
        return tuple(self._footprint(-int(start), len(shapes.output)) for start in starts[:-1])

    def _footprint(self, shift: int, axes: int) -> Footprint:
        if self.axis == -1:
            return Patch(channel_shift=shift)
        if axes > 3:
            return Everything()
        start = (shift, 0) if axes + self.axis == 0 else (0, shift)
        return Patch(start=start, channel_shift=0)

    @property
    def keeps_channels(self) -> bool:
        """Return False: a channel comes from several inputs."""
        return False

    @property
    def changes_values(self) -> bool:
        """Return False: values only move."""
        return False


def _merge(operator: Operator) -> LayerKind:
    def build(saved: SavedLayer) -> Operation | Unsupported:
        if len(saved.shapes.inputs) < 2:
            return unsupported("it has one input", saved)
        return Merge(operator)

    return LayerKind(build, no_weights)


def _concatenate(saved: SavedLayer) -> Operation:
    axis = int(saved.config.get("axis", -1))
    return Concatenate(axis if axis < 0 else axis - len(saved.shapes.output) - 1)


KINDS = {
    "Add": _merge("add"),
    "Average": _merge("average"),
    "Multiply": _merge("multiply"),
    "Subtract": _merge("subtract"),
    "Maximum": _merge("maximum"),
    "Minimum": _merge("minimum"),
    "Concatenate": LayerKind(_concatenate, no_weights),
}
