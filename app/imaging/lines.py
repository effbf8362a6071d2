"""Ruled and grid lines: found on the whole page, taken off without hurting what is written on them.

Knows how much ink lies where; knows nothing of strokes or digits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.imaging.filters import Grey

SMALLEST_PAGE = 64  # pixels a side under which an image has no room for lines
BLOCKS = 24  # parts of a line that are looked at one by one
STEEPEST = 0.07  # slope, about 4 degrees: a page that is photographed by hand
SLOPES = 29
PRESENT = 0.7  # share of the blocks in which a line must show
COVERED = 0.75  # share of its length that must be inked
MOST_TRIED = 250  # rows tried per direction: a page has fewer lines, a texture many more
THICKEST = 0.02  # thickness, in shorter sides of the page


@dataclass(frozen=True)
class Line:
    """A line from the left edge of the page to its right edge.

    Attributes:
        start: Row at the left edge.
        slope: Rows per column.
        half: Half its thickness with its soft edges, pixels.
        strength: Ink of its middle, grey levels.
    """

    start: float
    slope: float
    half: int
    strength: float


def without_lines(amount: Grey, noise: float) -> tuple[Grey, int]:
    """Take ruled and grid lines off a page.

    A line runs over the whole page, upright or level to a few degrees. Its own ink is subtracted,
    so that darker strokes on it stay; where strokes as dark as the line cross it, which is seen
    above and below, all ink stays.

    Args:
        amount: float32 `[H, W]`, ink in grey levels above the ground.
        noise: Standard deviation of the ground.

    Returns:
        float32 `[H, W]`, the ink without lines, and how many lines there were.
    """
    if min(amount.shape) < SMALLEST_PAGE:
        return amount, 0
    cleaned, level = _without_level(amount, noise)
    turned, upright = _without_level(np.ascontiguousarray(cleaned.T), noise)
    return np.ascontiguousarray(turned.T), level + upright


def _without_level(amount: Grey, noise: float) -> tuple[Grey, int]:
    """Take the lines off that run from left to right."""
    lines = find_lines(amount, noise)
    if not lines:
        return amount, 0
    reach = _reach(amount)
    padded = np.pad(amount, ((2 * reach, 2 * reach), (0, 0)))
    for line in lines:
        _erase(padded, line, 2 * reach)
    return padded[2 * reach : -2 * reach], len(lines)


def _reach(amount: Grey) -> int:
    """Return how thick a line may be, pixels."""
    return max(2, round(THICKEST * int(min(amount.shape))))


def find_lines(amount: Grey, noise: float) -> list[Line]:
    """Find lines that run from left to right.

    The page is cut into blocks of columns. In each block a line is a row that holds more ink than
    those above and below; a line is a slope and a start for which nearly all blocks have one.
    """
    height, width = amount.shape
    reach = _reach(amount)
    edges = np.linspace(0, width, BLOCKS + 1).astype(int)
    sums = np.add.reduceat(amount, edges[:-1], axis=1)  # (H, BLOCKS)
    sums = np.asarray(sums / np.diff(edges), np.float32)
    ridge = _ridge(sums, reach)
    least = max(1.5, 4 * noise / np.sqrt(width / BLOCKS))
    votes, slopes = _votes(ridge > least, (edges[:-1] + edges[1:]) / 2)
    lines: list[Line] = []
    padded = np.pad(amount, ((2 * reach, 2 * reach), (0, 0)))
    most, taken = votes.max(axis=0), np.zeros(height, bool)
    for row in np.argsort(-most, kind="stable")[:MOST_TRIED]:
        if most[row] < PRESENT * BLOCKS:
            break
        if taken[row]:
            continue
        tied = np.flatnonzero(votes[:, row] == most[row])
        line = _measured(padded, float(row), float(np.median(slopes[tied])), reach)
        if line is not None:
            lines.append(line)
            middle = round(line.start)
            taken[max(0, middle - reach) : middle + reach + 1] = True
    return lines


def _ridge(sums: Grey, reach: int) -> Grey:
    """Return by how much each row exceeds both the rows `reach` above and those below."""
    padded = np.pad(sums, ((reach, reach), (0, 0)))
    return sums - np.maximum(padded[: -2 * reach], padded[2 * reach :])


def _votes(
    seen: NDArray[np.bool_], middles: NDArray[np.float64]
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Count for each slope and start the blocks in which a line shows, int8 `[slopes, H]`."""
    height = len(seen)
    slopes = np.linspace(-STEEPEST, STEEPEST, SLOPES)
    near = seen.copy()
    near[1:] |= seen[:-1]
    near[:-1] |= seen[1:]
    furthest = int(STEEPEST * middles[-1]) + 1
    padded = np.pad(near, ((furthest, furthest), (0, 0))).astype(np.int8).T.copy()  # (BLOCKS, ..)
    votes = np.zeros((SLOPES, height), np.int8)
    for index, slope in enumerate(slopes):
        for block, middle in enumerate(middles):
            at = furthest + round(slope * middle)
            votes[index] += padded[block, at : at + height]
    return votes, slopes


def _measured(padded: Grey, start: float, slope: float, reach: int) -> Line | None:
    """Fit a line to the ink near it, or return None if it is no unbroken line.

    Args:
        padded: The ink, with twice `reach` empty rows above and below.
        start: Row of the page at the left edge.
        slope: Rows per column.
        reach: The largest thickness.
    """
    height, width = len(padded) - 4 * reach, padded.shape[1]
    offsets = np.arange(-2 * reach, 2 * reach + 1)
    columns = np.arange(width)
    for _ in range(2):
        rows = np.rint(start + slope * columns).astype(int)
        inside = (rows >= 0) & (rows < height)
        if inside.mean() < PRESENT:
            return None
        ink = padded[np.clip(rows, 0, height - 1) + 2 * reach + offsets[:, None], columns]
        profile = np.median(ink[:, inside], axis=1)
        floor = float(np.minimum(profile[: reach + 1].min(), profile[-reach - 1 :].min()))
        middle = int(np.argmax(profile[reach:-reach])) + reach
        strength = float(profile[middle]) - floor
        if strength < 1.5:
            return None
        start, slope = _refit(ink, columns, start, slope, middle, offsets)
    wide = profile - floor > 0.25 * strength
    half = int(np.ceil(wide.sum() / 2)) + 1
    if wide.sum() > 2 * reach:
        return None
    core = ink[max(0, middle - 2) : middle + 3].max(axis=0)
    covered = (core - floor > 0.4 * strength)[inside].mean()
    return Line(start, slope, half, strength) if covered >= COVERED else None


def _refit(
    ink: Grey,
    columns: NDArray[np.int64],
    start: float,
    slope: float,
    middle: int,
    offsets: NDArray[np.int64],
) -> tuple[float, float]:
    """Move a line to where the ink near it is strongest, by least squares over the blocks."""
    first = max(0, middle - 2)
    edges = np.linspace(0, len(columns), BLOCKS + 1).astype(int)
    sums = np.add.reduceat(ink[first : middle + 3], edges[:-1], axis=1) / np.diff(edges)
    shifts = sums.argmax(axis=0) + float(offsets[first])
    middles = (edges[:-1] + edges[1:] - 1) / 2
    keep = np.abs(shifts - np.median(shifts)) <= 1.5
    if keep.sum() < BLOCKS // 2:
        return start, slope
    along, aside = middles[keep] - middles[keep].mean(), shifts[keep] - shifts[keep].mean()
    gain = float(along @ aside / (along @ along))
    return start + float(shifts[keep].mean() - gain * middles[keep].mean()), slope + gain


def _erase(padded: Grey, line: Line, margin: int) -> None:
    """Subtract a line's ink in place, `margin` empty rows lying above and below the page."""
    columns = np.arange(padded.shape[1])
    rows = np.rint(line.start + line.slope * columns).astype(int)
    rows = np.clip(rows, 0, len(padded) - 2 * margin - 1) + margin
    offsets = np.arange(-line.half, line.half + 1)[:, None]
    ink = padded[rows + offsets, columns]
    profile = np.pad(np.median(ink, axis=1), 1, mode="edge")
    # A line that was drawn or photographed is nowhere quite straight: a pixel's play.
    profile = np.maximum(np.maximum(profile[:-2], profile[2:]), profile[1:-1])[:, None]
    above = padded[rows - line.half - 1, columns]
    below = padded[rows + line.half + 1, columns]
    crossing = np.minimum(above, below) > 0.6 * line.strength
    # What exceeds the line by less than its own strength is its unevenness.
    left = np.where(ink < 2 * profile, 0, ink - profile)
    padded[rows + offsets, columns] = np.where(crossing, ink, left)
