"""Find the ink of a small image of light digits on black in a short way.

Most small files are such images. The stages for pages (`app.imaging.segment`) change nothing on
them, and take ten times as long to find that out. Each test here says which of them it makes
needless; an image that fails one goes through these stages. Both ways come to the same ink, bit by
bit.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.imaging.background import is_uneven
from app.imaging.components import Components
from app.imaging.cracks import MIN_LENGTH
from app.imaging.decode import Upload
from app.imaging.filters import Grey, Mask, is_connected, otsu_of_counts, quantile
from app.imaging.frames import MIN_SIDE, has_walls, wall_level
from app.imaging.ink import MIN_CONTRAST, Ink
from app.imaging.polarity import BIMODAL
from app.imaging.segments import MAX_INK_SHARE
from app.imaging.sheet import MIN_SHARE, find_sheet
from app.imaging.stroke_groups import StrokeBox
from app.imaging.surroundings import MIN_PAPER

MAX_SIDE = 36  # pixels; up to it, windows are 3 pixels wide and a border is one pixel wide
MAX_LIGHT_BORDER = 0.1  # share of the border; with less, polarity is clear and a desk is possible
MAX_EVEN_DIFFERENCE = 7.5  # grey levels of the background, from which it is measured further


def find_clean_ink(upload: Upload) -> Ink | None:
    """Return the ink of light digits on an even black background, or None for any other image.

    Args:
        upload: The decoded image, whose polarity is not given.
    """
    pixels = upload.pixels
    if pixels.ndim != 2 or upload.alpha is not None or max(pixels.shape) > MAX_SIDE:
        return None
    counts = np.array(Image.fromarray(pixels).histogram(), float)
    threshold, explained = otsu_of_counts(counts)
    if explained < BIMODAL or not _is_mostly_black(counts, threshold):
        return None
    light, grey = pixels > threshold, pixels.astype(np.float32)
    if not _is_even_and_around(light, grey):
        return None
    ink = _measure(grey, counts)
    return ink if ink.peak >= MIN_CONTRAST else None


def find_lone_digit(ink: Ink) -> tuple[Components, StrokeBox] | None:
    """Return the one component of clean ink and its box; None if it is not one digit for sure.

    Then it is neither a printed frame nor a crack, and no line of text has to be found.
    """
    mask = ink.amount > ink.faint
    if mask.mean() > MAX_INK_SHARE or not is_connected(mask):
        return None
    box = _box_of(mask)
    if box.width > MIN_LENGTH * box.height or _may_have_frame(ink, box):
        return None
    amount = ink.amount[mask]
    component = Components(
        labels=mask.astype(np.int32),
        weight=amount.sum(keepdims=True, dtype=np.float64),
        area=np.array([amount.size]),
        top=np.array([box.top]),
        bottom=np.array([box.bottom]),
        left=np.array([box.left]),
        right=np.array([box.right]),
    )
    return component, box


def _is_mostly_black(counts: NDArray[np.float64], threshold: float) -> bool:
    """Return whether the median of the background is 0, and so are its deviation and its noise."""
    background = counts[: int(threshold) + 1].sum()
    return bool(2 * counts[0] > background + 1) and background < counts.sum()


def _is_even_and_around(light: Mask, grey: Grey) -> bool:
    """Return whether nothing but an even background is around the light pixels.

    Then polarity is clear, and there is no desk, no paper with dark regions and no shadow.
    """
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    share = float(light.mean())
    if border.mean() > MAX_LIGHT_BORDER or share >= MIN_PAPER:
        return False
    if share >= MIN_SHARE and find_sheet(grey, light) is not None:
        return False
    near = light.copy()
    near[1:] |= light[:-1]
    near[:-1] |= light[1:]
    near[:, 1:] |= near[:, :-1].copy()
    near[:, :-1] |= near[:, 1:].copy()
    background = grey[~near]
    # Means of the background differ less than its pixels.
    return not background.size or background.max() <= MAX_EVEN_DIFFERENCE or not is_uneven(grey)


def _measure(grey: Grey, counts: NDArray[np.float64]) -> Ink:
    """Return what `measure_ink` returns for a black background without noise."""
    marked = counts.copy()
    marked[0] = 0
    strong = otsu_of_counts(marked)[0]
    if strong >= np.flatnonzero(marked)[-1]:  # all ink has the same strength
        strong = 0.0
    peak = quantile(grey[grey > strong], 0.75)
    faint = max(0.08 * peak, 2.0)
    return Ink(grey, 0.0, max(min(strong, 0.5 * peak), faint), faint, peak)


def _may_have_frame(ink: Ink, box: StrokeBox) -> bool:
    """Return whether clean ink in this box may have a printed frame."""
    if min(box.width, box.height) < MIN_SIDE:
        return False
    wall = ink.amount > wall_level(ink)
    around = _box_of(wall)
    inside = wall[around.top : around.bottom, around.left : around.right]
    return not is_connected(wall) or has_walls(inside)


def _box_of(mask: Mask) -> StrokeBox:
    """Return the box of the one component of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return StrokeBox(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1, (1,))
