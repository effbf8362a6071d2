"""Cropping: removes rows and columns at the border of each channel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.network.equation import Equation, UnitInputs, number
from app.network.functions import Array
from app.network.geometry import Footprint, Patch
from app.network.layers.padding import place_text, shift_formula
from app.network.operation import (
    LayerKind,
    Operation,
    SavedLayer,
    Shapes,
    Unsupported,
    no_weights,
    unsupported,
)
from app.network.window import borders


@dataclass(frozen=True)
class Crop(Operation):
    """The input without some rows and columns at its border.

    Attributes:
        borders: How many are removed, of each axis: (above, below), (left, right).
    """

    borders: tuple[tuple[int, int], ...]

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the part of the input that remains."""
        places = (
            slice(before, size - behind)
            for (before, behind), size in zip(self.borders, inputs[0].shape[1:], strict=False)
        )
        return inputs[0][(slice(None), *places)]

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input: 0 in the removed rows and columns."""
        return [np.pad(grad, ((0, 0), *self.borders, (0, 0)))]

    @property
    def formula(self) -> str:
        """Return which value moves where."""
        return f"y{shift_formula([0] * len(self.borders))} = x{shift_formula(self._starts)}"

    @property
    def _starts(self) -> list[int]:
        return [before for before, _ in self.borders]

    def sentence(self, shapes: Shapes) -> str:
        """Return both sizes."""
        before, after = shapes.size_text()
        return f"Cuts off the border of each channel: {before} becomes {after}."

    def equation(self, at: UnitInputs) -> Equation:
        """Return the value and its position in the input."""
        place = [there + start for there, start in zip(at.unit, self._starts, strict=False)]
        value = float(at.x[(*place, at.channel)])
        text = f"{number(value)} = {number(value)}, from {place_text(place)}"
        return Equation(text, {"x": value, "place": place, "padding": False}, value)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return 0: nothing is computed."""
        return 0

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads the position before the shift."""
        starts = [*self._starts, 0]
        return Patch(start=(starts[0], starts[1]), channel_shift=0)

    @property
    def keeps_channels(self) -> bool:
        """Return True: values stay in their channels."""
        return True

    @property
    def changes_values(self) -> bool:
        """Return False: values only move."""
        return False


def _cropping(axes: int) -> LayerKind:
    def build(saved: SavedLayer) -> Operation:
        return Crop(borders(saved.config["cropping"], axes))

    return LayerKind(build, no_weights)


def _center_crop(saved: SavedLayer) -> Operation | Unsupported:
    (before, after), edges = (saved.shapes.input, saved.shapes.output), []
    for axis in (0, 1):
        removed = before[axis] - after[axis]
        if removed < 0:
            return unsupported("it enlarges its input", saved)
        edges.append((removed // 2, removed - removed // 2))
    return Crop(tuple(edges))


KINDS = {
    "Cropping1D": _cropping(1),
    "Cropping2D": _cropping(2),
    "CenterCrop": LayerKind(_center_crop, no_weights, "only smaller sizes than the input's"),
}
