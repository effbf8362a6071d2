"""Find a sheet of paper on a darker desk, so that the desk is not taken for the background.

Knows grey levels only. A sheet is a light region with four straight sides and something dark on it.
"""

import numpy as np
from numpy.typing import NDArray

from app.imaging.filters import Grey, Mask, downscale, is_connected, label, otsu

SHEET_SIDE = 200  # longer side, in pixels, of the reduced image in which the sheet is found
MIN_SHARE = 0.15  # of the image, that a sheet covers
MIN_DARK_BORDER = 0.9  # share of the image's border that is desk
# Area of a sheet, its writing included, as a share of the quadrilateral between its corners.
MIN_STRAIGHT, MAX_STRAIGHT = 0.93, 1.07
MIN_WRITING, MAX_WRITING = 0.001, 0.4  # share of the sheet that is dark and enclosed by it
# Grey levels by which the paper is lighter than the desk at each of its sides. A shadow or a
# vignette has no such edge.
MIN_CONTRAST = 40.0
BESIDE = 0.07  # distance from a side at which the contrast is measured, in distances to the middle
MAX_SMALL = 64 * 64  # pixels of an image, up to which a flood fill is quicker than labels
EDGE = 0.015  # of the sheet's shorter side, that is cut off at its edges


def without_desk(grey: Grey) -> Grey:
    """Return the image with the desk around a sheet replaced by the colour of the paper.

    An image that shows no sheet on a darker desk is returned itself.

    Args:
        grey: float32 `[H, W]`, 0..255.
    """
    small = downscale(grey, SHEET_SIDE)
    threshold, _ = otsu(small)
    light = small > threshold
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    if light.mean() < MIN_SHARE or border.mean() > 1 - MIN_DARK_BORDER:
        return grey
    found = find_sheet(small, light)
    if found is None:
        return grey
    sheet, corners = found
    factor = grey.shape[0] / small.shape[0]
    inside = _polygon(grey.shape, _shrunk(corners) * factor)
    return np.where(inside, grey, np.median(small[sheet]).astype(np.float32))


def find_sheet(small: Grey, light: Mask) -> tuple[Mask, NDArray[np.float64]] | None:
    """Return the sheet that an image shows and its corners, float64 `[4, 2]`; None if it has none.

    Args:
        small: The image, reduced.
        light: Its light pixels.
    """
    sheet = _largest(light)
    corners = _corners(sheet)
    if not _is_sheet(sheet, corners) or _edge_contrast(small, corners) < MIN_CONTRAST:
        return None
    return sheet, corners


def _largest(light: Mask) -> Mask:
    """Return the largest connected light region."""
    if light.size <= MAX_SMALL and is_connected(light):
        return light
    labels, count = label(light)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    areas[0] = 0
    return np.asarray(labels == int(areas.argmax()))


def _corners(sheet: Mask) -> NDArray[np.float64]:
    """Return row and column of the corners, float64 `[4, 2]`: clockwise from the upper left."""
    rows, columns = np.nonzero(sheet)
    along, across = rows + columns, columns - rows
    picks = (along.argmin(), across.argmax(), along.argmax(), across.argmin())
    return np.array([(rows[pick], columns[pick]) for pick in picks], float)


def _is_sheet(sheet: Mask, corners: NDArray[np.float64]) -> bool:
    """Return whether a region has four straight sides and dark writing that it encloses."""
    inside = _polygon(sheet.shape, corners)
    area, lightness = float(inside.sum()), float(sheet.sum())
    # What follows from the conditions below, before the holes are looked for.
    if not (MIN_STRAIGHT - MAX_WRITING) * area <= lightness <= MAX_STRAIGHT * area:
        return False
    filled = _without_holes(sheet)
    writing = float((filled & ~sheet).sum())
    return (
        area >= MIN_SHARE * sheet.size
        and float((filled & inside).sum()) >= MIN_STRAIGHT * area
        and float(filled.sum()) <= MAX_STRAIGHT * area
        and MIN_WRITING * area <= writing <= MAX_WRITING * area
    )


def _edge_contrast(small: Grey, corners: NDArray[np.float64]) -> float:
    """Return the smallest difference between paper and desk along a side, in grey levels."""
    middle = corners.mean(axis=0)
    along = np.linspace(0.1, 0.9, 40)[:, None]
    limits = np.array(small.shape) - 1
    contrasts = []
    for start, stop in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        side = start + along * (stop - start)
        inner, outer = (
            np.clip(np.rint(middle + (side - middle) * factor), 0, limits).astype(int)
            for factor in (1 - BESIDE, 1 + BESIDE)
        )
        contrasts.append(np.median(small[tuple(inner.T)]) - np.median(small[tuple(outer.T)]))
    return float(min(contrasts))


def _without_holes(region: Mask) -> Mask:
    """Return a region with its holes filled."""
    labels, count = label(~region)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    is_outside = np.zeros(count + 1, bool)
    is_outside[border] = True
    is_outside[0] = False
    return ~is_outside[labels]


def _shrunk(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move the corners a little towards the middle: the edge of the paper casts a shadow."""
    middle = corners.mean(axis=0)
    shortest = min(float(np.hypot(*(corners[at] - corners[at - 1]))) for at in range(len(corners)))
    distance = np.hypot(*(corners - middle).T)[:, None]
    moved: NDArray[np.float64] = middle + (corners - middle) * (
        1 - (EDGE * shortest + 2) / distance
    )
    return moved


def _polygon(shape: tuple[int, ...], corners: NDArray[np.float64]) -> Mask:
    """Return the pixels inside a convex polygon, clockwise corners, bool of this shape."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    inside = np.ones(shape, bool)
    for start, stop in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        down, right = stop - start
        inside &= right * (rows - start[0]) - down * (columns - start[1]) >= 0
    return inside
