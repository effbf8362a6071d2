"""Preprocess an upload with one digit: find the ink, clean it, bring it into MNIST's form.

MNIST's own preparation (`app.imaging.mnist_form`) expects clean ink. The stages before it handle
what people upload: both polarities, shadows, ruled lines, specks, colours, pens of every width.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from app.cancellation import check_cancelled
from app.errors import BlankImageError, InvalidInputError
from app.imaging.decode import Upload
from app.imaging.filters import Grey
from app.imaging.frames import is_framed, remove_frames
from app.imaging.ink import Ink, extract_ink, is_hollow, remove_ruled_lines, to_grey
from app.imaging.mnist_form import to_mnist_form
from app.imaging.passthrough import SIDE, is_mnist_shaped
from app.imaging.polarity import BIMODAL, DetectedPolarity, Doubt, Polarity, measure_polarity
from app.imaging.sheet import without_desk
from app.imaging.stages import OPTIONAL_STAGES, REMOVALS, NetworkInput, Placement, StageRecorder
from app.imaging.views import view_names
from app.imaging.working_size import first_size, next_size
from app.imaging.writing import clean

IDENTITY = Placement(1.0, 1.0, 0.0, 0.0)  # the placement of an image that was not moved
MAX_STROKES = 2  # lines; on a photo, more are ruling
PRINT_REMOVED = "Lines or frames on the image were taken for print and were removed."


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
        skip: Names of stages and rules to skip (`OPTIONAL_STAGES`, `REMOVALS` and `RULES` of
            `app.imaging.stages`), to see what they do.
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
    return next(prepare_variants(upload, polarity=polarity, skip=skip, record=record))


def prepare_variants(
    upload: Upload,
    *,
    polarity: Polarity = "auto",
    skip: AbstractSet[str] = frozenset(),
    record: bool = False,
) -> Iterator[NetworkInput]:
    """Run every stage that is not skipped, and offer what else the image may show.

    Each variant is made when it is asked for.

    In a tight crop, a straight stroke looks like a ruled line, and a thick one like the background.
    The first variant is the result of all stages. If they removed lines from an image of two grey
    levels, or no more than two lines from another, a variant keeps these. If they subtracted an
    uneven background from an image of two levels, a variant takes the background as even. If a
    frame is left around the digit, a variant is without it.

    A large image is prepared at a reduced size if its digit is large enough there
    (`app.imaging.working_size`).

    Arguments and errors are those of `prepare`.
    """
    reduced: Upload | None = first_size(upload)
    while reduced is not None:
        variants = _variants(reduced, polarity=polarity, skip=skip, record=record)
        try:
            first = next(variants)
        except BlankImageError:
            if reduced is upload:
                raise
            reduced = upload
            continue
        reduced = next_size(upload, reduced, first.placement)
    yield first
    yield from variants


def _variants(
    upload: Upload, *, polarity: Polarity, skip: AbstractSet[str], record: bool
) -> Iterator[NetworkInput]:
    """Offer the variants of an upload at its own size."""
    recorder = StageRecorder(record)
    grey, parameters = to_grey(upload)
    recorder.add(
        "grey",
        "Converts colours to grey and fills transparent pixels with a background.",
        grey,
        parameters,
    )
    check_cancelled()
    grey = _leave_out_desk(grey, skip, recorder)
    evidence = measure_polarity(grey, corners="corners" not in skip)
    chosen = evidence.polarity if polarity == "auto" else polarity
    recorder.add(
        "polarity",
        "Detects whether the ink is dark or light; from here on ink is bright.",
        grey if chosen == "light-on-dark" else 255 - grey,
        {"polarity": chosen, **evidence.rounded()},
    )
    two_levels = evidence.explained >= BIMODAL
    doubt = evidence.doubt if polarity == "auto" else "none"
    page = _Page(upload, chosen, doubt, two_levels, skip)
    ink, measured, even = _extract(grey, page)
    recorder.add("background", OPTIONAL_STAGES["background"], ink.amount, measured, _white(ink))
    yield from _place(page, ink, recorder)
    if even and "even background" not in skip:
        yield from _place(page, even, StageRecorder(False))


def _leave_out_desk(grey: Grey, skip: AbstractSet[str], recorder: StageRecorder) -> Grey:
    sheet = grey if "desk" in skip else without_desk(grey)
    if sheet is not grey:
        share = round(float((sheet != grey).mean()), 3)
        recorder.add("desk", REMOVALS["desk"], sheet, {"share_of_image": share})
    return sheet


@dataclass(frozen=True)
class _Page:
    """What the later stages need of an upload besides its ink."""

    upload: Upload
    polarity: DetectedPolarity
    doubt: Doubt
    two_levels: bool
    skip: AbstractSet[str]


def _extract(grey: Grey, page: _Page) -> tuple[Ink, Mapping[str, object], Ink | None]:
    """Return the ink, its measurements, and the ink above an even background if that may be it."""
    check_cancelled()
    ink, parameters = extract_ink(
        grey,
        page.polarity,
        flatten="background" not in page.skip,
        reject_shading="shading" not in page.skip,
    )
    check_cancelled()
    if parameters["ground"] == "even" or not page.two_levels:
        return ink, parameters, None
    try:
        even, even_parameters = extract_ink(grey, page.polarity, flatten=False)
    except BlankImageError:
        return ink, parameters, None
    if "hollow" not in page.skip and is_hollow(ink, even):
        return even, {**even_parameters, "hollow": True}, None
    return ink, parameters, even


def _white(ink: Ink) -> float:
    """Return the amount of ink that is drawn white in the pictures of the stages."""
    return max(1.0, 1.2 * ink.peak)


def _place(page: _Page, ink: Ink, recorder: StageRecorder) -> Iterator[NetworkInput]:
    """Clean the ink and bring it into MNIST's form.

    Lines and frames that may be strokes are kept in another result, and the one without them is the
    fallback: print that is kept is far from any digit and is refused.
    """
    if "clean" in page.skip:
        yield _finish(page, ink, {"lines": 0}, recorder)
        return
    before = recorder.copy()
    without, lines = remove_ruled_lines(ink) if "lines" not in page.skip else (ink, 0)
    cleaned = _finish(page, without, {"lines": lines}, recorder)
    looks_framed = is_framed(cleaned.pixels)
    may_be_strokes = page.two_levels or lines <= MAX_STROKES
    if lines > 0 and may_be_strokes and "kept lines" not in page.skip:
        yield _without_print(cleaned)
        kept = _finish(page, ink, {}, StageRecorder(False))
        looks_framed |= is_framed(kept.pixels)
        yield kept
    else:
        yield cleaned
    if looks_framed and "frames" not in page.skip:
        unframed, frames = remove_frames(ink)
        counts = {"frames": len(frames)}
        before.add("frames", REMOVALS["frames"], unframed.amount, counts, _white(ink))
        with suppress(BlankImageError):  # an empty frame
            yield _without_print(_finish(page, unframed, {}, before))


def _without_print(prepared: NetworkInput) -> NetworkInput:
    return replace(prepared, warnings=(PRINT_REMOVED, *prepared.warnings), fallback=True)


def _finish(
    page: _Page,
    ink: Ink,
    parameters: Mapping[str, object],
    recorder: StageRecorder,
) -> NetworkInput:
    """Select the writing, and scale and centre it."""
    check_cancelled()
    cleaned = clean(ink, enabled="clean" not in page.skip)
    writing, counts = cleaned.ink, {**parameters, **cleaned.dropped}
    recorder.add("clean", OPTIONAL_STAGES["clean"], writing, counts, _white(ink))
    min_ink = max(2.0, ink.box_threshold)
    pixels, placement = to_mnist_form(
        writing,
        min_ink,
        page.upload.factor,
        skip=page.skip,
        recorder=recorder,
    )
    return NetworkInput(
        pixels,
        page.polarity,
        False,
        placement,
        tuple(recorder.stages),
        doubt=page.doubt,
        several=cleaned.several,
        marks=tuple(
            to_mnist_form(mark, min_ink, page.upload.factor, skip=page.skip)[0]
            for mark in cleaned.marks
        ),
        views=view_names(writing, min_ink, page.skip),
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
