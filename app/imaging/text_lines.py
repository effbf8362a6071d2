"""Sort the boxes of a page into text lines, also if the page is turned by up to 15 degrees.

Knows bounding boxes only.
"""

from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray

from app.boxes import Box
from app.imaging.frames import Frame
from app.imaging.stroke_groups import StrokeBox, digit_height

MIN_OVERLAP = 0.4  # share of the lower box's height by which boxes of a line overlap
RECENT = 6  # boxes at the end of a line whose mean height and place a next box is compared with
MAX_OFFSET = 0.6  # digit heights between the middles of two parts of a line
MIN_EXTENT = 0.6  # digit heights that a box counts at least, as a dash or a dot is lower
MAX_SLOPE, SLOPES = 0.27, 55  # rows per column, 15 degrees; slopes tried from -MAX to MAX
MIN_BOXES = 3  # boxes, from which the slope of the lines is estimated
MAX_BOXES = 120  # boxes that are compared with each other
SPREAD = 0.12  # digit heights by which the middles of a line's digits differ
MAX_DISTANCE = 8.0  # digit heights between two digits that are compared
PRIOR = 0.15  # share of the evidence by which the steepest slope must exceed a level line

Extent = tuple[float, float]  # upper and lower end of a box, in rows along the slope of the lines


def text_lines(boxes: list[StrokeBox], frames: tuple[Frame, ...]) -> list[list[StrokeBox]]:
    """Sort boxes into text lines, from the top, each from the left.

    A box joins the line that it overlaps most vertically, along the slope of the page's lines, if
    by at least 40 % of the lower of the two. It is compared with the line's last box and with the
    mean of its last boxes. A box in a frame counts as as high as its row of cells, because digits
    stand at any height in a cell. Lines at about the same height that share no columns are one.
    """
    slope = 0.0 if frames else line_slope(boxes)
    height = digit_height(boxes)
    extents = {box: _extent(box, frames, slope, height) for box in boxes}
    lines: list[list[StrokeBox]] = []
    ends = list[tuple[Extent, Extent]]()  # the last extent of each line, and the mean of its last
    for box in sorted(boxes, key=lambda box: box.left):
        best, best_overlap = len(lines), MIN_OVERLAP
        for index, (last, mean) in enumerate(ends):
            overlap = max(_overlap(extents[box], last), _overlap(extents[box], mean))
            if overlap > best_overlap:
                best, best_overlap = index, overlap
        if best == len(lines):
            lines.append([])
            ends.append((extents[box], extents[box]))
        lines[best].append(box)
        ends[best] = (extents[box], _mean([extents[other] for other in lines[best][-RECENT:]]))
    middles = {box: sum(extent) / 2 for box, extent in extents.items()}
    lines = _merge_lines(lines, middles, MAX_OFFSET * height)
    return sorted(lines, key=lambda line: median(middles[box] for box in line))


def _mean(extents: list[Extent]) -> Extent:
    return fmean(top for top, _ in extents), fmean(bottom for _, bottom in extents)


def _merge_lines(
    lines: list[list[StrokeBox]], middles: dict[StrokeBox, float], max_offset: float
) -> list[list[StrokeBox]]:
    """Merge lines whose middles differ by at most `max_offset` rows and that share no columns."""
    merged: list[tuple[float, list[StrokeBox]]] = []
    for line in sorted(lines, key=len, reverse=True):
        middle = median(middles[box] for box in line)
        for other_middle, other in merged:
            if abs(middle - other_middle) <= max_offset and not any(
                one.left < two.right and two.left < one.right for one in line for two in other
            ):
                other.extend(line)
                other.sort(key=lambda box: box.left)
                break
        else:
            merged.append((middle, line))
    return [line for _, line in merged]


def _overlap(first: Extent, second: Extent) -> float:
    """Return the shared rows of two extents, as a share of the lower one."""
    shared = min(first[1], second[1]) - max(first[0], second[0])
    return shared / min(first[1] - first[0], second[1] - second[0])


def line_slope(boxes: list[StrokeBox]) -> float:
    """Return the slope of the text lines, rows per column; 0 if there are too few boxes.

    The best slope is that along which the middles of the most pairs of digits lie.
    """
    height = digit_height(boxes)
    digits = [box for box in boxes if 0.5 * height <= box.height <= 2 * height][:MAX_BOXES]
    if len(digits) < MIN_BOXES:
        return 0.0
    x, y = np.array([box.middle for box in digits]).T / height
    first, second = np.triu_indices(len(digits), 1)
    along, down = x[second] - x[first], y[second] - y[first]
    near = (np.abs(along) < MAX_DISTANCE) & (np.abs(along) > 0.4)
    along, down = along[near], down[near]
    slopes = np.linspace(-MAX_SLOPE, MAX_SLOPE, SLOPES)
    offsets = down - slopes[:, None] * along
    evidence: NDArray[np.float64] = np.exp(-((offsets / SPREAD) ** 2) / 2).sum(axis=1)
    evidence *= 1 - PRIOR * (slopes / MAX_SLOPE) ** 2
    return float(slopes[evidence.argmax()])


def _extent(box: StrokeBox, frames: tuple[Frame, ...], slope: float, height: float) -> Extent:
    """Return the upper and the lower end of a box, or of the row of cells around it."""
    own = Box(box.left, box.top, box.width, box.height)
    around = next(
        (row for frame in frames for row in frame.rows if row.contains_middle_of(own)), None
    )
    if around is not None:
        return around.y, around.bottom
    x, y = box.middle
    half = max(box.height, MIN_EXTENT * height) / 2
    return y - slope * x - half, y - slope * x + half
