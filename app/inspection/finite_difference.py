"""A gradient measured without any calculus: by changing one number a little, up and down.

The change has to be small, so that the loss is nearly a straight line, and large enough for the
digits of a float64. Several sizes are tried; the one is kept whose two sides agree best.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

SIZES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # of the change, as a share of the scale of the number
_ROUNDING = 1e-14  # relative error of a loss in float64, after all layers
_MAX_BEND = 1e-2  # share by which the slopes of the two sides of a smooth loss differ at most


@dataclass(frozen=True)
class FiniteDifference:
    """The slope of the loss between two values of a number.

    Attributes:
        epsilon: How far each value is from the number.
        plus: Loss of the number plus `epsilon`.
        minus: Loss of the number minus `epsilon`.
        left: Slope of the loss from the lower value to the number.
        right: Slope of the loss from the number to the upper value.
    """

    epsilon: float
    plus: float
    minus: float
    left: float
    right: float

    @property
    def gradient(self) -> float:
        """Return the slope from the lower to the upper value."""
        return (self.plus - self.minus) / (2 * self.epsilon)

    @property
    def rounding(self) -> float:
        """Return about how far rounding may move a slope."""
        return _ROUNDING * max(abs(self.plus), abs(self.minus)) / self.epsilon

    @property
    def kink(self) -> bool:
        """Tell whether the slope jumps: a ReLU or a maximum switches between the values."""
        bend = abs(self.right - self.left)
        steeper = max(abs(self.right), abs(self.left))
        return bend > _MAX_BEND * steeper and bend > 10 * self.rounding

    def relative_error(self, gradient: float) -> float:
        """Return the distance from a gradient as a share of the larger of both; 0 if both are."""
        largest = max(abs(gradient), abs(self.gradient))
        return abs(gradient - self.gradient) / largest if largest else 0.0


def measure(
    loss_of: Callable[[float], float],
    value: float,
    loss: float,
    scale: float,
    sizes: Sequence[float] = SIZES,
) -> FiniteDifference:
    """Measure the slope of a loss.

    Args:
        loss_of: Returns the loss for another value of the number.
        value: The number.
        loss: The loss for it.
        scale: What `sizes` are shares of, above 0.
        sizes: The changes to try.
    """
    tried = []
    for size in sizes:
        epsilon = size * scale
        with np.errstate(all="ignore"):
            plus, minus = loss_of(value + epsilon), loss_of(value - epsilon)
        found = FiniteDifference(
            epsilon, plus, minus, (loss - minus) / epsilon, (plus - loss) / epsilon
        )
        if np.isfinite([found.left, found.right]).all():
            tried.append(found)
    if not tried:
        return FiniteDifference(sizes[-1] * scale, loss, loss, 0.0, 0.0)
    return min(tried, key=lambda one: abs(one.right - one.left) + one.rounding)
