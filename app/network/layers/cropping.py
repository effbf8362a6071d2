"""Cropping: removes rows and columns at the border of each channel."""

from collections.abc import Sequence

from app.network.functions import Array
from app.network.layers.padding import Shift
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


class Crop(Shift):
    """The input without some rows and columns at its border."""

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the part of the input that remains."""
        return self._reduced(inputs[0])

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input: 0 in the removed rows and columns."""
        return [self._enlarged(grad)]

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the change, treated as the input is: the layer is linear."""
        return self.forward(changes)

    @property
    def shifts(self) -> list[int]:
        """Return the rows above and the columns to the left."""
        return [before for before, _ in self.borders]

    def sentence(self, shapes: Shapes) -> str:
        """Return both sizes."""
        before, after = shapes.size_text()
        return f"Cuts off the border of each channel: {before} becomes {after}."


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
