"""A page of digits cut into single ones: groups of strokes, lines of groups, places to part them.

Only a network can tell which cut is right: this module offers the segments, and `app.page_reading`
chooses among them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import BlankImageError
from app.imaging.components import Components, find_components, is_cut_off, is_frame, writing_mask
from app.imaging.decode import Upload
from app.imaging.filters import Grey
from app.imaging.ink import Ink, extract, to_grey, without_rules
from app.imaging.polarity import DetectedPolarity, Polarity, measure_polarity
from app.imaging.prepare import to_mnist

MAX_GROUPS = 400  # a page of handwriting has fewer; more is a texture
MAX_PIECES = 600  # segments offered on a page, after which groups are no longer parted
SPECK = 0.3  # height and width, in digit heights, under which a lone part is a speck
WIDE = 0.8  # width over height from which on a group may be several digits
MAX_CUTS = 7  # places at which a group may be parted


@dataclass(frozen=True)
class Segment:
    """A part of a group that may be one digit.

    Attributes:
        start: Index of the cut at which it begins.
        stop: Index of the cut at which it ends.
        pixels: uint8 `[28, 28]`, prepared.
        box: x, y, width and height in the upload's own pixels.
    """

    start: int
    stop: int
    pixels: NDArray[np.uint8]
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class StrokeGroup:
    """Strokes that belong together, and every way to part them.

    Attributes:
        line: Number of the text line, from 0 at the top.
        cuts: How many places there are to cut, both ends included; a reading is a chain of segments
            from cut 0 to the last.
        segments: The segments between cuts that may be a digit; the whole is among them.
    """

    line: int
    cuts: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class _Box:
    top: int
    bottom: int
    left: int
    right: int
    names: tuple[int, ...]  # marks

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left


def segment(
    upload: Upload, *, polarity: Polarity = "auto"
) -> tuple[tuple[StrokeGroup, ...], DetectedPolarity]:
    """Find the digits of a page.

    Args:
        upload: What came.
        polarity: Which side is ink, or `auto` to find out.

    Returns:
        The groups in reading order (lines from the top, each from the left), and the polarity.

    Raises:
        BlankImageError: Nothing is written on it.
    """
    grey, _ = to_grey(upload)
    found = measure_polarity(grey).polarity if polarity == "auto" else polarity
    ink, _ = extract(grey, found)
    ink, _ = without_rules(ink)
    marks = find_components(ink, writing_mask(ink))
    if not len(marks):
        raise BlankImageError("No ink was found: only ruled lines, or nothing at all.")
    boxes = _joined(_boxes(marks))[:MAX_GROUPS]
    groups: list[StrokeGroup] = []
    offered = 0
    for line, row in enumerate(_lines(boxes)):
        for box in row:
            group = _group(box, line, marks, ink, upload.factor, parted=offered < MAX_PIECES)
            groups.append(group)
            offered += len(group.segments)
    return tuple(groups), found


def _boxes(marks: Components) -> list[_Box]:
    """Return a box for each mark that is no frame and no shadow, the heaviest first."""
    order = np.argsort(-marks.weight, kind="stable")
    kept = order[~(is_frame(marks) | is_cut_off(marks))[order]]
    return [
        _Box(
            int(marks.top[at]),
            int(marks.bottom[at]),
            int(marks.left[at]),
            int(marks.right[at]),
            (int(at) + 1,),
        )
        for at in kept[: 2 * MAX_GROUPS]
    ]


def _joined(boxes: list[_Box]) -> list[_Box]:
    """Join detached strokes to the digit that they belong to, and drop lone specks."""
    tall = float(np.median(sorted((box.height for box in boxes), reverse=True)[: _most(boxes)]))
    digits = [box for box in boxes if box.height >= 0.5 * tall]
    for small in (box for box in boxes if box.height < 0.5 * tall):
        gaps = [_gap(small, digit) for digit in digits]
        nearest = int(np.argmin(gaps)) if gaps else 0
        reach = 0.25 * max(digits[nearest].height, 0.6 * tall) if gaps else 0.0
        if gaps and gaps[nearest] <= reach:
            digits[nearest] = _union(digits[nearest], small)
        elif max(small.height, small.width) >= SPECK * tall:
            digits.append(small)
    return _stacked(digits)


def _most(boxes: list[_Box]) -> int:
    """Return how many of the boxes are tall enough to say how tall digits are here."""
    tallest = max(box.height for box in boxes)
    return max(1, sum(box.height >= 0.4 * tallest for box in boxes))


def _stacked(boxes: list[_Box]) -> list[_Box]:
    """Join boxes of which one lies mostly within the columns of the other and close to it."""
    done: list[_Box] = []
    for box in boxes:
        for at, other in enumerate(done):
            shared = min(box.right, other.right) - max(box.left, other.left)
            gap = max(box.top, other.top) - min(box.bottom, other.bottom)
            close = 0.12 * max(box.height, other.height)
            if shared > 0.6 * min(box.width, other.width) and gap <= close:
                done[at] = _union(box, other)
                break
        else:
            done.append(box)
    return done


def _gap(one: _Box, other: _Box) -> float:
    """Return the distance of two boxes, pixels; 0 where they overlap."""
    down = max(0, one.top - other.bottom, other.top - one.bottom)
    across = max(0, one.left - other.right, other.left - one.right)
    return float(np.hypot(down, across))


def _union(one: _Box, other: _Box) -> _Box:
    return _Box(
        min(one.top, other.top),
        max(one.bottom, other.bottom),
        min(one.left, other.left),
        max(one.right, other.right),
        one.names + other.names,
    )


def _lines(boxes: list[_Box]) -> list[list[_Box]]:
    """Sort boxes into text lines.

    A box joins the line whose nearest box it overlaps by at least 40 % of the lower of the two, so
    that a line may slope.
    """
    lines: list[list[_Box]] = []
    for box in sorted(boxes, key=lambda box: box.left):
        best, best_share = None, 0.4
        for line in lines:
            last = line[-1]
            shared = min(box.bottom, last.bottom) - max(box.top, last.top)
            share = shared / min(box.height, last.height)
            if share > best_share:
                best, best_share = line, share
        if best is None:
            lines.append([box])
        else:
            best.append(box)
    return sorted(lines, key=lambda line: float(np.median([box.top + box.bottom for box in line])))


def _group(
    box: _Box, line: int, marks: Components, ink: Ink, factor: int, *, parted: bool
) -> StrokeGroup:
    """Cut a group's ink out of the page and offer its segments, or only the whole."""
    view = (slice(box.top, box.bottom), slice(box.left, box.right))
    mine = np.isin(marks.labels[view], box.names)
    amount = np.where(mine, ink.amount[view], 0)
    cuts = _cuts(amount, mine, box) if parted else [0, box.width]
    segments = []
    for start in range(len(cuts) - 1):
        for stop in range(start + 1, len(cuts)):
            whole = (start, stop) == (0, len(cuts) - 1)
            width = cuts[stop] - cuts[start]
            if whole or 0.12 * box.height <= width <= 1.4 * box.height:
                left, right = cuts[start], cuts[stop]
                part = _piece(amount[:, left:right], box, left, ink, factor)
                if part is not None:
                    segments.append(Segment(start, stop, *part))
    return StrokeGroup(line, len(cuts), tuple(segments))


def _piece(
    amount: Grey, box: _Box, left: int, ink: Ink, factor: int
) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]] | None:
    inked = amount > ink.faint
    if not inked.any():
        return None
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    pixels, _ = to_mnist(amount, min(ink.faint, 3.5 * ink.noise + 2), factor)
    place = (
        (box.left + left + int(columns[0])) * factor,
        (box.top + int(rows[0])) * factor,
        (int(columns[-1]) - int(columns[0]) + 1) * factor,
        (int(rows[-1]) - int(rows[0]) + 1) * factor,
    )
    return pixels, place


def _cuts(amount: Grey, mine: NDArray[np.bool_], box: _Box) -> list[int]:
    """Return columns at which a group may be parted, its two ends included.

    Touching digits meet where little ink lies in a column: the thinnest columns are offered, apart
    from each other by a fifth of the height.
    """
    ends = [0, box.width]
    if box.width < WIDE * box.height:
        return ends
    ink = amount.sum(axis=0) + 0.25 * amount.max() * mine.sum(axis=0)
    size = max(1, box.height // 25)
    smooth = np.convolve(ink, np.ones(2 * size + 1) / (2 * size + 1), mode="same")
    apart, inner = 0.2 * box.height, ends.copy()
    for column in np.argsort(smooth, kind="stable"):
        if len(inner) == MAX_CUTS + 2:
            break
        if all(abs(int(column) - other) >= apart for other in inner):
            inner.append(int(column))
    return sorted(inner)
