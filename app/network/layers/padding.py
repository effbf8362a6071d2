"""Zero padding: rows and columns of zeros around each channel."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from app.network.equation import Equation, UnitInputs, number
from app.network.functions import Array
from app.network.geometry import Footprint, Patch
from app.network.operation import LayerKind, Operation, SavedLayer, Shapes, no_weights
from app.network.window import bordered, borders


@dataclass(frozen=True)
class Shift(Operation):
    """Values that move within their channels; the base of padding and cropping.

    Attributes:
        borders: How many rows and columns are added or removed, of each axis: (above, below),
            (left, right).
    """

    borders: tuple[tuple[int, int], ...]

    @property
    @abstractmethod
    def shifts(self) -> list[int]:
        """Return what is added to a unit's row and column to find its value in the input."""

    @property
    def slope_name(self) -> str:
        """Return 1."""
        return "1, because the value is copied"

    @property
    def formula(self) -> str:
        """Return which value moves where."""
        return f"y{shift_formula([0] * len(self.borders))} = x{shift_formula(self.shifts)}"

    def equation(self, at: UnitInputs) -> Equation:
        """Return the value and its position in the input, or 0 in the padding."""
        place = [there + shift for there, shift in zip(at.unit, self.shifts, strict=False)]
        if all(0 <= there < size for there, size in zip(place, at.x.shape, strict=False)):
            value = float(at.x[(*place, at.channel)])
            text = f"{number(value)} = {number(value)}, from {place_text(place)}"
            return Equation(text, {"x": value, "place": place, "padding": False}, value)
        return Equation("0 = 0, padding", {"x": 0.0, "place": None, "padding": True}, 0.0)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return 0: nothing is computed."""
        return 0

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads the position before the shift."""
        down, right = [*self.shifts, 0][:2]
        return Patch(start=(down, right), channel_shift=0)

    @property
    def keeps_channels(self) -> bool:
        """Return True: values stay in their channels."""
        return True

    @property
    def changes_values(self) -> bool:
        """Return False: values only move."""
        return False

    def _enlarged(self, values: Array) -> Array:
        """Return an array with zeros at its border."""
        return bordered(values, self.borders)

    def _reduced(self, values: Array) -> Array:
        """Return an array without its border."""
        places = (
            slice(before, size - behind)
            for (before, behind), size in zip(self.borders, values.shape[1:], strict=False)
        )
        return values[(slice(None), *places)]


class Pad(Shift):
    """Zeros around each channel."""

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the input with zeros around it."""
        return self._enlarged(inputs[0])

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient without the padding."""
        return [self._reduced(grad)]

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the change, treated as the input is: the layer is linear."""
        return self.forward(changes)

    @property
    def shifts(self) -> list[int]:
        """Return minus the rows above and the columns to the left."""
        return [-before for before, _ in self.borders]

    @property
    def formula(self) -> str:
        """Return which value moves where, and what is in the padding."""
        return f"{super().formula}, else 0"

    def sentence(self, shapes: Shapes) -> str:
        """Return both sizes, and what padding is for."""
        before, after = shapes.size_text()
        return (
            f"Adds zeros around each channel ({before} becomes {after}), so that"
            " the next layer can look at the border."
        )


def shift_formula(shifts: Sequence[int]) -> str:
    """Return the index of a moved value in a formula, such as `[i + 3, j - 1, c]`.

    Args:
        shifts: What is added to the index of each axis; zeros for the index itself.
    """
    places = []
    for name, shift in zip("ij", shifts, strict=False):
        sign = "-" if shift < 0 else "+"
        places.append(f"{name} {sign} {abs(shift)}" if shift else name)
    return f"[{', '.join(places)}, c]"


def place_text(place: Sequence[int]) -> str:
    """Return a position in words, such as `row 3, column 5`."""
    return ", ".join(f"{name} {at}" for name, at in zip(("row", "column"), place, strict=False))


def _zero_padding(axes: int) -> LayerKind:
    def build(saved: SavedLayer) -> Operation:
        return Pad(borders(saved.config["padding"], axes))

    return LayerKind(build, no_weights)


KINDS = {"ZeroPadding1D": _zero_padding(1), "ZeroPadding2D": _zero_padding(2)}
