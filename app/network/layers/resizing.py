"""Layers that enlarge or reduce an image by interpolation: UpSampling and Resizing."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from app.network.equation import Equation, UnitInputs, number, operand
from app.network.functions import Array
from app.network.geometry import Footprint, Patch
from app.network.layers.padding import place_text
from app.network.operation import (
    LayerKind,
    Operation,
    SavedLayer,
    Shapes,
    Unsupported,
    no_weights,
    unsupported,
)

MAX_WEIGHTS = 1 << 24  # of one axis, 64 MiB: 4096 rows or columns from as many
Rule = Literal["nearest", "bilinear"]


@dataclass(frozen=True)
class Interpolation(Operation):
    """Each unit is a weighted mean of its nearest positions in the input, or a copy of the nearest.

    Attributes:
        matrices: Weights of each axis, `[rows or columns after, before]`.
        rule: `nearest` or `bilinear`.
    """

    matrices: tuple[Array, ...]
    rule: Rule

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the input in another size."""
        out = inputs[0]
        for axis, matrix in enumerate(self.matrices, 1):
            out = _along(out, matrix, axis)
        return out

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        for axis, matrix in enumerate(self.matrices, 1):
            grad = _along(grad, matrix.T, axis)
        return [grad]

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the change, treated as the input is: the layer is linear."""
        return self.forward(changes)

    @property
    def formula(self) -> str:
        """Return the rule."""
        axes, taps = ("i, j", "a, b") if len(self.matrices) == 2 else ("i", "a")
        if self.rule == "nearest":
            return (
                f"y[{axes}, c] = x[{taps}, c], where ({taps}) is the position nearest to ({axes})"
            )
        return f"y[{axes}, c] = sum of w[{taps}] x[{taps}, c] over the positions around ({axes})"

    def sentence(self, shapes: Shapes) -> str:
        """Return both sizes and the rule."""
        before, after = shapes.size_text()
        how = "copying the nearest value" if self.rule == "nearest" else "linear interpolation"
        return f"Resizes each channel from {before} to {after} by {how}."

    def equation(self, at: UnitInputs) -> Equation:
        """Return the weighted mean with the unit's numbers."""
        rows = [matrix[place] for matrix, place in zip(self.matrices, at.unit, strict=False)]
        weights = rows[0].astype(np.float64)
        for row in rows[1:]:
            weights = np.multiply.outer(weights, row.astype(np.float64))
        places = [[int(part) for part in place] for place in np.argwhere(weights)]
        factors = np.array([weights[tuple(place)] for place in places])
        values = np.array([at.x[(*place, at.channel)] for place in places])
        operands = {"values": values, "weights": factors, "places": places}
        value = float((values * factors).sum())
        if len(places) == 1:
            text = f"{number(value)} = {number(value)}, from {place_text(places[0])}"
        else:
            terms = (
                f"{number(factor)} · {operand(part)}"
                for factor, part in zip(factors, values, strict=True)
            )
            text = f"{number(value)} = {' + '.join(terms)}"
        return Equation(text, operands, value)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Return 0: there are no learned weights."""
        return 0

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return the positions around a unit."""
        spans = [self._span(*matrix.shape) for matrix in self.matrices]
        if len(spans) == 1:
            spans.append((Fraction(1), Fraction(1), Fraction(0)))
        (rows, down, top), (columns, right, left) = spans
        return Patch((rows, columns), (down, right), (top, left), channel_shift=0)

    def _span(self, after: int, before: int) -> tuple[Fraction, Fraction, Fraction]:
        """Return size, step and start of what the units along an axis read."""
        step = Fraction(before, after)
        centre = step / 2 - Fraction(1, 2)  # of what unit 0 reads
        if after == before:
            return Fraction(1), step, Fraction(0)
        # Less than the distance of any two ends; so a position whose weight is 0 is left out.
        gap = Fraction(1, 4 * after)
        if self.rule == "nearest":
            return 2 - gap, step, centre - Fraction(1, 2) + gap
        return 3 - 2 * gap, step, centre - 1 + gap

    @property
    def keeps_channels(self) -> bool:
        """Return True: each channel is resized alone."""
        return True

    @property
    def changes_values(self) -> bool:
        """Tell whether values are mixed, and not only copied."""
        return self.rule != "nearest"


def _along(x: Array, matrix: Array, axis: int) -> Array:
    """Multiply an axis of an array by a matrix."""
    return np.moveaxis(np.tensordot(x, matrix.astype(x.dtype), (axis, 1)), -1, axis)


def _matrix(before: int, after: int, rule: Rule) -> Array:
    """Return the weights of an axis, `[after, before]`, as TensorFlow's resizing has them."""
    scale = np.float32(before) / np.float32(after)
    matrix = np.zeros((after, before), np.float32)
    middles = (np.arange(after, dtype=np.float32) + np.float32(0.5)) * scale
    if rule == "nearest":
        nearest = np.minimum(np.floor(middles), before - 1).astype(int)
        matrix[np.arange(after), nearest] = 1
        return matrix
    centres = middles - np.float32(0.5)
    low = np.floor(centres)
    weight = centres - low
    for at in range(after):
        matrix[at, max(int(low[at]), 0)] += 1 - weight[at]
        matrix[at, min(max(int(low[at]) + 1, 0), before - 1)] += weight[at]
    return matrix


def _interpolation(saved: SavedLayer) -> Operation | Unsupported:
    rule = saved.config.get("interpolation", "nearest")
    if rule not in ("nearest", "bilinear"):
        return unsupported(f"its interpolation is {rule!r}, not nearest or bilinear", saved)
    options = ("antialias", "crop_to_aspect_ratio", "pad_to_aspect_ratio")
    used = [name for name in options if saved.config.get(name)]
    if used:
        return unsupported(f"it uses {used[0]}", saved)
    pairs = list(zip(saved.shapes.input[:-1], saved.shapes.output[:-1], strict=True))
    if any(before * after > MAX_WEIGHTS for before, after in pairs):
        return unsupported("it resizes more rows or columns than the service does", saved)
    return Interpolation(tuple(_matrix(before, after, rule) for before, after in pairs), rule)


_LIMITS = "`interpolation` nearest or bilinear"

KINDS = {
    "UpSampling1D": LayerKind(_interpolation, no_weights),
    "UpSampling2D": LayerKind(_interpolation, no_weights, _LIMITS),
    "Resizing": LayerKind(_interpolation, no_weights, _LIMITS + ", no other option"),
}
