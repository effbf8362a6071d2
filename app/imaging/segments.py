"""The segments of the stroke groups on a page, made when they are needed.

Most groups are one digit, and the network is sure of it; then the segments into which the group
may be cut are never made.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from app.cancellation import check_cancelled
from app.imaging.components import Components
from app.imaging.filters import Grey, Mask
from app.imaging.ink import Ink
from app.imaging.mnist_form import to_mnist_form
from app.imaging.stroke_groups import StrokeBox

MAX_CUTS = 7  # cuts inside a stroke group
MAX_GROUP_SEGMENTS = comb(MAX_CUTS + 2, 2)
MAX_INK_SHARE = 0.75  # of a page; a tight crop of one bold digit has 0.55
# Lengths below are in heights of the stroke group.
MIN_CUT_WIDTH = 0.8  # a narrower group is one digit
MIN_CUT_DISTANCE = 0.2  # between two cuts
MIN_SEGMENT_WIDTH, MAX_SEGMENT_WIDTH = 0.12, 1.4

# The columns of a group's box between which a segment lies, the second not included.
Span = tuple[int, int]


@dataclass(frozen=True)
class Segment:
    """A part of a stroke group that may be one digit.

    Attributes:
        span: Its columns in the box of the group.
        pixels: uint8 `[28, 28]`, in MNIST's form.
        box: x, y, width and height in the upload's pixels.
    """

    span: Span
    pixels: NDArray[np.uint8]
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class StrokeGroup:
    """Strokes that belong together.

    Attributes:
        line: Index of the text line, from 0 at the top.
        box: Its bounding box on the page.
        whole: The segment that is the whole group; None if it has no ink.
        may_be_cut: Whether it may be cut into several segments.
        is_sign: Whether it is too low for a digit, as a dash or a comma next to digits.
    """

    line: int
    box: StrokeBox
    whole: Segment | None
    may_be_cut: bool = True
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

    def make_whole(self, box: StrokeBox) -> Segment | None:
        """Return the segment that is a whole group, or None if the group has no ink."""
        made = self.make_segments(box, [(0, box.width)])
        return made[0] if made else None

    def make_segments(self, box: StrokeBox, spans: Iterable[Span]) -> list[Segment]:
        """Return the segments of a group that have ink.

        Raises:
            WorkCancelled: The client has gone, or its deadline has passed.
        """
        check_cancelled()
        amount = self._amount_in(box)
        made = (self._make_segment(amount, box, span) for span in spans)
        return [segment for segment in made if segment is not None]

    def find_spans(self, box: StrokeBox) -> list[Span]:
        """Return the parts of a group that may be digits and have ink; the whole is left out.

        A reading of the group is a chain of such parts.
        """
        amount = self._amount_in(box)
        mask = amount > self.ink.faint
        inked: Mask = np.asarray(mask.any(axis=0))
        return [
            (start, stop)
            for start, stop in combinations(_cut_columns(amount, mask, box), 2)
            if (start, stop) != (0, box.width)
            and MIN_SEGMENT_WIDTH * box.height <= stop - start <= MAX_SEGMENT_WIDTH * box.height
            and inked[start:stop].any()
        ]

    def _amount_in(self, box: StrokeBox) -> Grey:
        """Return the ink of a group in its box, float32 `[h, w]`; other ink is left out."""
        view = (slice(box.top, box.bottom), slice(box.left, box.right))
        labels = self.components.labels[view]
        mask = labels == box.labels[0] if len(box.labels) == 1 else np.isin(labels, box.labels)
        return np.where(mask, self.ink.amount[view], np.float32(0))

    def _make_segment(self, amount: Grey, box: StrokeBox, span: Span) -> Segment | None:
        amount = amount[:, span[0] : span[1]]
        inked = amount > self.ink.faint
        if not inked.any():
            return None
        rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
        pixels, _ = to_mnist_form(amount, self.ink.box_threshold, self.factor)
        upload_box = (
            (box.left + span[0] + int(columns[0])) * self.factor,
            (box.top + int(rows[0])) * self.factor,
            (int(columns[-1]) - int(columns[0]) + 1) * self.factor,
            (int(rows[-1]) - int(rows[0]) + 1) * self.factor,
        )
        return Segment(span, pixels, upload_box)


def _cut_columns(amount: Grey, mask: Mask, box: StrokeBox) -> list[int]:
    """Return the columns at which a stroke group may be cut, both ends included.

    Touching digits meet where a column has little ink: the minima of the smoothed vertical
    projection are taken in ascending order, at least a fifth of the height apart.

    Args:
        amount: float32 `[h, w]`, the group's ink.
        mask: bool `[h, w]`, the group's pixels.
        box: The group's box.
    """
    cuts = [0, box.width]
    if box.width < MIN_CUT_WIDTH * box.height:
        return cuts
    projection = amount.sum(axis=0) + 0.25 * amount.max() * mask.sum(axis=0)
    radius = max(1, box.height // 25)
    kernel = np.ones(2 * radius + 1) / (2 * radius + 1)
    smoothed = np.convolve(projection, kernel, mode="same")
    for column in np.argsort(smoothed, kind="stable"):
        if len(cuts) == MAX_CUTS + 2:
            break
        if all(abs(int(column) - other) >= MIN_CUT_DISTANCE * box.height for other in cuts):
            cuts.append(int(column))
    return sorted(cuts)
