"""Preprocess an upload with one digit: find the ink, clean it, bring it into MNIST's form.

MNIST's own preparation (`app.imaging.mnist_form`) expects clean ink. The stages before it handle
what people upload: both polarities, shadows, ruled lines, specks, colours, pens of every width.
"""

from collections.abc import Set as AbstractSet

import numpy as np

from app.cancellation import check_cancelled
from app.errors import InvalidInputError
from app.imaging.components import find_components, select_writing, stroke_mask
from app.imaging.decode import Upload
from app.imaging.filters import Grey, grow
from app.imaging.ink import Ink, extract_ink, remove_ruled_lines, to_grey
from app.imaging.mnist_form import to_mnist_form
from app.imaging.passthrough import SIDE, is_mnist_shaped
from app.imaging.polarity import DetectedPolarity, Polarity, measure_polarity
from app.imaging.stages import OPTIONAL_STAGES, NetworkInput, Placement, StageRecorder

IDENTITY = Placement(1.0, 1.0, 0.0, 0.0)  # the placement of an image that was not moved
# Width of all writing, in heights of its tallest component, above which it may be several digits.
MAX_SINGLE_WIDTH = 1.8


def prepare(
    upload: Upload,
    *,
    polarity: Polarity = "auto",
    skip: AbstractSet[str] = frozenset(),
    record: bool = False,
) -> NetworkInput:
    """Preprocess the one digit on an upload; a MNIST-shaped upload passes through unchanged.

    Args:
        upload: The decoded image.
        polarity: Whether the ink is dark or light; `auto` detects it.
        skip: Names of stages to skip (`stages.OPTIONAL_STAGES`), to see what they do.
        record: Add a report and a picture of every stage to the result.

    Returns:
        The 28x28 image and how it was made.

    Raises:
        BlankImageError: There is no ink on the image.
    """
    unchanged = pass_through(upload, polarity=polarity, record=record)
    return unchanged or prepare_fully(upload, polarity=polarity, skip=skip, record=record)


def pass_through(
    upload: Upload, *, polarity: Polarity = "auto", record: bool = False
) -> NetworkInput | None:
    """Return a MNIST-shaped upload unchanged, or None for any other.

    Args:
        upload: The decoded image.
        polarity: With `dark-on-light`, no upload is MNIST-shaped.
        record: Add a report of this one stage.
    """
    if polarity == "dark-on-light" or not is_mnist_shaped(upload):
        return None
    recorder = StageRecorder(record)
    recorder.add(
        "input",
        "The image is MNIST-shaped and goes to the network unchanged.",
        upload.pixels,
        {},
    )
    return NetworkInput(upload.pixels, "light-on-dark", True, IDENTITY, tuple(recorder.stages))


def prepare_fully(
    upload: Upload,
    *,
    polarity: Polarity = "auto",
    skip: AbstractSet[str] = frozenset(),
    record: bool = False,
) -> NetworkInput:
    """Run every stage that is not skipped, on MNIST-shaped uploads too.

    Arguments, result and errors are those of `prepare`.
    """
    recorder = StageRecorder(record)
    grey, parameters = to_grey(upload)
    recorder.add(
        "grey",
        "Converts colours to grey and fills transparent pixels with a background.",
        grey,
        parameters,
    )
    check_cancelled()
    evidence = measure_polarity(grey)
    chosen = evidence.polarity if polarity == "auto" else polarity
    recorder.add(
        "polarity",
        "Detects whether the ink is dark or light; from here on ink is bright.",
        grey if chosen == "light-on-dark" else 255 - grey,
        {"polarity": chosen, **evidence.rounded()},
    )
    check_cancelled()
    ink, parameters = extract_ink(grey, chosen, flatten="background" not in skip)
    white = max(1.0, 1.2 * ink.peak)
    recorder.add("background", OPTIONAL_STAGES["background"], ink.amount, parameters, white)
    check_cancelled()
    writing, parameters, warnings = clean(ink, enabled="clean" not in skip)
    recorder.add("clean", OPTIONAL_STAGES["clean"], writing, parameters, white)
    pixels, placement = to_mnist_form(
        writing,
        max(2.0, ink.box_threshold),
        upload.factor,
        skip=skip,
        recorder=recorder,
    )
    return NetworkInput(
        pixels,
        chosen,
        False,
        placement,
        tuple(recorder.stages),
        tuple(warnings),
        doubtful=polarity == "auto" and evidence.doubtful,
    )


def as_is(upload: Upload, *, polarity: Polarity = "auto") -> NetworkInput:
    """Return a 28x28 upload without preprocessing; only `dark-on-light` inverts it.

    Raises:
        InvalidInputError: The image is not 28x28.
    """
    if (upload.width, upload.height) != (SIDE, SIDE):
        raise InvalidInputError(
            f"With preprocess=none the image must be {SIDE} x {SIDE} pixels; it is {upload.width}"
            f" x {upload.height}. Leave preprocess out to have it preprocessed."
        )
    grey, _ = to_grey(upload)
    if polarity == "dark-on-light":
        grey = 255 - grey
    pixels = np.clip(grey + 0.5, 0, 255).astype(np.uint8)
    assumed: DetectedPolarity = "light-on-dark" if polarity == "auto" else polarity
    return NetworkInput(pixels, assumed, False, IDENTITY)


def clean(ink: Ink, *, enabled: bool) -> tuple[Grey, dict[str, object], list[str]]:
    """Keep the ink of the writing; remove ruled lines, frames and specks.

    Args:
        ink: The ink of the whole image.
        enabled: If False, all ink that is at least faint is kept.

    Returns:
        float32 `[H, W]`, the ink of the writing, 0 elsewhere; what was removed, for the stage
        report; warnings.
    """
    if not enabled:
        return np.where(grow(ink.amount > ink.faint), ink.amount, 0), {"skipped": True}, []
    ink, lines = remove_ruled_lines(ink)
    check_cancelled()
    components = find_components(ink, stroke_mask(ink))
    writing, dropped = select_writing(components)
    warnings = []
    if writing.sum() > 1:
        width = components.right[writing].max() - components.left[writing].min()
        if width > MAX_SINGLE_WIDTH * components.height[writing].max():
            warnings.append(
                "The image seems to show several digits side by side; POST /read reads each of"
                " them."
            )
    # One pixel more on each side keeps the grey edges of the strokes.
    mask = grow(components.mask_of(writing))
    return np.where(mask, ink.amount, 0), {"lines": lines, **dropped}, warnings
