"""One digit, from an upload to 28x28, the way MNIST was made.

MNIST's digits were scaled to a box of 20x20 with their aspect kept and anti-aliased, then placed
so that their centre of mass lies in the middle of 28x28 (LeCun et al., 1998). What comes before is
for what people upload: any polarity, shadows, lines, specks, colours, pens of every width.
"""

from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from app.errors import BlankImageError, InvalidInputError
from app.imaging.components import choose_writing, find_components, soft, writing_mask
from app.imaging.decode import Upload
from app.imaging.filters import Grey
from app.imaging.ink import Ink, extract, to_grey, without_rules
from app.imaging.polarity import DetectedPolarity, Polarity, measure_polarity
from app.imaging.stages import OPTIONAL_STAGES, NetworkInput, Placement, StageRecorder

SIDE, BOX = 28, 20
CENTRE = 14.0  # index of the mean centroid of MNIST's 60,000 training digits on both axes, measured
BLACK, LIGHT = 16, 128  # grey levels up to which a pixel counts as black, and from which as ink
# Black pixels of a MNIST-shaped image: of the border, on which ink of one MNIST digit in 75 lies,
# at least so many, and of all more than so many.
BORDER, MOSTLY = 0.85 * (4 * SIDE - 4), SIDE * SIDE // 2
_DARK, _LIGHT = b"d", b"l"
_KINDS = bytes(_DARK[0] if v <= BLACK else _LIGHT[0] if v >= LIGHT else 0 for v in range(256))
_BORDER = np.flatnonzero(np.pad(np.zeros((SIDE - 2, SIDE - 2), bool), 1, constant_values=True))
# Stroke width, 2 x ink / length of its outline, of MNIST's training digits, pixels: the 1st and
# 99th percentile are 1.43 and 4.28; what lies outside is brought to the 5th and 95th.
THIN, MIN_STROKE, MAX_STROKE, THICK = 1.43, 1.63, 3.58, 4.28
FOGGY = 48  # grey levels that a 28x28 must vary by to be looked at although no ink was found
UNMOVED = Placement(1.0, 1.0, 0.0, 0.0)
FINE = 4  # strokes are thickened and thinned on a grid this much finer than the 28x28


def prepare(
    upload: Upload,
    *,
    polarity: Polarity = "auto",
    skip: AbstractSet[str] = frozenset(),
    record: bool = False,
) -> NetworkInput:
    """Prepare the one digit on an upload.

    An image that is MNIST-shaped already (28x28, grey, light ink on black) comes through bit for
    bit.

    Args:
        upload: What came.
        polarity: Which side is ink, or `auto` to find out.
        skip: Names of stages to leave out (`stages.OPTIONAL_STAGES`), to see what they do.
        record: Keep a picture of every stage.

    Returns:
        The 28x28 and how it came to be.

    Raises:
        BlankImageError: Nothing is written on it.
    """
    unchanged = as_it_came(upload, polarity=polarity, record=record)
    return unchanged or prepare_fully(upload, polarity=polarity, skip=skip, record=record)


def as_it_came(
    upload: Upload, *, polarity: Polarity = "auto", record: bool = False
) -> NetworkInput | None:
    """Return an image that is MNIST-shaped already, bit for bit, and None for all others."""
    if polarity == "dark-on-light" or not is_mnist_shaped(upload):
        return None
    notes = StageRecorder(record)
    notes.add(
        "input", "The image is MNIST-shaped and goes to the network unchanged.", upload.pixels, {}
    )
    return NetworkInput(upload.pixels, "light-on-dark", True, UNMOVED, tuple(notes.stages))


def candidates(
    upload: Upload, *, polarity: Polarity = "auto", record: bool = False
) -> tuple[NetworkInput, ...]:
    """Return the ways in which an image may be meant, the prepared one first.

    A 28x28 image that is not quite MNIST-shaped (a grey ground, stripes, fog) may still be a digit
    that stands where MNIST's stand, or one that does not; a digit cropped to its ink may be of
    either polarity: the network that reads it can tell better than a rule on pixels. All others
    have one way.

    Raises:
        BlankImageError: Nothing is written on it.
    """
    small = is_grey_28x28(upload)
    prepared: tuple[NetworkInput, ...] = ()
    try:
        prepared = (prepare(upload, polarity=polarity, record=record),)
    except BlankImageError:
        # Fog may hide a digit from the preparation and not from the network.
        if not small or np.ptp(upload.pixels) < FOGGY:
            raise
    if prepared and prepared[0].passthrough:
        return prepared
    if not small:
        return (*prepared, *_otherwise(upload, prepared[0]))
    found: tuple[DetectedPolarity, ...] = (
        ("light-on-dark", "dark-on-light") if polarity == "auto" else (polarity,)
    )
    return (*prepared, *(as_is(upload, polarity=one) for one in found))


def _otherwise(upload: Upload, prepared: NetworkInput) -> tuple[NetworkInput, ...]:
    """Return the preparation in the other polarity where the first is doubtful."""
    if not prepared.doubtful:
        return ()
    dark = prepared.polarity == "light-on-dark"
    try:
        return (prepare_fully(upload, polarity="dark-on-light" if dark else "light-on-dark"),)
    except BlankImageError:
        return ()


def prepare_fully(
    upload: Upload,
    *,
    polarity: Polarity = "auto",
    skip: AbstractSet[str] = frozenset(),
    record: bool = False,
) -> NetworkInput:
    """Do what `prepare` does, to MNIST-shaped images too."""
    notes = StageRecorder(record)
    grey, done = to_grey(upload)
    notes.add("grey", "Colours become grey, transparent parts the opposite of the ink.", grey, done)
    seen = measure_polarity(grey)
    found = seen.polarity if polarity == "auto" else polarity
    raised = grey if found == "light-on-dark" else 255 - grey
    notes.add(
        "polarity", "From here on ink is light.", raised, {"polarity": found, **seen.rounded()}
    )
    ink, taken = extract(grey, found, flatten="background" not in skip)
    notes.add(
        "background",
        OPTIONAL_STAGES["background"],
        ink.amount,
        taken,
        full=max(1.0, 1.2 * ink.peak),
    )
    kept, dropped, warnings = clean(ink, enabled="clean" not in skip)
    notes.add("clean", OPTIONAL_STAGES["clean"], kept, dropped, full=max(1.0, 1.2 * ink.peak))
    floor = max(2.0, min(ink.faint, 3.5 * ink.noise + 2.0))
    pixels, place = to_mnist(kept, floor, upload.factor, skip=skip, notes=notes)
    doubtful = polarity == "auto" and seen.doubtful
    return NetworkInput(pixels, found, False, place, tuple(notes.stages), tuple(warnings), doubtful)


def to_mnist(
    kept: Grey,
    floor: float,
    factor: int,
    *,
    skip: AbstractSet[str] = frozenset(),
    notes: StageRecorder | None = None,
) -> tuple[NDArray[np.uint8], Placement]:
    """Bring the ink of one digit to 28x28 as MNIST was made.

    Args:
        kept: float32 `[H, W]`, ink above the ground, 0 elsewhere.
        floor: Amount of ink that counts for the bounding box.
        factor: Pixels of the upload per pixel of `kept`, along each axis.
        skip: Stages to leave out.
        notes: Where to record the stages.

    Returns:
        uint8 `[28, 28]`, ink high, and where it lies on the upload.
    """
    notes = notes or StageRecorder(False)
    top, left, height, width = bounding_box(kept, floor)
    crop = kept[top : top + height, left : left + width]
    boxed, (rows, columns) = fit_box(crop)
    box = [left, top, width, height]
    notes.add("scale", "The ink's box is scaled to 20 on its longer side.", boxed, {"box": box})
    if "stroke" not in skip:
        boxed, widths = near_stroke_width(boxed, crop)
        notes.add("stroke", OPTIONAL_STAGES["stroke"], boxed, widths)
    row, column = _place(boxed, centre="centre" not in skip)
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[row : row + rows, column : column + columns] = np.clip(boxed + 0.5, 0, 255)
    notes.add("centre", OPTIONAL_STAGES["centre"], pixels, {"row": row, "column": column})
    scale_y, scale_x = height / rows * factor, width / columns * factor
    return pixels, Placement(
        scale_y,
        scale_x,
        top * factor + scale_y * (0.5 - row) - 0.5,
        left * factor + scale_x * (0.5 - column) - 0.5,
    )


def as_is(upload: Upload, *, polarity: Polarity = "auto") -> NetworkInput:
    """Take a 28x28 image as it is; only dark ink on light, if told so, is inverted.

    Raises:
        InvalidInputError: The image is not 28x28.
    """
    if (upload.width, upload.height) != (SIDE, SIDE):
        raise InvalidInputError(
            f"With preprocess=none the image must be {SIDE} x {SIDE} pixels; it is {upload.width}"
            f" x {upload.height}. Leave preprocess out and it will be prepared."
        )
    grey, _ = to_grey(upload)
    if polarity == "dark-on-light":
        grey = 255 - grey
    pixels = np.clip(grey + 0.5, 0, 255).astype(np.uint8)
    found: DetectedPolarity = "light-on-dark" if polarity == "auto" else polarity
    return NetworkInput(pixels, found, False, UNMOVED)


def is_grey_28x28(upload: Upload) -> bool:
    """Tell whether an image is 28x28 and grey, with nothing transparent."""
    return upload.pixels.shape == (SIDE, SIDE) and upload.alpha is None


def is_mnist_shaped(upload: Upload) -> bool:
    """Tell whether an image is plain, with light ink on a black border."""
    if not is_grey_28x28(upload):
        return False
    # Bytes, because a handful of calls of NumPy takes longer than to decode the image.
    kinds = upload.pixels.tobytes().translate(_KINDS)
    sides = (
        kinds[:SIDE],
        kinds[-SIDE:],
        kinds[SIDE:-SIDE:SIDE],
        kinds[2 * SIDE - 1 : -SIDE : SIDE],
    )
    border = sum(side.count(_DARK) for side in sides)
    return border >= BORDER and kinds.count(_DARK) > MOSTLY and _LIGHT in kinds


def are_mnist_shaped(images: NDArray[np.uint8] | Grey) -> NDArray[np.bool_]:
    """Tell of each of many plain images, `[N, 28, 28]`, what `is_mnist_shaped` tells."""
    flat = images.reshape(len(images), SIDE * SIDE)
    dark = (flat <= BLACK).view(np.uint8)
    border = dark[:, _BORDER].sum(axis=1, dtype=np.uint16)
    black = dark.sum(axis=1, dtype=np.uint16)
    shaped: NDArray[np.bool_] = (border >= BORDER) & (black > MOSTLY) & (flat.max(axis=1) >= LIGHT)
    return shaped


def clean(ink: Ink, *, enabled: bool) -> tuple[Grey, dict[str, object], list[str]]:
    """Keep the writing and drop the rest.

    Args:
        ink: The ink of the whole image.
        enabled: False keeps all that is faint or stronger.

    Returns:
        float32 `[H, W]`, the ink that stays; what was dropped; warnings.
    """
    if not enabled:
        return np.where(soft(ink.amount > ink.faint), ink.amount, 0), {"skipped": True}, []
    ink, lines = without_rules(ink)
    mask = writing_mask(ink)
    marks = find_components(ink, mask)
    writing, dropped = choose_writing(marks)
    kept = marks.keep(writing)
    warnings = []
    boxes = np.flatnonzero(writing)
    if len(boxes) > 1:
        heights = marks.bottom[boxes] - marks.top[boxes]
        wide = marks.right[boxes].max() - marks.left[boxes].min()
        if wide > 1.8 * heights.max():
            warnings.append(
                "There seem to be several marks side by side; POST /read reads each of them."
            )
    return np.where(soft(kept), ink.amount, 0), {"lines": lines, **dropped}, warnings


def bounding_box(kept: Grey, floor: float) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the pixels above `floor`, or of all ink if none is."""
    inked = kept > floor
    if not inked.any():
        inked = kept > 0
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1


def fit_box(ink: Grey) -> tuple[Grey, tuple[int, int]]:
    """Scale ink to 20 on its longer side, anti-aliased, and its range to MNIST's.

    Args:
        ink: float32 `[h, w]`, any range from 0.

    Returns:
        float32 `[h', w']`, 0..255, the larger of h' and w' 20; and (h', w').
    """
    scaled = _resize(ink, BOX)
    return _full_range(scaled), (scaled.shape[0], scaled.shape[1])


def _resize(ink: Grey, longer: int) -> Grey:
    """Scale the longer side to `longer`: area averages when shrinking, smooth when enlarging."""
    height, width = ink.shape
    factor = longer / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    if size == (width, height):
        return ink
    how = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    return np.maximum(np.asarray(Image.fromarray(ink).resize(size, how), np.float32), 0)


def _full_range(ink: Grey) -> Grey:
    """Scale so that full strokes have MNIST's 253 to 255."""
    written = ink[ink > 0.25 * ink.max()]
    full = float(np.percentile(written, 90)) if written.size else 0.0
    return np.clip(ink * (254.0 / full), 0, 255) if full > 0 else ink


def stroke_width(ink: Grey) -> float:
    """Return the mean stroke width, pixels: twice the ink over the length of its outline.

    Args:
        ink: float32 `[h, w]`, 0..255.
    """
    padded = np.pad(ink, 1)
    slope = np.hypot(np.diff(padded, axis=0)[:, :-1], np.diff(padded, axis=1)[:-1])
    outline = float(slope.sum())
    return 2 * float(ink.sum()) / outline if outline > 0 else 0.0


def near_stroke_width(boxed: Grey, original: Grey) -> tuple[Grey, dict[str, object]]:
    """Thicken hairlines and thin out blots; what lies in MNIST's range is not touched.

    Args:
        boxed: float32 `[h, w]`, 0..255, scaled to the box.
        original: The same ink before scaling.

    Returns:
        The ink with another stroke width, same shape, and the widths before and after, pixels.
    """
    before = stroke_width(boxed)
    if THIN <= before <= THICK:
        return boxed, {"before": round(before, 2), "after": round(before, 2)}
    fine = _full_range(_resize(original, BOX * FINE))
    picture = Image.fromarray(np.pad(fine, FINE).astype(np.uint8))
    thicker, wanted = before < THIN, MIN_STROKE if before < THIN else MAX_STROKE
    best = boxed
    for _ in range(2 * FINE):
        picture = picture.filter(ImageFilter.MaxFilter(3) if thicker else ImageFilter.MinFilter(3))
        box = (FINE, FINE, picture.width - FINE, picture.height - FINE)
        size = (boxed.shape[1], boxed.shape[0])
        tried = np.asarray(picture.resize(size, Image.Resampling.BOX, box=box), np.float32)
        if tried.max() < 128:  # thinned away
            break
        best = _full_range(tried)
        width = stroke_width(best)
        if (width >= wanted) if thicker else (width <= wanted):
            break
    return best, {"before": round(before, 2), "after": round(stroke_width(best), 2)}


def _place(boxed: Grey, *, centre: bool) -> tuple[int, int]:
    """Return row and column of the box in the 28x28, its centre of mass in the middle.

    Whole pixels, as in MNIST: a fraction of a pixel would blur every stroke once more.
    """
    starts = []
    for axis, size in enumerate(boxed.shape):
        middle = (size - 1) / 2
        if centre:
            along: NDArray[np.float64] = boxed.sum(axis=1 - axis, dtype=np.float64)
            middle = float(along @ np.arange(size) / max(1e-9, along.sum()))
        start = round((CENTRE if centre else (SIDE - 1) / 2) - middle)
        starts.append(int(np.clip(start, 0, SIDE - size)))
    return starts[0], starts[1]
