"""Connected components of ink, and which of them are writing.

A component of a page may also be the edge of the paper, a shadow, a printed grid or a speck of
dirt. The rules here compare components by size, darkness and position.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.imaging.filters import Mask, grow, label
from app.imaging.ink import Ink
from app.imaging.page_size import is_page

CORE_SHARE = 0.3  # share of a full stroke's ink from which a pixel belongs to a stroke's core
# A light component is part of the writing only near the heaviest one: within this distance, in
# units of the heaviest component's longer side.
MAX_DISTANCE = 0.3
MIN_WEIGHT = 0.25  # share of the heaviest component's ink from which distance does not matter
MIN_NEAR_WEIGHT = 0.015  # share of the heaviest component's ink under which it is a speck
MIN_HEIGHT, MAX_HEIGHT = 0.4, 2.5  # height of a digit at the border, in median heights of the rest
MIN_DARKNESS = 0.6  # mean ink of writing, as a share of the darkest large component's


@dataclass(frozen=True)
class Components:
    """Connected components of ink, labelled 1..K.

    Attributes:
        labels: int32 `[H, W]`, 0 where there is no ink.
        weight: float64 `[K]`, sum of the ink of each component.
        area: int64 `[K]`, number of pixels.
        top: int64 `[K]`, first row.
        bottom: int64 `[K]`, row after the last.
        left: int64 `[K]`, first column.
        right: int64 `[K]`, column after the last.
    """

    labels: NDArray[np.int32]
    weight: NDArray[np.float64]
    area: NDArray[np.int64]
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of components, K."""
        return len(self.area)

    @property
    def height(self) -> NDArray[np.int64]:
        """Return the height of each component's bounding box, int64 `[K]`."""
        return self.bottom - self.top

    @property
    def width(self) -> NDArray[np.int64]:
        """Return the width of each component's bounding box, int64 `[K]`."""
        return self.right - self.left

    @property
    def darkness(self) -> NDArray[np.float64]:
        """Return the mean ink of each component's pixels, float64 `[K]`."""
        return self.weight / self.area

    def mask_of(self, chosen: Mask) -> Mask:
        """Return the pixels of the chosen components.

        Args:
            chosen: bool `[K]`.

        Returns:
            bool `[H, W]`.
        """
        return np.concatenate([[False], chosen])[self.labels]


def stroke_mask(ink: Ink) -> Mask:
    """Return the pixels of strokes with their grey edges, bool `[H, W]`.

    On a page, faint ink counts only within two pixels of a stroke's core (hysteresis thresholding):
    elsewhere it comes from pale lines and shadows, which would connect strokes. In a crop of a
    single digit all faint ink counts, because the strokes may be pale throughout.
    """
    faint = ink.amount > ink.faint
    if not is_page(ink.amount):
        return faint
    core = ink.amount > max(CORE_SHARE * ink.peak, ink.faint)
    return faint & grow(core, 5)


def find_components(ink: Ink, mask: Mask) -> Components:
    """Label the components of a mask that contain strong ink; drop the others as noise.

    Args:
        ink: The ink of the image.
        mask: bool `[H, W]`, pixels that may belong to a component.
    """
    labels, count = label(mask)
    flat = labels.ravel()
    pixels = np.flatnonzero(mask)
    owner = flat[pixels] - 1
    amount = ink.amount.ravel()[pixels]
    strong = np.bincount(owner, weights=amount > ink.strong, minlength=count) > 0
    new_label = np.where(strong, np.cumsum(strong), 0).astype(np.int32)
    flat[pixels] = new_label[owner]
    kept = strong[owner]
    owner, pixels, amount = new_label[owner[kept]] - 1, pixels[kept], amount[kept]
    total, width = int(strong.sum()), labels.shape[1]
    low = np.full((2, total), np.iinfo(np.int64).max)
    high = np.full((2, total), -1)
    for axis, positions in enumerate((pixels // width, pixels % width)):
        np.minimum.at(low[axis], owner, positions)
        np.maximum.at(high[axis], owner, positions)
    return Components(
        labels=labels,
        weight=np.asarray(np.bincount(owner, amount, total), np.float64),
        area=np.bincount(owner, minlength=total),
        top=low[0],
        bottom=high[0] + 1,
        left=low[1],
        right=high[1] + 1,
    )


def is_frame(components: Components) -> Mask:
    """Return which components are the edge of the paper, or the table around it.

    Such a component touches the border of the image. It is a thin strip along a side, a thin frame
    around the whole image, or fills a corner. If almost nothing else is on the image, it is taken
    to be the writing.

    Returns:
        bool `[K]`.
    """
    height, width = components.labels.shape
    if not is_page(components.labels):
        return np.zeros(len(components), bool)
    tall, wide, area = components.height, components.width, components.area
    at_side = (components.left == 0) | (components.right == width)
    at_end = (components.top == 0) | (components.bottom == height)
    vertical_strip = at_side & (tall > 0.6 * height) & (wide < 0.15 * width)
    horizontal_strip = at_end & (wide > 0.6 * width) & (tall < 0.15 * height)
    in_corner = at_side & at_end
    around = in_corner & (tall > 0.9 * height) & (wide > 0.9 * width) & (area < 0.25 * tall * wide)
    fills_corner = (
        in_corner
        & (area > 0.5 * tall * wide)
        & (np.minimum(tall, wide) > 0.08 * min(height, width))
    )
    frame = vertical_strip | horizontal_strip | around | fills_corner
    others = components.weight[~frame]
    if not others.size or others.max() < 0.02 * components.weight.max():
        return np.zeros(len(components), bool)
    return np.asarray(frame)


def may_be_writing(components: Components) -> Mask:
    """Return which components are neither frames, nor cut off, nor far paler than others."""
    frame = is_frame(components)
    frame_or_border = frame | _touches_border(components)
    dropped = frame if frame_or_border.all() else frame_or_border
    return ~(dropped | _is_pale(components, ~dropped))


def select_writing(components: Components, possible: Mask) -> tuple[Mask, dict[str, int]]:
    """Select the components of a single digit: no frames, no pale components, no specks.

    Args:
        components: All components.
        possible: bool `[K]`, from `may_be_writing`.

    Returns:
        bool `[K]`, and the number of dropped components by reason (`frames`, `specks`).
    """
    dropped = ~possible
    heaviest = int(np.argmax(np.where(dropped, 0, components.weight)))
    share = components.weight / components.weight[heaviest]
    size = max(components.height[heaviest], components.width[heaviest])
    gap_y = np.maximum(
        components.top - components.bottom[heaviest], components.top[heaviest] - components.bottom
    )
    gap_x = np.maximum(
        components.left - components.right[heaviest], components.left[heaviest] - components.right
    )
    near = np.maximum(gap_y, gap_x) <= MAX_DISTANCE * size
    writing = ~dropped & ((share >= MIN_WEIGHT) | (near & (share >= MIN_NEAR_WEIGHT)))
    return writing, {"frames": int(dropped.sum()), "specks": int((~dropped & ~writing).sum())}


def _is_pale(components: Components, candidates: Mask) -> Mask:
    """Return which components of a page are far paler than its writing, bool `[K]`.

    Pale components are printed grids and remains of shadows.

    Args:
        components: All components.
        candidates: bool `[K]`, the components that may be writing.
    """
    if not is_page(components.labels):
        return np.zeros(len(components), bool)
    weight = components.weight
    heavy = candidates & (weight >= 0.1 * weight[candidates].max())
    darkest = components.darkness[heavy].max()
    return np.asarray(components.darkness < MIN_DARKNESS * darkest)


def _touches_border(components: Components) -> Mask:
    """Return which components touch the border of a page that has other writing inside, bool `[K]`.

    A component cut off by the border of a photo is a shadow, a table or the next digit. If nearly
    all ink touches the border, the image was cropped to its writing and no component is returned.
    """
    height, width = components.labels.shape
    nothing = np.zeros(len(components), bool)
    if not is_page(components.labels):
        return nothing
    touching = (
        (components.top == 0)
        | (components.left == 0)
        | (components.bottom == height)
        | (components.right == width)
    )
    inside = components.weight[~touching]
    if not inside.size or inside.max() < 0.03 * components.weight.max():
        return nothing
    return np.asarray(touching)


def is_cut_off(components: Components) -> Mask:
    """Return which components at the border of a page differ from the writing inside, bool `[K]`.

    A digit that the border cuts is about as dark and as tall as the digits inside, and stays. A
    shadow is paler, or much shorter or taller.
    """
    touching = _touches_border(components)
    if not touching.any():
        return touching
    inside = ~touching & (components.weight >= 0.1 * components.weight[~touching].max())
    pale = components.darkness < MIN_DARKNESS * np.median(components.darkness[inside])
    size = components.height / np.median(components.height[inside])
    return np.asarray(touching & (pale | (size < MIN_HEIGHT) | (size > MAX_HEIGHT)))
