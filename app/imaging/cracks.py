"""Remove cracks, creases and the rings of stains: long lines, thinner or paler than the writing.

Knows how much ink is at each pixel, and components. A crack may touch digits; these stay.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.cancellation import check_cancelled
from app.imaging.components import Components
from app.imaging.filters import Mask, grow, label
from app.imaging.ink import Ink

CORE = 0.5  # share of the ink's peak from which a pixel belongs to the core of a stroke
MIN_WIDTH = 3.0  # pixels of a pen's stroke; thinner strokes cannot be told from cracks
MAX_CRACK_WIDTH = 0.55  # width of a crack, in widths of the pen's strokes
# Length of a crack and of a part of one that touches a digit, in heights of a digit.
MIN_LENGTH, MIN_PART_LENGTH = 1.6, 0.7
MIN_SHORT_LENGTH, MIN_SHORT_PART_LENGTH = 1.2, 0.5  # where the page has other cracks
MAX_THICK = 0.04  # share of a crack's pixels that is as thick as the pen's strokes
MAX_EXAMINED = 200  # long components; a page with more shows a texture
MAX_AREA = 4.0  # areas of the page that their boxes may have in total


@dataclass(frozen=True)
class _Strokes:
    """Measurements of the writing on a page.

    Attributes:
        height: Typical height of a digit, pixels.
        thick: bool `[H, W]`, pixels of strokes that are as thick as the pen's.
        share: float64 `[K]`, thick pixels of each component, as a share of its pixels.
    """

    height: float
    thick: Mask
    share: NDArray[np.float64]


def remove_cracks(ink: Ink, components: Components) -> Ink:
    """Remove long lines that are thinner or paler than the pen's strokes.

    Returns:
        The ink; the same object if there is no such line.
    """
    longer = np.maximum(components.height, components.width)
    typical = _weighted_median(components.height, components.weight)
    if not (longer > MIN_LENGTH * min(typical, np.median(components.height))).any():
        return ink
    strokes = _measure_strokes(ink, components)
    if strokes is None:
        return ink
    check_cancelled()
    is_thin = strokes.share < MAX_THICK
    long = longer > MIN_LENGTH * strokes.height
    parts = _thin_parts(components, strokes, long & ~is_thin, MIN_PART_LENGTH)
    if not (is_thin & long).any() and parts is None:
        return ink
    # Where there are cracks, a shorter line is one as well, unless most of the writing is thin.
    cracks = components.mask_of(is_thin & (long | (2 * is_thin.sum() < len(is_thin))))
    shorter = longer > MIN_SHORT_LENGTH * strokes.height
    parts = _thin_parts(components, strokes, shorter & ~is_thin, MIN_SHORT_PART_LENGTH)
    if parts is not None:
        cracks |= parts
    if (cracks | (components.labels == 0)).all():
        return ink
    return replace(ink, amount=np.where(cracks, np.float32(0), ink.amount))


def _weighted_median(values: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _measure_strokes(ink: Ink, components: Components) -> _Strokes | None:
    """Return the measurements of the writing, or None if its strokes are too thin to compare."""
    core = ink.amount > CORE * ink.peak
    core &= components.labels > 0
    at, widths = _stroke_widths(core)
    width = float(np.median(widths)) if widths.size else 0.0
    if width < MIN_WIDTH:
        return None
    is_thick = at[widths > MAX_CRACK_WIDTH * width]
    owner = components.labels.ravel()[is_thick] - 1
    share = np.bincount(owner, minlength=len(components)) / components.area
    writing = (share > 0.3) & (components.height > 3 * width)
    height = 8 * width
    if writing.any():
        height = float(np.median(components.height[writing]))
    thick = np.zeros(core.size, bool)
    thick[is_thick] = True
    return _Strokes(min(height, 14 * width), thick.reshape(core.shape), share)


def _stroke_widths(core: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pixels of a mask, and the shorter of the runs through each, along both axes.

    Returns:
        int64 `[P]`, indices into the flat mask; int64 `[P]`, pixels.
    """
    height, width = core.shape
    at, along = _runs(core)
    turned, across = _runs(core.T)
    vertical = np.zeros(core.size, np.int32)
    vertical[turned % height * width + turned // height] = across
    return at, np.minimum(along, vertical[at])


def _runs(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pixels of a mask and the length of the run in a row that each belongs to."""
    at = np.flatnonzero(mask)
    if not at.size:
        return at, at
    starts = np.ones(at.size, bool)
    starts[1:] = (np.diff(at) != 1) | (at[1:] % mask.shape[1] == 0)
    run = np.cumsum(starts) - 1
    return at, np.bincount(run)[run]


def _thin_parts(
    components: Components, strokes: _Strokes, chosen: Mask, length: float
) -> Mask | None:
    """Return the long thin parts of components that have thick strokes, or None if there is none.

    Args:
        components: All components.
        strokes: Measurements of the writing.
        chosen: bool `[K]`, the components with thick strokes.
        length: Heights of a digit that a part is long at least.
    """
    indices = np.flatnonzero(chosen)
    areas = components.height[indices] * components.width[indices]
    indices = indices[np.cumsum(areas) <= MAX_AREA * components.labels.size][:MAX_EXAMINED]
    parts = None
    for index in indices.tolist():
        check_cancelled()
        view = (
            slice(int(components.top[index]), int(components.bottom[index])),
            slice(int(components.left[index]), int(components.right[index])),
        )
        mask = components.labels[view] == index + 1
        thin = mask & ~grow(strokes.thick[view] & mask, 7)
        found = _long_pieces(thin, length * strokes.height)
        if found is not None:
            parts = np.zeros(components.labels.shape, bool) if parts is None else parts
            parts[view] |= found
    return parts


def _long_pieces(mask: Mask, length: float) -> Mask | None:
    """Return the connected pieces whose box is longer than `length` pixels, or None."""
    labels, count = label(mask)
    if not count:
        return None
    rows, columns = np.nonzero(labels)
    owner = labels[rows, columns]
    long = np.zeros(count + 1, bool)
    for positions in (rows, columns):
        low, high = np.full(count + 1, max(mask.shape)), np.full(count + 1, -1)
        np.minimum.at(low, owner, positions)
        np.maximum.at(high, owner, positions)
        long |= high - low >= length
    return long[labels] if long.any() else None
