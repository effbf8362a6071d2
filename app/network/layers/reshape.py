"""Layers that arrange the same values in another shape: Flatten and Reshape."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.network.equation import Equation, UnitInputs, number
from app.network.functions import Array
from app.network.geometry import Footprint, Reordered, Shape
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
        return "y[((i W) + j) C + c] = x[c, i, j]"


def _reshape(saved: SavedLayer) -> Operation:
    return Reshape(saved.shapes.output)


def _flatten(saved: SavedLayer) -> Operation:
    return Flatten(saved.shapes.output)


KINDS = {
    "Reshape": LayerKind(_reshape, no_weights),
    "Flatten": LayerKind(_flatten, no_weights),
}
