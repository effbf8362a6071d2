"""Zero padding: rows and columns of zeros around each channel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.network.equation import Equation, UnitInputs, number
from app.network.functions import Array
from app.network.geometry import Footprint, Patch
from app.network.operation import LayerKind, Operation, SavedLayer, Shapes, no_weights
from app.network.window import pairs


@dataclass(frozen=True)
class Pad(Operation):
    """Zeros around each channel.

    Attributes:
        rows: Rows added above and below.
        columns: Columns added left and right.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the input with zeros around it."""
        return np.pad(inputs[0], ((0, 0), self.rows, self.columns, (0, 0)))

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient without the padding."""
        height, width = inputs[0].shape[1:3]
        top, left = self.rows[0], self.columns[0]
        return [grad[:, top : top + height, left : left + width]]

    @property
    def formula(self) -> str:
        """Return which value moves where."""
        return f"y[c, i, j] = x[c, i - {self.rows[0]}, j - {self.columns[0]}], else 0"

    def sentence(self, shapes: Shapes) -> str:
        """Return both sizes, and what padding is for."""
        (height, width), (taller, wider) = shapes.input[:2], shapes.output[:2]
        return (
            f"Adds zeros around each channel ({height}x{width} becomes {taller}x{wider}), so that"
            " the next layer can look at the border."
        )

    def equation(self, at: UnitInputs) -> Equation:
        """Return the value and its position in the input, or 0 in the padding."""
        row, column = at.unit[0] - self.rows[0], at.unit[1] - self.columns[0]
        if 0 <= row < at.x.shape[0] and 0 <= column < at.x.shape[1]:
            value = float(at.x[row, column, at.channel])
            text = f"{number(value)} = {number(value)}, from row {row}, column {column}"
            return Equation(text, {"x": value, "place": [row, column], "padding": False}, value)
        return Equation("0 = 0, padding", {"x": 0.0, "place": None, "padding": True}, 0.0)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return 0: nothing is computed."""
        return 0

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads the position before the shift."""
        return Patch(start=(-self.rows[0], -self.columns[0]))

    @property
    def keeps_channels(self) -> bool:
        """Return True: values stay in their channels."""
        return True

    @property
    def changes_values(self) -> bool:
        """Return False: values only move."""
        return False


def _zero_padding(saved: SavedLayer) -> Operation:
    rows, columns = pairs(saved.config["padding"])
    return Pad(rows, columns)


KINDS = {"ZeroPadding2D": LayerKind(_zero_padding, no_weights)}
