"""Find printed frames (a box, a field, a comb of cells, a table) and remove their walls.

A frame is one connected piece of ink with straight walls from edge to edge: at least two
horizontal and two vertical ones. Knows how much ink is at each pixel; knows nothing of digits.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.boxes import Box
from app.cancellation import check_cancelled
from app.imaging.components import find_components
from app.imaging.filters import Grey, Mask
from app.imaging.ink import Ink, measure_ink
from app.imaging.mnist_form import bounding_box

MIN_SIDE = 14  # pixels of the shorter side of a frame
MAX_FRAMES = 500  # components that are examined; a form has fewer frames
MAX_EXAMINED = 4.0  # areas of the page that the boxes of these components may have in total
MAX_FILL = 0.7  # share of its bounding box that a frame's ink covers at most
WALL_SHARE = 0.15  # of the ink's peak, from which a pixel may belong to a wall
MIN_COVERED = 0.75  # share of a wall's length that must be inked
MAX_WALL = 0.2  # thickness of a wall, as a share of the frame's shorter side
MAX_OUTSIDE = 0.45  # share of a wall's length that may be inked next to it, outside the frame
MAX_OVERHANG = 0.2  # of the frame's length, by which strokes may reach beyond its outer walls
MAX_SLOPE, SLOPES = 0.06, 13  # pixels per pixel, about 3.5 degrees either way; slopes tried
DARKER = 1.6  # ink of so many times a wall's level is a stroke on the wall


@dataclass(frozen=True)
class Frame:
    """A printed frame.

    Attributes:
        box: Its outline, in pixels of the page.
        rows: The rows of cells, from the top.
    """

    box: Box[int]
    rows: tuple[Box[int], ...]


@dataclass(frozen=True)
class _Walls:
    """Parallel walls of a frame, seen as rows; those of columns are transposed.

    Attributes:
        shift: int `[W]`, how many rows lower the walls are in each column than in the first.
        bands: First row of each wall and the row after its last, in the first column.
    """

    shift: NDArray[np.int64]
    bands: list[tuple[int, int]]


def is_framed(pixels: NDArray[np.uint8]) -> bool:
    """Return whether the ink of a digit in MNIST's form, uint8 `[28, 28]`, has walls around it."""
    if not pixels.any():
        return False
    top, left, height, width = bounding_box(pixels, 0)
    crop = pixels[top : top + height, left : left + width] > 0
    outer = (crop[:3].T, crop[-3:].T, crop[:, :3], crop[:, -3:])
    # A quick test that nearly all digits fail.
    if min(crop.shape) < MIN_SIDE or min(side.any(axis=1).mean() for side in outer) < MIN_COVERED:
        return False
    return _find_walls(crop) is not None and _find_walls(crop.T) is not None


def remove_frames(ink: Ink) -> tuple[Ink, tuple[Frame, ...]]:
    """Remove the walls of frames; strokes that cross a wall, or are darker than it, stay.

    Frames at the border of the image are left to the removal of ruled lines.

    Returns:
        The ink, and the frames.
    """
    level = wall_level(ink)
    # Print that is paler than all writing counts as well.
    components = find_components(replace(ink, strong=level), ink.amount > level)
    page_height, page_width = ink.amount.shape
    inside = (components.top > 0) & (components.left > 0)
    inside &= (components.bottom < page_height) & (components.right < page_width)
    sides = np.minimum(components.height, components.width)
    sparse = components.area < MAX_FILL * components.height * components.width
    chosen = np.flatnonzero(inside & (sides >= MIN_SIDE) & sparse)
    areas = components.height[chosen] * components.width[chosen]
    chosen = chosen[np.cumsum(areas) <= MAX_EXAMINED * ink.amount.size][:MAX_FRAMES]
    amount, frames = ink.amount, list[Frame]()
    for index in chosen.tolist():
        check_cancelled()
        top, left = int(components.top[index]), int(components.left[index])
        view = (
            slice(top, int(components.bottom[index])),
            slice(left, int(components.right[index])),
        )
        mask = components.labels[view] == index + 1
        if not (_may_have_walls(mask) and _may_have_walls(mask.T)):
            continue
        rows = _find_walls(mask)
        columns = _find_walls(mask.T) if rows else None
        if rows is None or columns is None:
            continue
        amount = amount.copy() if amount is ink.amount else amount
        amount[view] = np.where(mask, _without_walls(amount[view], rows, columns), amount[view])
        height, width = mask.shape
        frames.append(Frame(Box(left, top, width, height), _cell_rows(rows, left, top)))
    return (measure_ink(amount), tuple(frames)) if frames else (ink, ())


def wall_level(ink: Ink) -> float:
    """Return the amount of ink above which a pixel may belong to a wall, grey levels."""
    return max(ink.faint, WALL_SHARE * ink.peak)


def has_walls(mask: Mask) -> bool:
    """Return whether a component is a frame, wherever on the page it is.

    Args:
        mask: bool `[H, W]`, the pixels of the component in its box.
    """
    height, width = mask.shape
    is_sparse = bool(np.count_nonzero(mask) < MAX_FILL * height * width)
    return (
        min(mask.shape) >= MIN_SIDE
        and is_sparse
        and _may_have_walls(mask)
        and _may_have_walls(mask.T)
        and _find_walls(mask) is not None
        and _find_walls(mask.T) is not None
    )


def _cell_rows(walls: _Walls, left: int, top: int) -> tuple[Box[int], ...]:
    """Return the rows of cells between each two horizontal walls of a frame at `left`, `top`."""
    width = len(walls.shift)
    middle = top + int(walls.shift[width // 2])
    walls_at = [middle + (start + stop) // 2 for start, stop in walls.bands]
    return tuple(Box(left, upper, width, lower - upper) for upper, lower in pairwise(walls_at))


def _may_have_walls(mask: Mask) -> bool:
    """Return whether enough columns are inked near both ends; false for most digits.

    `_find_walls` finds walls only where this is true, but takes 30 times as long.
    """
    height, width = mask.shape
    near = int(MAX_OVERHANG * height + MAX_SLOPE * width) + 3
    ends = (mask[:near], mask[-near:])
    return all(end.any(axis=0).mean() >= MIN_COVERED for end in ends)


def _find_walls(mask: Mask) -> _Walls | None:
    """Find the walls that run from left to right; None unless there is one near either end.

    Args:
        mask: bool `[H, W]`, the pixels of a component.
    """
    height, width = mask.shape
    columns = np.arange(width)
    slopes = np.linspace(-MAX_SLOPE, MAX_SLOPE, SLOPES)[:, None]
    # Several slopes are the same on a small component.
    tried = np.rint(slopes * columns).astype(np.int64)
    shifts = list({shift.tobytes(): shift for shift in tried}.values())
    profiles = [_coverage(mask, shift) for shift in shifts]
    best = int(np.argmax([(profile**2).sum() for profile in profiles]))
    shift, covered = shifts[best], profiles[best]
    edges = np.flatnonzero(np.diff(np.pad(covered >= MIN_COVERED, 1).astype(np.int8)))
    rise = int(shift.max() - shift.min())
    bands = [
        (int(start) - rise, int(stop) - rise)
        for start, stop in zip(edges[::2], edges[1::2], strict=True)
        if stop - start <= max(2, MAX_WALL * min(height, width))
    ]
    if len(bands) < 2:
        return None
    highest, lowest = bands[0][0] + int(shift.max()), bands[-1][1] + int(shift.min())
    tolerance = MAX_OVERHANG * height + rise
    is_outer = highest <= tolerance and lowest >= height - tolerance
    if not is_outer or not _is_sharp(covered, bands, rise, width):
        return None
    return _Walls(shift, bands)


def _is_sharp(
    covered: NDArray[np.float64], bands: list[tuple[int, int]], rise: int, width: int
) -> bool:
    """Return whether there is little ink just outside the outer walls, unlike at a curved stroke.

    Args:
        covered: float64 `[H + 2 rise]`, what `_coverage` returns.
        bands: The walls.
        rise: Rows above the mask in `covered`.
        width: Columns of the mask.
    """
    # The walls may slope a little more or less than the nearest slope that was tried.
    beyond = 2 + round(width * MAX_SLOPE / (SLOPES - 1))
    outside = (bands[0][0] + rise - beyond, bands[-1][1] - 1 + rise + beyond)
    return all(covered[row] < MAX_OUTSIDE for row in outside if 0 <= row < len(covered))


def _coverage(mask: Mask, shift: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share of columns that are inked along each shifted row.

    Returns:
        float64 `[H + 2 R]`, where R is the largest difference of the shifts; the first is the row
        that starts R rows above the mask in the first column.
    """
    height, width = mask.shape
    rise = int(shift.max() - shift.min())
    total = np.zeros(height + 2 * rise)
    for step in np.unique(shift):
        counts = mask[:, shift == step].sum(axis=1)
        total[rise - step : rise - step + height] += counts
    return np.asarray(total / width)


def _without_walls(amount: Grey, rows: _Walls, columns: _Walls) -> Grey:
    """Return a frame's ink without its walls.

    Args:
        amount: float32 `[H, W]`, the ink of the frame's box.
        rows: The walls from left to right.
        columns: The walls from top to bottom, transposed.
    """
    core = _on_walls(amount.shape, rows) | _on_walls(amount.shape[::-1], columns).T
    level = np.float32(np.median(amount[core]))
    across = _on_walls(amount.shape, rows, blur=1)
    down = _on_walls(amount.shape[::-1], columns, blur=1).T
    # Where two walls meet, each seems to be crossed by a stroke.
    wall = across & ~(_crossed(amount, rows, level) & ~down)
    wall |= down & ~(_crossed(amount.T, columns, level).T & ~across)
    darker = np.where(amount > DARKER * level, amount - level, 0)
    return np.where(wall, darker, amount)


def _on_walls(shape: tuple[int, ...], walls: _Walls, blur: int = 0) -> Mask:
    """Return the pixels on walls, bool of this shape, with `blur` rows on either side of each."""
    at = np.arange(shape[0])[:, None] - walls.shift
    on_wall = np.zeros(shape, bool)
    for start, stop in walls.bands:
        on_wall |= (at >= start - blur) & (at < stop + blur)
    return on_wall


def _crossed(amount: Grey, walls: _Walls, level: np.float32) -> Mask:
    """Return the pixels of walls that have ink of at least half a level on both sides of the wall.

    Args:
        amount: float32 `[H, W]`.
        walls: The walls.
        level: Ink of the walls.
    """
    height, width = amount.shape
    at, crossed = np.arange(height)[:, None] - walls.shift, np.zeros(amount.shape, bool)
    for start, stop in walls.bands:
        above, below = start - 2 + walls.shift, stop + 1 + walls.shift
        inside = (above >= 0) & (below < height)
        rows = np.clip([above, below], 0, height - 1)
        both = inside & (amount[rows, np.arange(width)].min(axis=0) > 0.5 * level)
        crossed |= (at >= start - 1) & (at < stop + 1) & both
    return crossed
