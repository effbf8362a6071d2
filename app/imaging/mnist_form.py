"""Bring the ink of one digit into MNIST's form.

MNIST's digits were scaled to fit a box of 20x20 with their aspect ratio kept and anti-aliased, then
placed in 28x28 with their centre of mass in the middle (LeCun et al., 1998).
"""

from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray

from app.imaging.filters import Grey
from app.imaging.passthrough import SIDE
from app.imaging.resize import resize_longer_side, stretch_to_full_range
from app.imaging.stages import OPTIONAL_STAGES, Placement, StageRecorder
from app.imaging.stroke_width import normalise_stroke_width

BOX = 20  # longer side of a digit, in pixels
# Index of the mean centre of mass of MNIST's 60,000 training digits, on both axes; measured.
CENTRE_OF_MASS = 14.0
_INDICES = np.arange(SIDE, dtype=np.float64)


def to_mnist_form(
    ink: Grey,
    min_ink: float,
    factor: int,
    *,
    skip: AbstractSet[str] = frozenset(),
    recorder: StageRecorder | None = None,
) -> tuple[NDArray[np.uint8], Placement]:
    """Scale and centre the ink of one digit as MNIST does.

    Args:
        ink: float32 `[H, W]`, ink in grey levels above the background, 0 elsewhere.
        min_ink: Ink above which a pixel counts for the bounding box, grey levels.
        factor: Pixels of the upload per pixel of `ink`, along each axis.
        skip: Names of stages to skip.
        recorder: Collects the stage reports.

    Returns:
        uint8 `[28, 28]`, ink is bright, and its placement on the upload.
    """
    recorder = recorder or StageRecorder(False)
    top, left, height, width = bounding_box(ink, min_ink)
    crop = ink[top : top + height, left : left + width]
    scaled = stretch_to_full_range(resize_longer_side(crop, BOX))
    rows, columns = scaled.shape
    recorder.add(
        "scale",
        "Scales the bounding box of the ink to 20 pixels on its longer side.",
        scaled,
        {"box": [left, top, width, height]},
    )
    if "stroke" not in skip:
        scaled, widths = normalise_stroke_width(scaled, crop)
        recorder.add("stroke", OPTIONAL_STAGES["stroke"], scaled, widths)
    row, column = _position(scaled, centre="centre" not in skip)
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[row : row + rows, column : column + columns] = np.clip(scaled + 0.5, 0, 255)
    recorder.add("centre", OPTIONAL_STAGES["centre"], pixels, {"row": row, "column": column})
    scale_y, scale_x = height / rows * factor, width / columns * factor
    return pixels, Placement(
        scale_y,
        scale_x,
        top * factor + scale_y * (0.5 - row) - 0.5,
        left * factor + scale_x * (0.5 - column) - 0.5,
    )


def bounding_box(ink: Grey | NDArray[np.uint8], min_ink: float) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the pixels above `min_ink`, in pixels.

    If no pixel is above it, all ink counts.
    """
    inked = ink > min_ink
    if not inked.any():
        inked = ink > 0
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1


def _position(scaled: Grey, *, centre: bool) -> tuple[int, int]:
    """Return the row and the column of the box in the 28x28 image.

    Positions are whole pixels, as in MNIST: a fraction would blur every stroke once more.

    Args:
        scaled: float32 `[h, w]`, the digit in its box.
        centre: Put the centre of mass in the middle. If False, the middle of the box.
    """
    starts = []
    for axis, size in enumerate(scaled.shape):
        middle = (size - 1) / 2
        if centre:
            mass: NDArray[np.float64] = scaled.sum(axis=1 - axis, dtype=np.float64)
            middle = float(mass @ _INDICES[:size] / max(1e-9, mass.sum()))
        start = round((CENTRE_OF_MASS if centre else (SIDE - 1) / 2) - middle)
        starts.append(min(max(0, start), SIDE - size))
    return starts[0], starts[1]
