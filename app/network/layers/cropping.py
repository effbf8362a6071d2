"""Cropping: removes rows and columns at the border of each channel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.network.equation import Equation, UnitInputs, number
from app.network.functions import Array
from app.network.geometry import Footprint, Patch
from app.network.operation import LayerKind, Operation, SavedLayer, Shapes, no_weights
from app.network.window import pairs


@dataclass(frozen=True)
class Crop(Operation):
    """The input without some rows and columns at its border.

    Attributes:
        rows: Rows removed above and below.
        columns: Columns removed left and right.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the part of the input that remains."""
        height, width = inputs[0].shape[1:3]
        (top, below), (left, right) = self.rows, self.columns
        return inputs[0][:, top : height - below, left : width - right]

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input: 0 in the removed rows and columns."""
        return [np.pad(grad, ((0, 0), self.rows, self.columns, (0, 0)))]

    @property
    def formula(self) -> str:
        """Return which value moves where."""
        return f"y[c, i, j] = x[c, i + {self.rows[0]}, j + {self.columns[0]}]"

    def sentence(self, shapes: Shapes) -> str:
        """Return both sizes."""
        (height, width), (rows, columns) = shapes.input[:2], shapes.output[:2]
        return f"Cuts off the border of each channel: {height}x{width} becomes {rows}x{columns}."

    def equation(self, at: UnitInputs) -> Equation:
        """Return the value and its position in the input."""
        row, column = at.unit[0] + self.rows[0], at.unit[1] + self.columns[0]
        value = float(at.x[row, column, at.channel])
        text = f"{number(value)} = {number(value)}, from row {row}, column {column}"
        return Equation(text, {"x": value, "place": [row, column], "padding": False}, value)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return 0: nothing is computed."""
        return 0

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads the position before the shift."""
        return Patch(start=(self.rows[0], self.columns[0]))

    @property
    def keeps_channels(self) -> bool:
        """Return True: values stay in their channels."""
        return True

    @property
    def changes_values(self) -> bool:
        """Return False: values only move."""
        return False


def _cropping(saved: SavedLayer) -> Operation:
    rows, columns = pairs(saved.config["cropping"])
    return Crop(rows, columns)


KINDS = {"Cropping2D": LayerKind(_cropping, no_weights)}
