"""Replace dark regions that are no ink by the colour of the paper.

Such regions are what is seen beyond the edge of the paper, dark corners and bands along the border,
and punched holes. Knows grey levels only. A region is thicker than every stroke of the writing, or
lies along the border; it has no writing in it.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.imaging.filters import (
    Grey,
    Mask,
    box_mean,
    dilate,
    downscale,
    grow,
    label,
    opening,
    otsu,
    sample,
)

SIDE = 400  # longer side, in pixels, of the reduced image in which the regions are found
MIN_PAPER = 0.4  # share of the image that is paper
MIN_CONTRAST = 25.0  # grey levels between paper and region
# Levels below which a pixel is dark, as shares of the contrast between paper and writing. The lower
# one finds pale desks and soft shadows.
LEVELS = (0.5, 0.3)
MIN_AREA = 12  # pixels of the reduced image; a smaller component is a speck
# Thickness of a region, in thicknesses of the strokes. At the border a region counts double,
# because the rest of it is outside the image.
MIN_THICKNESS, MIN_HOLE_THICKNESS, MIN_HOLES_THICKNESS = 3.0, 2.0, 1.4  # several of one size
MAX_HOLE_DIFFERENCE = 0.25  # of their areas, by which holes of one size differ
MAX_THICKNESS = 51  # pixels of the reduced image, up to which it is measured
MIN_CONTACT = (
    0.75  # share of its longer side, or of both at a corner, along which it is at the border
)
# A hole: share of its bounding box that it covers (a disc has 0.79), ratio of the box's sides, and
# side of the largest square in it as a share of the box's shorter side (a disc has 0.71).
MIN_HOLE_FILL, MAX_HOLE_ASPECT, MIN_HOLE_SQUARE = 0.68, 1.3, 0.55
MAX_SLIVER = 0.4  # heights of the strokes; a lower strip at the border is no digit
# Contrast of a stroke within a region, as a share of the writing's, and its length in heights of
# the other strokes, from which the region is a shadow with writing in it.
MIN_WRITTEN, MIN_WRITTEN_LENGTH = 0.3, 0.5
PENUMBRA = 0.12  # of a region's contrast, by which its soft edge still differs from the paper
MAX_PENUMBRA = 16  # pixels of the reduced image
PAPER_WINDOW = 61  # pixels of the reduced image, over which the colour of the paper is averaged


@dataclass(frozen=True)
class _Regions:
    """Dark components of the reduced image, labelled 1..K.

    Attributes:
        labels: int32 `[H, W]`.
        area: int64 `[K]`, pixels.
        thickness: int64 `[K]`, side of the largest square in each, pixels; 1 until it is measured.
        contact: int64 `[K]`, pixels at the border of the image.
        at_corner: bool `[K]`.
        height: int64 `[K]`.
        width: int64 `[K]`.
    """

    labels: NDArray[np.int32]
    area: NDArray[np.int64]
    thickness: NDArray[np.int64]
    contact: NDArray[np.int64]
    at_corner: Mask
    height: NDArray[np.int64]
    width: NDArray[np.int64]


def without_surroundings(grey: Grey) -> Grey:
    """Return the image with dark regions that are no ink replaced by the colour of the paper.

    An image without them, or with light ink on a dark background, is returned itself.

    Args:
        grey: float32 `[H, W]`, 0..255.
    """
    small = downscale(grey, SIDE)
    covered = np.zeros(small.shape, bool)
    filled = small
    for level in LEVELS:
        mask, paper = _surroundings(filled, level)
        covered |= mask
        filled = np.where(mask, paper, filled)
    if not covered.any():
        return grey
    height, width = grey.shape
    mask = np.asarray(Image.fromarray(covered).resize((width, height), Image.Resampling.NEAREST))
    colour = Image.fromarray(filled).resize((width, height), Image.Resampling.BILINEAR)
    return np.where(mask, np.asarray(colour), grey)


def _surroundings(small: Grey, level: float) -> tuple[Mask, Grey]:
    """Return the pixels of dark regions that are not ink, and the colour of the paper."""
    nothing = np.zeros(small.shape, bool)
    pixels = sample(small)
    is_light = pixels > otsu(pixels)[0]
    if is_light.mean() < MIN_PAPER or is_light.all():
        return nothing, small
    paper_level = float(np.median(pixels[is_light]))
    contrast = paper_level - float(np.median(pixels[~is_light]))
    if contrast < MIN_CONTRAST:
        return nothing, small
    light = small > paper_level - level * contrast
    if light.mean() < MIN_PAPER:
        return nothing, small
    regions = _find_regions(~light)
    if not ((regions.contact > 0) & (regions.area >= MIN_AREA) | _fills_box(regions)).any():
        return nothing, small
    regions = replace(regions, thickness=_thickness(regions.labels, len(regions.area)))
    strokes = _strokes(regions)
    if not strokes.any():
        return nothing, small
    chosen = _not_ink(regions, strokes)
    chosen &= ~_have_writing(small, regions, chosen, strokes, contrast / paper_level)
    mask = np.concatenate([[False], chosen])[regions.labels]
    if not mask.any():
        return nothing, small
    paper = _paper_colour(small, light & ~grow(mask, MAX_PENUMBRA + 1))
    difference = float(np.median((paper - small)[mask]))
    if difference < MIN_CONTRAST:
        return nothing, small
    return _with_penumbra(mask, small < paper - PENUMBRA * difference), paper


def _find_regions(dark: Mask) -> _Regions:
    labels, count = label(dark)
    border = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    corners = np.isin(np.arange(count + 1), labels[[0, 0, -1, -1], [0, -1, 0, -1]])
    pixels = np.flatnonzero(dark)
    rows, columns = np.divmod(pixels, dark.shape[1])
    owner = labels.ravel()[pixels] - 1
    sides = []
    for positions in (rows, columns):
        low, high = np.full(count, max(dark.shape)), np.full(count, -1)
        np.minimum.at(low, owner, positions)
        np.maximum.at(high, owner, positions)
        sides.append(high - low + 1)
    return _Regions(
        labels,
        np.bincount(owner, minlength=count),
        np.ones(count, np.int64),
        np.bincount(border, minlength=count + 1)[1:],
        corners[1:],
        sides[0],
        sides[1],
    )


def _thickness(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Return the side of the largest square in each region, int64 `[K]`, pixels."""
    thickness, light = np.ones(count + 1, np.int64), (labels == 0).astype(np.float32)
    for size in range(3, MAX_THICKNESS + 1, 2):
        light = dilate(light, 3)
        kept = labels[light == 0]
        if not kept.size:
            break
        thickness[kept] = size
    return thickness[1:]


def _fills_box(regions: _Regions) -> Mask:
    """Return which regions inside the image fill their nearly square box as a disc does."""
    shorter = np.minimum(regions.height, regions.width)
    longer = np.maximum(regions.height, regions.width)
    return np.asarray(
        (regions.contact == 0)
        & (regions.area >= np.maximum(MIN_AREA, MIN_HOLE_FILL * shorter * longer))
        & (longer <= MAX_HOLE_ASPECT * shorter)
    )


def _is_round(regions: _Regions) -> Mask:
    """Return which regions are solid discs inside the image, bool `[K]`."""
    shorter = np.minimum(regions.height, regions.width)
    return _fills_box(regions) & (regions.thickness >= MIN_HOLE_SQUARE * shorter)


def _strokes(regions: _Regions) -> Mask:
    """Return which regions may be writing that is not cut off, bool `[K]`."""
    inside = (regions.contact == 0) & (regions.area >= MIN_AREA)
    return np.asarray(inside & ~_is_round(regions))


def _not_ink(regions: _Regions, strokes: Mask) -> Mask:
    """Return which regions are not ink, by their shape, bool `[K]`."""
    shorter = np.minimum(regions.height, regions.width)
    longer = np.maximum(regions.height, regions.width)
    thickness, height = regions.thickness[strokes], np.median(regions.height[strokes])
    is_round = _is_round(regions)
    areas = np.sort(regions.area[is_round])
    larger = np.searchsorted(areas, regions.area * (1 + MAX_HOLE_DIFFERENCE))
    several = larger - np.searchsorted(areas, regions.area / (1 + MAX_HOLE_DIFFERENCE)) > 1
    min_thickness = np.where(several, MIN_HOLES_THICKNESS, MIN_HOLE_THICKNESS)
    holes = is_round & (regions.thickness >= min_thickness * np.median(thickness))
    at_border = (regions.contact > 0) & (regions.area >= MIN_AREA)
    beyond = at_border & (regions.thickness >= MIN_THICKNESS * thickness.max())
    sides = np.where(regions.at_corner, regions.height + regions.width, longer)
    along = at_border & (regions.contact >= MIN_CONTACT * sides)
    along &= regions.at_corner | (longer >= 1.5 * height) | (shorter <= MAX_SLIVER * height)
    # If much of the writing is at the border, the image was cropped to it.
    if regions.area[at_border & ~beyond & ~along].sum() < regions.area[strokes].sum():
        beyond |= along
    return np.asarray(beyond | holes)


def _have_writing(
    small: Grey, regions: _Regions, chosen: Mask, strokes: Mask, contrast: float
) -> Mask:
    """Return which regions, such as shadows, have dark strokes in them, bool `[K]`.

    Args:
        small: float32 `[H, W]`.
        regions: All regions.
        chosen: bool `[K]`, those that are examined.
        strokes: bool `[K]`, those that may be writing.
        contrast: Contrast of the writing, as a share of the paper's level.
    """
    written = np.zeros(len(regions.area), bool)
    size = int(2 * regions.thickness[strokes].max() + 1) | 1
    wide = chosen & (regions.thickness >= size)
    if not wide.any():
        return written
    mask = np.concatenate([[False], wide])[regions.labels].astype(np.float32)
    smooth = box_mean(small, 3)
    closed = -opening(-smooth, size)
    darker = closed - smooth > np.maximum(MIN_WRITTEN * contrast * closed, 8)
    found = _find_regions(darker & (opening(mask, size) > 0))
    long = np.maximum(found.height, found.width) >= MIN_WRITTEN_LENGTH * np.median(
        regions.height[strokes]
    )
    # A corner that is darker towards its tip is no stroke.
    stroke = np.concatenate([[False], long & (found.contact == 0)])[found.labels]
    written[np.unique(regions.labels[stroke]) - 1] = True
    return written


def _paper_colour(small: Grey, paper: Mask) -> Grey:
    """Return the mean of the paper near each pixel; far from any paper, the mean of all."""
    share = box_mean(paper.astype(np.float32), PAPER_WINDOW)
    mean = np.float32(small[paper].mean()) if paper.any() else np.float32(255)
    near = box_mean(np.where(paper, small, 0), PAPER_WINDOW) / np.maximum(share, 1e-3)
    return np.where(share > 0.02, near, mean)


def _with_penumbra(mask: Mask, darker: Mask) -> Mask:
    """Return a mask grown into the soft edges around it."""
    for _ in range(MAX_PENUMBRA):
        grown = grow(mask) & (darker | mask)
        if np.array_equal(grown, mask):
            break
        mask = grown
    return grow(mask)
