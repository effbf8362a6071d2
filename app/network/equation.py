"""The equation of one unit with its real numbers, and how its numbers are written.

Layer kinds fill an `Equation` from float64 copies of their inputs and weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.network.functions import LINEAR, Function
from app.network.geometry import Shape, Unit

Wide = NDArray[np.float64]
MAX_TERMS = 12  # terms that the text of an equation spells out; longer ones are not readable


@dataclass(frozen=True)
class Equation:
    """How the value of one unit is computed.

    Attributes:
        text: The equation with its numbers; long sums name their largest terms.
        operands: Every number that enters, by name: arrays, numbers and lists.
        value: The result, in float64.
        channel_sums: What each input channel adds to a weighted sum; None for other layers.
        bias: What the bias adds; None without one.
        pre_activation: What enters the layer's activation function; None for layers that are no
            weighted sum.
    """

    text: str
    operands: Mapping[str, Any]
    value: float
    channel_sums: Wide | None = None
    bias: float | None = None
    pre_activation: float | None = None


@dataclass(frozen=True)
class UnitInputs:
    """What the equation of one unit is made from.

    Attributes:
        inputs: The layer's inputs without the batch, float64.
        unit: Index of the unit in the layer's output.
        shape: Shape of the layer's output.
        flattened_from: Shape `[H, W, C]` or `[T, C]` of the first input before it was flattened;
            None if it was not.
    """

    inputs: tuple[Wide, ...]
    unit: Unit
    shape: Shape
    flattened_from: Shape | None = None

    @property
    def x(self) -> Wide:
        """Return the first input."""
        return self.inputs[0]

    @property
    def channel(self) -> int:
        """Return the unit's index along the last axis."""
        return self.unit[-1]

    @property
    def same_unit(self) -> float:
        """Return the value of the first input's unit with the same index."""
        return float(self.x[self.unit])


def weighted_sum(
    activation: Function,
    operands: Mapping[str, Any],
    terms: Wide,
    text: str,
    *,
    bias: float | None,
    channel_sums: Wide | None,
) -> Equation:
    """Return the equation of a weighted sum with bias and activation.

    Args:
        activation: Function of the sum.
        operands: Numbers that enter, by name.
        terms: What is summed.
        text: The terms as text.
        bias: What the bias adds, or None.
        channel_sums: What each input channel adds, or None.
    """
    total = float(terms.sum()) + (bias or 0.0)
    value = float(activation.value(np.array([total]))[0])
    equation = f"{number(total)} = {text}"
    if bias is not None:
        equation += f" + {operand(bias)} (bias)"
    if activation is not LINEAR:
        applied = f"{number(value)} = f({number(total)}), f(x) = {activation.formula}"
        equation = f"{applied}; {equation}"
    return Equation(equation, operands, value, channel_sums, bias, total)


def number(value: float) -> str:
    """Write a number with six significant digits."""
    return f"{value:.6g}"


def operand(value: float) -> str:
    """Write a number that follows an operator: a negative one in brackets."""
    return f"({value:.6g})" if value < 0 else f"{value:.6g}"


def sum_of(terms: Wide, noun: str) -> str:
    """Write a sum; of more than `MAX_TERMS` terms the largest, and the rest as one number.

    Args:
        terms: The terms, `[N]`.
        noun: What a term stands for, such as `channel`; its index follows.
    """
    if terms.size <= MAX_TERMS:
        return " + ".join(operand(term) for term in terms)
    largest = np.argsort(-np.abs(terms), kind="stable")[:MAX_TERMS]
    rest = float(terms.sum() - terms[largest].sum())
    named = " + ".join(f"{operand(terms[at])} ({noun} {at})" for at in largest)
    return f"{named} + {operand(rest)} (the other {terms.size - MAX_TERMS})"
