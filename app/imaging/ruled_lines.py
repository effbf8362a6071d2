"""Ruled and grid lines: found on the whole page, taken off without hurting what is written on them.

Knows how much ink lies where; knows nothing of strokes or digits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.imaging.filters import Grey

MIN_PAGE_SIDE = 64  # pixels a side under which an image has no room for lines
LOOK_COLUMNS = 300  # columns at which a line is measured
BLOCKS = 24  # parts of a line that are looked at one by one
MAX_SLOPE = 0.07  # slope, about 4 degrees: a page that is photographed by hand
SLOPES = 29
PRESENT = 0.7  # share of the blocks in which a line must show
MIN_PART = 0.25  # share of a line that must lie on the page where there are whole lines
COVERED = 0.75  # share of its length that must be inked
MAX_CANDIDATES = 250  # rows tried per direction: a page has fewer lines, a texture many more
MAX_THICKNESS = 0.02  # thickness, in shorter sides of the page


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
    if min(amount.shape) < MIN_PAGE_SIDE:
        return amount, 0
    cleaned, level = _without_level(amount, noise)
    turned, upright = _without_level(np.ascontiguousarray(cleaned.T), noise)
    return np.ascontiguousarray(turned.T), level + upright


def _without_level(amount: Grey, noise: float) -> tuple[Grey, int]:
    """Take the lines off that run from left to right."""
    lines = find_lines(amount, noise)
    if not lines:
        return amount, 0
    margin = 4 * _reach(amount)
    padded = np.pad(amount, ((margin, margin), (0, 0)))
    for line in lines:
        _erase(padded, line, margin)
    return padded[margin:-margin], len(lines)


def _reach(amount: Grey) -> int:
    """Return how thick a line may be, pixels."""
    return max(2, round(MAX_THICKNESS * int(min(amount.shape))))


def find_lines(amount: Grey, noise: float) -> list[Line]:
    """Find lines that run from left to right.

    The page is cut into blocks of columns. In each block a line is a row that holds more ink than
    those above and below; a line is a slope and a start for which nearly all blocks have one. Where
    there are such lines, others like them may leave the page at the top or at the bottom.
    """
    height, width = amount.shape
    reach = _reach(amount)
    edges = np.linspace(0, width, BLOCKS + 1).astype(int)
    sums = np.add.reduceat(amount, edges[:-1], axis=1)  # (H, BLOCKS)
    sums = np.asarray(sums / np.diff(edges), np.float32)
    least = max(1.5, 4 * noise / np.sqrt(width / BLOCKS))
    seen = _ridge(sums, reach) > least
    if seen.any(axis=0).sum() < PRESENT * BLOCKS:
        return []
    votes, voters, slopes = _votes(seen, (edges[:-1] + edges[1:]) / 2)
    padded = np.pad(amount, ((2 * reach, 2 * reach), (0, 0)))
    outside = (votes.shape[1] - height) // 2
    taken = np.zeros(votes.shape[1], bool)
    lines: list[Line] = []
    for part in (1.0, MIN_PART):
        share = np.where(voters >= part * BLOCKS, votes / np.maximum(voters, 1), 0)
        most = share.max(axis=0)
        for at in np.argsort(-most, kind="stable")[:MAX_CANDIDATES]:
            if most[at] < PRESENT:
                break
            if taken[at]:
                continue
            slope = float(np.median(slopes[share[:, at] == most[at]]))
            line = _measured(padded, float(at - outside), slope, reach, part)
            if line is not None and (part == 1 or _is_like(line, lines)):
                lines.append(line)
                middle = round(line.start) + outside
                taken[max(0, middle - reach) : middle + reach + 1] = True
        if not lines:
            break
    return lines


def _is_like(line: Line, others: list[Line]) -> bool:
    """Tell whether a line is about as strong as the others, and as steep."""
    strength = float(np.median([other.strength for other in others]))
    slope = float(np.median([other.slope for other in others]))
    return 0.4 < line.strength / strength < 2.5 and abs(line.slope - slope) < MAX_SLOPE / 4


def _ridge(sums: Grey, reach: int) -> Grey:
    """Return by how much each row exceeds both the rows `reach` above and those below."""
    padded = np.pad(sums, ((reach, reach), (0, 0)))
    return sums - np.maximum(padded[: -2 * reach], padded[2 * reach :])


def _votes(
    seen: NDArray[np.bool_], middles: NDArray[np.float64]
) -> tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.float64]]:
    """Count for each slope and start the blocks in which a line shows.

    Returns:
        int8 `[slopes, H + 2 E]`, for starts from row -E to row H + E - 1; in how many blocks such a
        line lies on the page; and the slopes.
    """
    height = len(seen)
    slopes = np.linspace(-MAX_SLOPE, MAX_SLOPE, SLOPES)
    near = seen.copy()
    near[1:] |= seen[:-1]
    near[:-1] |= seen[1:]
    furthest = int(MAX_SLOPE * middles[-1]) + 1
    # (BLOCKS, H + 4 E)
    padded = np.pad(near, ((2 * furthest,) * 2, (0, 0))).astype(np.int8).T.copy()
    length = height + 2 * furthest
    starts, votes = np.arange(length) - furthest, np.zeros((SLOPES, length), np.int8)
    voters = np.empty((SLOPES, length), np.int64)
    steps = np.rint(slopes[:, None] * middles).astype(int)
    for index, row in enumerate(steps):
        for block, step in zip(padded, row.tolist(), strict=True):
            votes[index] += block[furthest + step : furthest + step + length]
        ordered = np.sort(row)
        above = np.searchsorted(ordered, -starts)
        voters[index] = np.searchsorted(ordered, height - starts) - above
    return votes, voters, slopes


def _measured(padded: Grey, start: float, slope: float, reach: int, part: float) -> Line | None:
    """Fit a line to the ink near it, or return None if it is no unbroken line.

    Args:
        padded: The ink, with twice `reach` empty rows above and below.
        start: Row of the page at the left edge.
        slope: Rows per column.
        reach: The largest thickness.
        part: Share of its length that must lie on the page.
    """
    height, width = len(padded) - 4 * reach, padded.shape[1]
    offsets = np.arange(-2 * reach, 2 * reach + 1)
    columns = np.arange(0, width, max(1, width // LOOK_COLUMNS))
    for _ in range(2):
        rows = np.rint(start + slope * columns).astype(int)
        inside = (rows >= 0) & (rows < height)
        if inside.mean() < part * PRESENT:
            return None
        ink = padded[np.clip(rows, 0, height - 1) + 2 * reach + offsets[:, None], columns]
        profile = np.median(ink[:, inside], axis=1)
        floor = float(np.minimum(profile[: reach + 1].min(), profile[-reach - 1 :].min()))
        middle = int(np.argmax(profile[reach:-reach])) + reach
        strength = float(profile[middle]) - floor
        if strength < 1.5:
            return None
        start, slope = _refit(ink[:, inside], columns[inside], start, slope, middle - 2 * reach)
    wide = profile - floor > 0.25 * strength
    half = int(np.ceil(wide.sum() / 2)) + 1
    if wide.sum() > 2 * reach:
        return None
    core = ink[max(0, middle - 2) : middle + 3].max(axis=0)
    covered = (core - floor > 0.4 * strength)[inside].mean()
    return Line(start, slope, half, strength) if covered >= COVERED else None


def _refit(
    ink: Grey, columns: NDArray[np.int64], start: float, slope: float, offset: int
) -> tuple[float, float]:
    """Move a line to where the ink near it is strongest, by least squares over the blocks.

    Args:
        ink: The rows beside the line, `[offsets, W]`.
        columns: Which columns of the page these are, `[W]`.
        start: Row of the line at the left edge.
        slope: Rows per column.
        offset: Row, from the line, near which the ink is strongest.
    """
    if len(columns) < 2 * BLOCKS:
        return start, slope
    first = max(0, len(ink) // 2 + offset - 2)
    edges = np.linspace(0, len(columns), BLOCKS + 1).astype(int)
    sums = np.add.reduceat(ink[first : first + 5], edges[:-1], axis=1) / np.diff(edges)
    shifts = sums.argmax(axis=0) + float(first - len(ink) // 2)
    middles = columns[(edges[:-1] + edges[1:] - 1) // 2].astype(float)
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
    inside = (rows >= -line.half) & (rows < len(padded) - 2 * margin + line.half)
    columns, rows = columns[inside], rows[inside] + margin
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
