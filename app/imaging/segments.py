"""The segments of the stroke groups on a page, made when they are needed.

Most groups are one digit, and the network is sure of it; then the segments into which the group
may be cut are never made.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.cancellation import check_cancelled
from app.imaging.components import Components
from app.imaging.filters import Grey
from app.imaging.ink import Ink
from app.imaging.mnist_form import to_mnist_form
from app.imaging.stroke_groups import StrokeBox


@dataclass(frozen=True)
class Segment:
    """A part of a stroke group that may be one digit.

    Attributes:
        start: Index of the cut at its left end.
        stop: Index of the cut at its right end.
        pixels: uint8 `[28, 28]`, in MNIST's form.
        box: x, y, width and height in the upload's pixels.
    """

    start: int
    stop: int
    pixels: NDArray[np.uint8]
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class StrokeGroup:
    """Strokes that belong together, and where they may be cut.

    Attributes:
        line: Index of the text line, from 0 at the top.
        box: Its bounding box on the page.
        cuts: Columns in the box at which it may be cut, both ends included. A reading is a chain of
            segments from cut 0 to the last cut.
        whole: The segment that is the whole group; None if it has no ink.
        parts: Start and stop of the other segments, as indices of cuts.
        is_sign: Whether it is too low for a digit, as a dash or a comma next to digits.
    """

    line: int
    box: StrokeBox
    cuts: tuple[int, ...]
    whole: Segment | None
    parts: tuple[tuple[int, int], ...] = ()
    is_sign: bool = False


@dataclass(frozen=True)
class PageInk:
    """The ink of a page, from which segments are made.

    Attributes:
        ink: The ink.
        components: Its components.
        factor: Pixels of the upload per pixel of the page, along each axis.
    """

    ink: Ink
    components: Components
    factor: int

    def amount_in(self, box: StrokeBox) -> Grey:
        """Return the ink of a group in its box, float32 `[h, w]`; other ink is left out."""
        view = (slice(box.top, box.bottom), slice(box.left, box.right))
        labels = self.components.labels[view]
        mask = labels == box.labels[0] if len(box.labels) == 1 else np.isin(labels, box.labels)
        return np.where(mask, self.ink.amount[view], np.float32(0))

    def make_parts(self, group: StrokeGroup) -> list[Segment]:
        """Return the segments of a group other than the whole.

        Raises:
            WorkCancelled: The client has gone, or its deadline has passed.
        """
        check_cancelled()
        amount = self.amount_in(group.box)
        return [
            self.make_segment(amount, group.box, group.cuts, start, stop)
            for start, stop in group.parts
        ]

    def make_segment(
        self, amount: Grey, box: StrokeBox, cuts: Sequence[int], start: int, stop: int
    ) -> Segment:
        """Return a segment of a group, which must have ink.

        Args:
            amount: float32 `[h, w]`, the ink of the group.
            box: The box of the group.
            cuts: The cuts of the group.
            start: Index of the cut at the segment's left end.
            stop: Index of the cut at its right end.
        """
        left = cuts[start]
        amount = amount[:, left : cuts[stop]]
        inked = amount > self.ink.faint
        rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
        pixels, _ = to_mnist_form(amount, self.ink.box_threshold, self.factor)
        upload_box = (
            (box.left + left + int(columns[0])) * self.factor,
            (box.top + int(rows[0])) * self.factor,
            (int(columns[-1]) - int(columns[0]) + 1) * self.factor,
            (int(rows[-1]) - int(rows[0]) + 1) * self.factor,
        )
        return Segment(start, stop, pixels, upload_box)
