"""The marks on an image: connected pieces of ink, and which of them are not writing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.imaging.filters import label, running_max
from app.imaging.ink import Ink

Mask = NDArray[np.bool_]
MIN_PAGE_SIDE = 64  # pixels a side under which an image has no room for lines or an edge of paper
CORE = 0.3  # share of a full stroke's ink that is the core of a stroke
NEAR = 0.3  # distance, in sizes of the heaviest piece, within which small pieces belong to it
SHORT, LONG = 0.4, 2.5  # heights, in those of the others, outside which a piece is no digit
PALE = 0.6  # mean ink, in that of the darkest large piece, under which a piece is no writing


@dataclass(frozen=True)
class Components:
    """Connected pieces of ink, numbered 1..K.

    Attributes:
        labels: int32 `[H, W]`, 0 where there is no ink.
        weight: float64 `[K]`, sum of the ink of each piece.
        area: int64 `[K]`, pixels.
        top: int64 `[K]`, first row; likewise `bottom` (exclusive), `left` and `right` (exclusive).
    """

    labels: NDArray[np.int32]
    weight: NDArray[np.float64]
    area: NDArray[np.int64]
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of pieces."""
        return len(self.area)

    def keep(self, chosen: NDArray[np.bool_]) -> Mask:
        """Return the mask of the chosen pieces, bool `[H, W]`."""
        return np.concatenate([[False], chosen])[self.labels]


def writing_mask(ink: Ink) -> Mask:
    """Return where the ink of strokes lies, bool `[H, W]`: full strokes with their grey edges.

    On a page of some size pale lines and shadows are well below a stroke's core, and would join
    strokes if they counted: there only ink near a core does. A small image has no such room, and
    its strokes may be pale all along.
    """
    faint = ink.amount > ink.faint
    if min(ink.amount.shape) < MIN_PAGE_SIDE:
        return faint
    core = ink.amount > max(CORE * ink.peak, ink.faint)
    return faint & (running_max(core.astype(np.float32), 5) > 0)


def find_components(ink: Ink, mask: Mask) -> Components:
    """Number the pieces of a mask that hold strong ink; faint pieces alone are noise.

    Args:
        ink: The ink.
        mask: bool `[H, W]`: where faint ink counts.
    """
    labels, count = label(mask)
    flat = labels.ravel()
    where = np.flatnonzero(flat)
    owner = flat[where] - 1
    amount = ink.amount.ravel()[where]
    strong = np.bincount(owner, weights=amount > ink.strong, minlength=count) > 0
    names = np.concatenate([[0], np.where(strong, np.cumsum(strong), 0)]).astype(np.int32)
    labels = names[labels]
    kept = strong[owner]
    owner, where, amount = names[owner[kept] + 1] - 1, where[kept], amount[kept]
    total, width = int(strong.sum()), labels.shape[1]
    rows, columns = where // width, where % width
    low = np.full((2, total), np.iinfo(np.int64).max)
    high = np.full((2, total), -1)
    for axis, places in enumerate((rows, columns)):
        np.minimum.at(low[axis], owner, places)
        np.maximum.at(high[axis], owner, places)
    return Components(
        labels=labels,
        weight=np.asarray(np.bincount(owner, amount, total), np.float64),
        area=np.bincount(owner, minlength=total),
        top=low[0],
        bottom=high[0] + 1,
        left=low[1],
        right=high[1] + 1,
    )


def is_frame(marks: Components) -> NDArray[np.bool_]:
    """Tell which pieces are the edge of the paper or the table beside it rather than writing.

    They touch the image's border and run along most of a side, or hug it.

    Returns:
        bool `[K]`.
    """
    height, width = marks.labels.shape
    if min(height, width) < MIN_PAGE_SIDE:
        return np.zeros(len(marks), bool)
    tall, wide = marks.bottom - marks.top, marks.right - marks.left
    vertical = (marks.left == 0) | (marks.right == width)
    horizontal = (marks.top == 0) | (marks.bottom == height)
    along_y = vertical & (tall > 0.6 * height) & (wide < 0.15 * width)
    along_x = horizontal & (wide > 0.6 * width) & (tall < 0.15 * height)
    around = (
        (tall > 0.9 * height)
        & (wide > 0.9 * width)
        & (marks.area < 0.25 * tall * wide)
        & vertical
        & horizontal
    )
    corner = (
        vertical
        & horizontal
        & (marks.area > 0.5 * tall * wide)
        & (np.minimum(tall, wide) > 0.08 * min(height, width))
    )
    frame = along_y | along_x | around | corner
    inside = marks.weight[~frame]
    if not inside.size or inside.max() < 0.02 * marks.weight.max():
        return np.zeros(len(marks), bool)  # nothing else is there, so it is what was meant
    return np.asarray(frame)


def choose_writing(marks: Components) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Choose the pieces that are writing: no frames, no specks.

    Returns:
        bool `[K]`, and how many pieces were dropped for which reason.
    """
    frame = is_frame(marks)
    cut_off = frame | _at_border(marks)
    frame = frame if cut_off.all() else cut_off
    frame |= _is_pale(marks, ~frame)
    heaviest = int(np.argmax(np.where(frame, 0, marks.weight)))
    share = marks.weight / marks.weight[heaviest]
    size = max(
        marks.bottom[heaviest] - marks.top[heaviest], marks.right[heaviest] - marks.left[heaviest]
    )
    gap_y = np.maximum(marks.top - marks.bottom[heaviest], marks.top[heaviest] - marks.bottom)
    gap_x = np.maximum(marks.left - marks.right[heaviest], marks.left[heaviest] - marks.right)
    near = np.maximum(gap_y, gap_x) <= NEAR * size
    writing = ~frame & ((share >= 0.25) | (near & (share >= 0.015)))
    return writing, {"frames": int(frame.sum()), "specks": int((~frame & ~writing).sum())}


def _is_pale(marks: Components, inside: Mask) -> Mask:
    """Tell which pieces of a page are far paler than its writing: printed grids, rests of shadows.

    Args:
        marks: The pieces.
        inside: Those among which the writing is.
    """
    if min(marks.labels.shape) < MIN_PAGE_SIDE:
        return np.zeros(len(marks), bool)
    depth = marks.weight / marks.area
    heavy = inside & (marks.weight >= 0.1 * marks.weight[inside].max())
    writing = depth[heavy].max()
    return np.asarray(depth < PALE * writing)


def _at_border(marks: Components) -> Mask:
    """Tell which pieces touch the border of a page on which something else is written.

    What is cut off by the border of a photo is a shadow, a table or the next digit; where all that
    is written touches the border, the image was cropped to it, and nothing is dropped.
    """
    height, width = marks.labels.shape
    nothing = np.zeros(len(marks), bool)
    if min(height, width) < MIN_PAGE_SIDE:
        return nothing
    touching = (
        (marks.top == 0) | (marks.left == 0) | (marks.bottom == height) | (marks.right == width)
    )
    inside = marks.weight[~touching]
    if not inside.size or inside.max() < 0.03 * marks.weight.max():
        return nothing
    return np.asarray(touching)


def is_cut_off(marks: Components) -> Mask:
    """Tell which pieces at the border of a page are unlike the writing inside: shadows, rests.

    A digit that the border cuts is about as dark and as tall as the others, and stays.
    """
    touching = _at_border(marks)
    if not touching.any():
        return touching
    depth, tall = marks.weight / marks.area, marks.bottom - marks.top
    inner = ~touching & (marks.weight >= 0.1 * marks.weight[~touching].max())
    pale = depth < PALE * np.median(depth[inner])
    size = tall / np.median(tall[inner])
    return np.asarray(touching & (pale | (size < SHORT) | (size > LONG)))


def soft(mask: Mask) -> Mask:
    """Grow a mask by one pixel, so that the grey edge of each stroke stays."""
    return running_max(mask.astype(np.float32), 3) > 0
