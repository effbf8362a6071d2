"""TimeDistributed, which applies one layer to each row of its input alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.network.equation import Equation, UnitInputs
from app.network.functions import Array, Function
from app.network.geometry import Everything, Footprint, Patch, Unit
from app.network.operation import Operation, Shapes

INNER = "layer/"  # what Keras writes before the names of a wrapped layer's weights


@dataclass(frozen=True)
class TimeDistributed(Operation):
    """The same layer for each row.

    Attributes:
        inner: What the layer computes for one row.
    """

    inner: Operation

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's outputs for all rows, `[N, T, ...]`."""
        return self._by_row(inputs[0], self.inner.forward([self._rows(inputs[0])]))

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        rows = [self._rows(values) for values in (inputs[0], output, grad)]
        (part,) = self.inner.backward([rows[0]], rows[1], rows[2])
        return [np.asarray(part).reshape(inputs[0].shape)]

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the derivative for all rows."""
        rows = [self._rows(values) for values in (inputs[0], output, changes[0])]
        return self._by_row(inputs[0], self.inner.tangent([rows[0]], rows[1], [rows[2]]))

    def weight_gradients(
        self, inputs: Sequence[Array], output: Array, grad: Array
    ) -> dict[str, Array]:
        """Return the gradients of the inner layer's weights, summed over all rows."""
        x, y, rows = (self._rows(values) for values in (inputs[0], output, grad))
        found = self.inner.weight_gradients([x], y, rows)
        return {f"{INNER}{name}": values for name, values in found.items()}

    def weight_tangent(
        self, inputs: Sequence[Array], output: Array, name: str, change: Array
    ) -> Array:
        """Return the derivative for all rows."""
        x, y = self._rows(inputs[0]), self._rows(output)
        found = self.inner.weight_tangent([x], y, name.removeprefix(INNER), change)
        return self._by_row(inputs[0], found)

    def weight_reads(self, shapes: Shapes, name: str, place: int, unit: Unit) -> Unit | None:
        """Return the unit in the same row."""
        inner = self.inner.weight_reads(_row(shapes), name.removeprefix(INNER), place, unit[1:])
        return None if inner is None else (unit[0], *inner)

    @property
    def slope_name(self) -> str:
        """Return that of the inner layer."""
        return self.inner.slope_name

    @property
    def fixed_weights(self) -> frozenset[str]:
        """Return those of the inner layer."""
        return frozenset(f"{INNER}{name}" for name in self.inner.fixed_weights)

    @staticmethod
    def _rows(values: Array) -> Array:
        return values.reshape(-1, *values.shape[2:])

    @staticmethod
    def _by_row(like: Array, rows: Array) -> Array:
        return rows.reshape(*like.shape[:2], *rows.shape[1:])

    @property
    def formula(self) -> str:
        """Return the formula of one row."""
        return f"for each row: {self.inner.formula}"

    def sentence(self, shapes: Shapes) -> str:
        """Return what the layer does to each row."""
        return f"Treats each of {shapes.input[0]} rows alone. {self.inner.sentence(_row(shapes))}"

    def equation(self, at: UnitInputs) -> Equation:
        """Return the equation of the unit in its row."""
        row = at.unit[0]
        return self.inner.equation(
            replace(at, inputs=(at.x[row],), unit=at.unit[1:], shape=at.shape[1:])
        )

    def multiply_adds(self, shapes: Shapes) -> int:
        """Count those of one row for each."""
        return shapes.input[0] * self.inner.multiply_adds(_row(shapes))

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that a unit reads its own row."""
        inner = self.inner.footprint(_row(shapes))
        if isinstance(inner, Patch) and len(shapes.input) == len(shapes.output) == 2:
            return Patch(channel_shift=inner.channel_shift)
        return Everything()

    @property
    def keeps_channels(self) -> bool:
        """Tell whether the inner layer does."""
        return self.inner.keeps_channels

    @property
    def changes_values(self) -> bool:
        """Tell whether the inner layer does."""
        return self.inner.changes_values

    @property
    def activation(self) -> Function | None:
        """Return the inner layer's function."""
        return self.inner.activation

    def shuffled(self, rng: np.random.Generator) -> "TimeDistributed":
        """Return the layer with the inner kernel in random order."""
        return replace(self, inner=self.inner.shuffled(rng))


def _row(shapes: Shapes) -> Shapes:
    """Return the shapes of one row's input and output."""
    return Shapes((shapes.input[1:],), shapes.output[1:])
