"""Upright rectangles on a grid of pixels or of a layer's units.

Every box in the code and in the API is `x, y, width, height`.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Box(Generic[Number]):
    """A rectangle: whole pixels as `Box[int]`, parts of pixels as `Box[float]`.

    Attributes:
        x: First column, or the left edge.
        y: First row, or the top edge.
        width: Number of columns.
        height: Number of rows.
    """

    x: Number
    y: Number
    width: Number
    height: Number

    @property
    def right(self) -> Number:
        """Return the column after the last one."""
        return self.x + self.width

    @property
    def bottom(self) -> Number:
        """Return the row after the last one."""
        return self.y + self.height

    def contains_middle_of(self, other: "Box[Number]") -> bool:
        """Return whether the middle of another box is inside this one."""
        x, y = other.x + other.width / 2, other.y + other.height / 2
        return self.x <= x < self.right and self.y <= y < self.bottom
