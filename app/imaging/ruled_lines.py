"""Detect ruled and grid lines on a page and subtract them without damaging the writing.

Lines are found by voting over slopes and intercepts, a Hough transform (Hough, 1962) restricted to
nearly horizontal and nearly vertical lines. Knows how much ink is at each pixel; knows nothing of
strokes or digits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.cancellation import check_cancelled
from app.imaging.filters import Grey, Mask
from app.imaging.page_size import is_page

SAMPLED_COLUMNS = 300  # columns, about, at which the profile of a line is measured
BLOCKS = 24  # blocks of columns; each votes on its own
MAX_SLOPE = 0.07  # rows per column, about 4 degrees: the tilt of a photo taken by hand
SLOPES = 29  # slopes that are tried, from -MAX_SLOPE to MAX_SLOPE
MIN_VOTES = 0.7  # share of the blocks that must vote for a line
# Share of a line's length that must lie on the page. Once full-width lines are found, shorter ones
# like them may leave the page at the top or the bottom.
FULL_LENGTH, MIN_LENGTH = 1.0, 0.25
MIN_COVERED = 0.75  # share of a line's length that must be inked
MIN_STRENGTH = 1.5  # grey levels by which a line must exceed the ink on both sides
MAX_CANDIDATES = 250  # lines tested per direction and pass; only a texture has more
# Candidates in a row that are no line: what follows has fewer votes and is a texture.
MAX_MISSES = 40
MAX_THICKNESS = 0.02  # thickness of a line, as a share of the page's shorter side


@dataclass(frozen=True)
class Line:
    """A nearly horizontal line across the page.

    Attributes:
        start: Row at the left edge of the page; outside the page for a line that enters from above
            or below.
        slope: Rows per column.
        half: Half the thickness, blurred edges included, in pixels.
        strength: Ink at the line's centre above that beside it, in grey levels.
    """

    start: float
    slope: float
    half: int
    strength: float


def subtract_lines(amount: Grey, noise: float) -> tuple[Grey, int]:
    """Subtract ruled and grid lines from the ink of a page.

    A line crosses the whole page, horizontally or vertically to within about 4 degrees. Only the
    line's own ink is subtracted, so darker strokes on it stay. Where a stroke as dark as the line
    crosses it, which shows above and below the line, all ink stays.

    Args:
        amount: float32 `[H, W]`, ink in grey levels above the background.
        noise: Standard deviation of the background, grey levels.

    Returns:
        float32 `[H, W]`, the ink without lines, and the number of lines.
    """
    if not is_page(amount):
        return amount, 0
    rest, horizontal = _subtract_horizontal(amount, noise)
    transposed, vertical = _subtract_horizontal(np.ascontiguousarray(rest.T), noise)
    if vertical:
        rest = np.ascontiguousarray(transposed.T)
    return rest, horizontal + vertical


def _subtract_horizontal(amount: Grey, noise: float) -> tuple[Grey, int]:
    """Subtract the lines that run from left to right; return the ink and the number of lines."""
    lines = find_lines(amount, noise)
    if not lines:
        return amount, 0
    margin = 4 * _max_thickness(amount)
    padded = np.pad(amount, ((margin, margin), (0, 0)))
    for line in lines:
        _subtract(padded, line, margin)
    return padded[margin:-margin], len(lines)


def _max_thickness(amount: Grey) -> int:
    """Return the largest thickness of a line on this page, in pixels."""
    return max(2, round(MAX_THICKNESS * int(min(amount.shape))))


def find_lines(amount: Grey, noise: float) -> list[Line]:
    """Find the lines that run from left to right.

    The page is cut into `BLOCKS` blocks of columns. In each block, a row that has more ink than the
    rows above and below votes for every line (slope and start) through it. The lines with the most
    votes are fitted to the ink and verified.

    Args:
        amount: float32 `[H, W]`, ink in grey levels above the background.
        noise: Standard deviation of the background, grey levels.
    """
    height, width = amount.shape
    thickness = _max_thickness(amount)
    edges = np.linspace(0, width, BLOCKS + 1).astype(int)
    sums = np.add.reduceat(amount, edges[:-1], axis=1)
    means = np.asarray(sums / np.diff(edges), np.float32)  # [H, BLOCKS]
    # Four standard deviations of the mean of a block's row.
    min_contrast = max(MIN_STRENGTH, 4 * noise / np.sqrt(width / BLOCKS))
    ridges = _ridge_contrast(means, thickness) > min_contrast
    if ridges.any(axis=0).sum() < MIN_VOTES * BLOCKS:
        return []
    votes, voters, slopes = _count_votes(ridges, (edges[:-1] + edges[1:]) / 2)
    padded = np.pad(amount, ((2 * thickness, 2 * thickness), (0, 0)))
    outside = (votes.shape[1] - height) // 2  # starts above the page
    taken = np.zeros(votes.shape[1], bool)
    lines: list[Line] = []
    for length in (FULL_LENGTH, MIN_LENGTH):
        share = np.where(voters >= length * BLOCKS, votes / np.maximum(voters, 1), 0)
        best = share.max(axis=0)
        misses = 0
        for start in np.argsort(-best, kind="stable")[:MAX_CANDIDATES]:
            if best[start] < MIN_VOTES or misses == MAX_MISSES:
                break
            if taken[start]:
                continue
            check_cancelled()
            slope = float(np.median(slopes[share[:, start] == best[start]]))
            line = _fit_line(padded, float(start - outside), slope, thickness, length)
            misses += 1
            if line is not None and (length == FULL_LENGTH or _is_like(line, lines)):
                misses = 0
                lines.append(line)
                row = round(line.start) + outside
                taken[max(0, row - thickness) : row + thickness + 1] = True
        if not lines:
            break
    return lines


def _is_like(line: Line, others: list[Line]) -> bool:
    """Return whether a line is about as strong as the others and nearly parallel to them."""
    strength = float(np.median([other.strength for other in others]))
    slope = float(np.median([other.slope for other in others]))
    return 0.4 < line.strength / strength < 2.5 and abs(line.slope - slope) < MAX_SLOPE / 4


def _ridge_contrast(means: Grey, distance: int) -> Grey:
    """Return how far each row exceeds the larger of the rows `distance` above and below."""
    padded = np.pad(means, ((distance, distance), (0, 0)))
    return means - np.maximum(padded[: -2 * distance], padded[2 * distance :])


def _count_votes(
    ridges: Mask, centres: NDArray[np.float64]
) -> tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.float64]]:
    """Count, for each slope and start, the blocks that have a ridge on that line.

    A ridge may be one row off the line.

    Args:
        ridges: bool `[H, BLOCKS]`, rows that exceed their neighbours.
        centres: float64 `[BLOCKS]`, centre column of each block.

    Returns:
        votes: int8 `[SLOPES, H + 2 E]`, for starts from row -E to row H + E - 1, where E is the
            largest rise of a line.
        voters: int64, same shape: the blocks in which the line lies on the page.
        slopes: float64 `[SLOPES]`, rows per column.
    """
    height = len(ridges)
    slopes = np.linspace(-MAX_SLOPE, MAX_SLOPE, SLOPES)
    near = ridges.copy()
    near[1:] |= ridges[:-1]
    near[:-1] |= ridges[1:]
    rise = int(MAX_SLOPE * centres[-1]) + 1
    padded = np.pad(near, ((2 * rise,) * 2, (0, 0))).astype(np.int8).T.copy()  # [BLOCKS, H + 4 E]
    length = height + 2 * rise
    starts, votes = np.arange(length) - rise, np.zeros((SLOPES, length), np.int8)
    voters = np.empty((SLOPES, length), np.int64)
    offsets = np.rint(slopes[:, None] * centres).astype(int)
    for index, rows in enumerate(offsets):
        for block, offset in zip(padded, rows.tolist(), strict=True):
            votes[index] += block[rise + offset : rise + offset + length]
        ordered = np.sort(rows)
        above = np.searchsorted(ordered, -starts)
        voters[index] = np.searchsorted(ordered, height - starts) - above
    return votes, voters, slopes


def _fit_line(
    padded: Grey, start: float, slope: float, thickness: int, length: float
) -> Line | None:
    """Fit a line to the ink near a candidate.

    Args:
        padded: float32 `[H + 4 thickness, W]`, the ink with `2 * thickness` empty rows above and
            below.
        start: Row of the candidate at the left edge of the page.
        slope: Rows per column.
        thickness: Largest thickness of a line, in pixels.
        length: Share of the line's length that must lie on the page.

    Returns:
        The line, or None if the ink is too thick, too weak or too broken to be one.
    """
    height, width = len(padded) - 4 * thickness, padded.shape[1]
    offsets = np.arange(-2 * thickness, 2 * thickness + 1)
    columns = np.arange(0, width, max(1, width // SAMPLED_COLUMNS))
    for _ in range(2):
        rows = np.rint(start + slope * columns).astype(int)
        inside = (rows >= 0) & (rows < height)
        if inside.mean() < length * MIN_VOTES:
            return None
        ink = padded[np.clip(rows, 0, height - 1) + 2 * thickness + offsets[:, None], columns]
        profile = np.median(ink[:, inside], axis=1)
        beside = float(np.minimum(profile[: thickness + 1].min(), profile[-thickness - 1 :].min()))
        centre = int(np.argmax(profile[thickness:-thickness])) + thickness
        strength = float(profile[centre]) - beside
        if strength < MIN_STRENGTH:
            return None
        start, slope = _refine(
            ink[:, inside], columns[inside], start, slope, centre - 2 * thickness
        )
    thick = profile - beside > 0.25 * strength
    half = int(np.ceil(thick.sum() / 2)) + 1
    if thick.sum() > 2 * thickness:
        return None
    core = ink[max(0, centre - 2) : centre + 3].max(axis=0)
    covered = (core - beside > 0.4 * strength)[inside].mean()
    return Line(start, slope, half, strength) if covered >= MIN_COVERED else None


def _refine(
    ink: Grey, columns: NDArray[np.int64], start: float, slope: float, offset: int
) -> tuple[float, float]:
    """Refine start and slope by least squares over the strongest row of each block.

    Args:
        ink: float32 `[R, C]`, the rows around the line at the sampled columns.
        columns: int64 `[C]`, the sampled columns of the page.
        start: Row of the line at the left edge.
        slope: Rows per column.
        offset: Row of the strongest ink, relative to the line.

    Returns:
        The refined start and slope; unchanged if too few blocks agree.
    """
    if len(columns) < 2 * BLOCKS:
        return start, slope
    first = max(0, len(ink) // 2 + offset - 2)
    edges = np.linspace(0, len(columns), BLOCKS + 1).astype(int)
    means = np.add.reduceat(ink[first : first + 5], edges[:-1], axis=1) / np.diff(edges)
    shifts = means.argmax(axis=0) + float(first - len(ink) // 2)
    centres = columns[(edges[:-1] + edges[1:] - 1) // 2].astype(float)
    inliers = np.abs(shifts - np.median(shifts)) <= 1.5
    if inliers.sum() < BLOCKS // 2:
        return start, slope
    x = centres[inliers] - centres[inliers].mean()
    y = shifts[inliers] - shifts[inliers].mean()
    gain = float(x @ y / (x @ x))
    intercept = float(shifts[inliers].mean() - gain * centres[inliers].mean())
    return start + intercept, slope + gain


def _subtract(padded: Grey, line: Line, margin: int) -> None:
    """Subtract a line's ink in place.

    Args:
        padded: float32 `[H + 2 margin, W]`, the ink with `margin` empty rows above and below.
        line: The line, in rows of the page.
        margin: Rows of padding above the page.
    """
    columns = np.arange(padded.shape[1])
    rows = np.rint(line.start + line.slope * columns).astype(int)
    inside = (rows >= -line.half) & (rows < len(padded) - 2 * margin + line.half)
    columns, rows = columns[inside], rows[inside] + margin
    offsets = np.arange(-line.half, line.half + 1)[:, None]
    ink = padded[rows + offsets, columns]
    profile = np.pad(np.median(ink, axis=1), 1, mode="edge")
    # A printed line is never quite straight: allow it to be one pixel off.
    profile = np.maximum(np.maximum(profile[:-2], profile[2:]), profile[1:-1])[:, None]
    above = padded[rows - line.half - 1, columns]
    below = padded[rows + line.half + 1, columns]
    crossed = np.minimum(above, below) > 0.6 * line.strength
    # Ink of less than twice the line's profile is the line itself, unevenly printed.
    rest = np.where(ink < 2 * profile, 0, ink - profile)
    padded[rows + offsets, columns] = np.where(crossed, ink, rest)
