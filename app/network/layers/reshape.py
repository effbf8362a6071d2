"""Layers that arrange the same values in another way: Flatten, Reshape, Permute, RepeatVector."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.network.equation import Equation, UnitInputs, number
from app.network.functions import Array
from app.network.geometry import SAME_UNIT, Footprint, Reordered, Shape
from app.network.operation import LayerKind, Operation, SavedLayer, Shapes, no_weights


@dataclass(frozen=True)
class Reshape(Operation):
    """The same values in another shape, row by row.

    Attributes:
        shape: Shape of the output, without the batch.
    """

    shape: Shape

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the input in the new shape."""
        return inputs[0].reshape(len(inputs[0]), *self.shape)

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient in the shape of the input."""
        return [grad.reshape(inputs[0].shape)]

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the change, treated as the input is: the layer is linear."""
        return self.forward(changes)

    @property
    def slope_name(self) -> str:
        """Return 1."""
        return "1, because the value is copied"

    @property
    def formula(self) -> str:
        """Return that the values stay."""
        return "y = x, reshaped"

    def sentence(self, shapes: Shapes) -> str:
        """Return both shapes."""
        before, after = (" x ".join(map(str, shape)) for shape in (shapes.input, self.shape))
        return f"Arranges {before} values as {after}; no value changes."

    def equation(self, at: UnitInputs) -> Equation:
        """Return the value, and its index in the input."""
        flat = int(np.ravel_multi_index(at.unit, self.shape))
        source = [int(index) for index in np.unravel_index(flat, at.x.shape)]
        value = float(at.x.reshape(-1)[flat])
        text = f"{number(value)} = {number(value)}, from index {source} of the input"
        return Equation(text, {"x": value, "source": source}, value)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return 0: nothing is computed."""
        return 0

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads the unit at its place in row order."""
        return Reordered()

    @property
    def keeps_channels(self) -> bool:
        """Return False: a unit may move to another index of the last axis."""
        return False

    @property
    def changes_values(self) -> bool:
        """Return False."""
        return False


@dataclass(frozen=True)
class Flatten(Reshape):
    """A reshape to one axis."""

    @property
    def formula(self) -> str:
        """Return where a unit comes from."""
        return "y[(W i + j) C + c] = x[i, j, c], with W columns and C channels"


@dataclass(frozen=True)
class Permute(Operation):
    """The same values with the axes in another order.

    Attributes:
        axes: The axis of the input that becomes each axis of the output, without the batch.
    """

    axes: tuple[int, ...]

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the input with its axes in the new order."""
        return inputs[0].transpose(0, *(axis + 1 for axis in self.axes))

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient with its axes in the old order."""
        return [grad.transpose(0, *(self.axes.index(axis) + 1 for axis in range(len(self.axes))))]

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the change, treated as the input is: the layer is linear."""
        return self.forward(changes)

    @property
    def slope_name(self) -> str:
        """Return 1."""
        return "1, because the value is copied"

    @property
    def formula(self) -> str:
        """Return which value moves where."""
        names = [f"i{axis + 1}" for axis in range(len(self.axes))]
        moved = [names[self.axes.index(axis)] for axis in range(len(self.axes))]
        return f"y[{', '.join(names)}] = x[{', '.join(moved)}]"

    def sentence(self, shapes: Shapes) -> str:
        """Return both shapes."""
        before, after = (" x ".join(map(str, shape)) for shape in (shapes.input, shapes.output))
        return f"Changes the order of the axes: {before} becomes {after}; no value changes."

    def equation(self, at: UnitInputs) -> Equation:
        """Return the value, and its index in the input."""
        source = [at.unit[self.axes.index(axis)] for axis in range(len(self.axes))]
        value = float(at.x[tuple(source)])
        text = f"{number(value)} = {number(value)}, from index {source} of the input"
        return Equation(text, {"x": value, "source": source}, value)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return 0: nothing is computed."""
        return 0

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads the unit with its own index in another order."""
        return Reordered(self.axes)

    @property
    def keeps_channels(self) -> bool:
        """Tell whether the last axis stays."""
        return self.axes[-1] == len(self.axes) - 1

    @property
    def changes_values(self) -> bool:
        """Return False."""
        return False


@dataclass(frozen=True)
class Repeat(Operation):
    """The same vector several times, one copy in each row.

    Attributes:
        count: Number of copies.
    """

    count: int

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return `[N, count, C]`."""
        return np.repeat(inputs[0][:, None], self.count, axis=1)

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the sum of the copies' gradients."""
        return [np.asarray(grad.sum(axis=1))]

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the change, treated as the input is: the layer is linear."""
        return self.forward(changes)

    @property
    def slope_name(self) -> str:
        """Return 1."""
        return "1, because the value is copied"

    @property
    def formula(self) -> str:
        """Return that each row is the input."""
        return "y[i, c] = x[c]"

    def sentence(self, shapes: Shapes) -> str:
        """Return the number of copies."""
        return f"Repeats its {shapes.channels} values in each of {self.count} rows."

    def equation(self, at: UnitInputs) -> Equation:
        """Return the value, twice."""
        value = float(at.x[at.channel])
        text = f"{number(value)} = {number(value)}, from unit {at.channel} of the input"
        return Equation(text, {"x": value, "source": [at.channel]}, value)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return 0: nothing is computed."""
        return 0

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads the unit of its channel."""
        return SAME_UNIT

    @property
    def keeps_channels(self) -> bool:
        """Return True."""
        return True

    @property
    def changes_values(self) -> bool:
        """Return False."""
        return False


def _reshape(saved: SavedLayer) -> Operation:
    return Reshape(saved.shapes.output)


def _flatten(saved: SavedLayer) -> Operation:
    return Flatten(saved.shapes.output)


def _permute(saved: SavedLayer) -> Operation:
    return Permute(tuple(int(axis) - 1 for axis in saved.config["dims"]))


def _repeat(saved: SavedLayer) -> Operation:
    return Repeat(int(saved.config["n"]))


KINDS = {
    "Reshape": LayerKind(_reshape, no_weights),
    "Flatten": LayerKind(_flatten, no_weights),
    "Permute": LayerKind(_permute, no_weights),
    "RepeatVector": LayerKind(_repeat, no_weights),
}
