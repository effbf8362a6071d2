"""Recognises the digit on one image or on each image of a batch: decode, prepare, run, judge.

Knows arrays and models; knows nothing of HTTP. Raises the errors of `app.errors`.
"""

import math
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from app.cancellation import check_cancelled
from app.errors import DigitscopeError
from app.imaging.candidates import candidates
from app.imaging.decode import Upload, decode, from_pixels
from app.imaging.passthrough import SIDE, are_mnist_shaped, is_grey_28x28, is_mnist_shaped
from app.imaging.polarity import DetectedPolarity, Polarity
from app.imaging.prepare import as_is
from app.imaging.stages import RULES, NetworkInput, Stage
from app.imaging.views import View
from app.inference.model import Model
from app.inference.runtime import Pixels
from app.memory_budget import unlimited
from app.predictions import (
    BatchResult,
    InputSummary,
    Prediction,
    PreparedImage,
    Timings,
)
from app.selection import CandidateBatch, select

Preprocess = Literal["auto", "none"]
# An image file, uint8 pixels [28, 28] with high ink, or an image that is already decoded.
ImageInput = bytes | NDArray[np.uint8] | Upload
# A list of images, in which an unreadable one is its error, or the pixels of all, [N, 28, 28].
Images = Sequence[ImageInput | DigitscopeError] | Pixels
INK = 60  # grey value of a stroke
MAX_DIGIT_WIDTH = 2.0  # heights; wider strokes are several digits, or none
_NO_LOCK = nullcontext()
# Bytes that the preparation holds for each pixel of a decoded image, and for any image; measured.
WORKING_BYTES_PER_PIXEL, WORKING_BYTES = 32, 1 << 20


class Decoder(Protocol):
    """Decodes an image file as `app.imaging.decode.decode` does."""

    def __call__(self, data: bytes, *, max_pixels: int) -> Upload:
        """Return the pixels of a file."""
        ...


class SeveralDigitsFinder(Protocol):
    """Reads an image on which there may be several digits, as `page_reading.find_several` does."""

    def __call__(self, upload: Upload, model: Model, options: "Options", *, in_doubt: bool) -> str:
        """Return a sentence with the digits, or "" if there are not several."""
        ...


@dataclass(frozen=True)
class Options:
    """How images are read.

    Attributes:
        preprocess: `auto` prepares an image as MNIST was made; `none` takes a 28x28 as it is.
        polarity: Which side is ink; `auto` detects it.
        max_pixels: Largest width times height that is decoded.
        skip: Names of stages and rules of the preparation that are left out
            (`app.imaging.stages`), to measure what they do.
        decode: Decodes the files, by default in this thread.
        find_several: Names the digits on an image that seems to show several; None: is not asked.
        working_memory: Holds so many bytes for the preparation of an image, by default any number.
        stage: Opens a span of a trace for a stage, by default none.
    """

    preprocess: Preprocess = "auto"
    polarity: Polarity = "auto"
    max_pixels: int = 52_000_000
    skip: AbstractSet[str] = frozenset()
    decode: Decoder = field(default=decode, repr=False)
    find_several: SeveralDigitsFinder | None = field(default=None, repr=False)
    working_memory: Callable[[int], AbstractContextManager[None]] = field(
        default=unlimited, repr=False
    )
    stage: Callable[[str], AbstractContextManager[object]] = field(default=nullcontext, repr=False)


def ensure_decoded(image: ImageInput, options: Options) -> Upload:
    """Return the decoded image.

    Raises:
        UndecodableError: The file is not an image, or it is damaged.
        TooLargeError: The image has more than `max_pixels` pixels.
    """
    if isinstance(image, bytes):
        return options.decode(image, max_pixels=options.max_pixels)
    return image if isinstance(image, Upload) else from_pixels(image)


def is_passthrough(upload: Upload, options: Options) -> bool:
    """Tell whether an image goes to the network without any preparation or warning."""
    return _may_pass(options) and is_mnist_shaped(upload)


def _may_pass(options: Options) -> bool:
    return options.polarity != "dark-on-light" and "pass-through" not in options.skip


def read_image(image: ImageInput, options: Options, *, record: bool = False) -> PreparedImage:
    """Decode an image and prepare it for a network.

    Args:
        image: The image.
        options: How it is read.
        record: Keep the result of every stage.

    Raises:
        UndecodableError: The file is not an image, or it is damaged.
        TooLargeError: The image has more than `max_pixels` pixels.
        BlankImageError: The image shows no ink.
        InvalidInputError: `preprocess` is `none` and the image is not 28x28.
    """
    began = time.perf_counter()
    upload = ensure_decoded(image, options)
    prepared: tuple[NetworkInput, ...]
    if options.preprocess == "none":
        unprepared = as_is(upload, polarity=options.polarity)
        if not are_mnist_shaped(unprepared.pixels[None])[0]:
            unprepared = replace(unprepared, warnings=(UNPLACED,))
        prepared = (unprepared,)
    else:
        with options.working_memory(working_bytes(upload)):
            prepared = candidates(
                upload, polarity=options.polarity, skip=options.skip, record=record
            )
    return PreparedImage(upload, prepared, time.perf_counter() - began)


def working_bytes(upload: Upload) -> int:
    """Return about how many bytes the preparation of an image holds at once."""
    return WORKING_BYTES + WORKING_BYTES_PER_PIXEL * math.prod(upload.pixels.shape[:2])


def recognise(image: ImageInput, model: Model, options: Options) -> Prediction:
    """Recognise the digit on one image; raises what `read_image` raises."""
    return predict([warn_of_several(read_image(image, options), model, options)], model)[0]


def warn_of_several(image: PreparedImage, model: Model, options: Options) -> PreparedImage:
    """Add a warning to an image that shows several digits (`name_several`), or seems to."""
    warning = name_several(image, model, options)
    if not warning and options.find_several is not None:
        warning = _name_marks(image, model)
    if not warning:
        return image
    warned = [replace(each, warnings=(warning, *each.warnings)) for each in image.candidates]
    return replace(image, candidates=tuple(warned))


def name_several(image: PreparedImage, model: Model, options: Options) -> str:
    """Return a sentence that names the digits of an image with several; "" for any other image.

    Costs nothing for most images: one is read as a page only if its strokes may be several digits,
    and the network does not take them for one or they are too wide for one. Raises what
    `page_reading.find_several` raises.
    """
    find = options.find_several
    if find is None or not any(candidate.several for candidate in image.candidates):
        return ""
    verdict = predict([image], model)[0].verdict
    is_wide = any(_is_wide(candidate.pixels) for candidate in image.candidates)
    if verdict == "digit" and not is_wide:  # such as a 5 whose bar is detached
        return ""
    return find(image.upload, model, options, in_doubt=verdict == "unsure" and not is_wide)


def _name_marks(image: PreparedImage, model: Model) -> str:
    """Return a sentence that names the marks that are sure digits, "" unless there are several.

    The marks of one image may be of any size and place, so that it only warns: `/read` might not
    take them for digits, and a digit in two parts may have two that look like digits.
    """
    marks = image.candidates[0].marks
    if not marks:
        return ""
    found = select(CandidateBatch(_stack(marks), [1] * len(marks)), model, _NO_LOCK).predictions
    digits = [
        digit
        for digit, verdict in zip(found.digits, found.verdicts, strict=True)
        if verdict == "digit"
    ]
    if len(digits) < 2:
        return ""
    labels = ", ".join(model.bundle.metadata.classes[digit] for digit in digits)
    return (
        f"Separate marks on the image look like digits: {labels}. Crop it to the one that is meant."
    )


def _is_wide(pixels: NDArray[np.uint8]) -> bool:
    """Return whether the ink of a prepared image, `[28, 28]`, is too wide for one digit."""
    inked = pixels > INK
    return bool(inked.any(axis=0).sum() > MAX_DIGIT_WIDTH * inked.any(axis=1).sum())


class Unprepared(NamedTuple):
    """Images that go to a network as they are.

    Attributes:
        pixels: `[N, 28, 28]`.
        summaries: Properties of each upload.
    """

    pixels: Pixels
    summaries: Sequence[InputSummary]


def pass_through(upload: Upload) -> Unprepared:
    """Return the network's input for an image for which `is_passthrough` is true."""
    return Unprepared(upload.pixels[None], (summarise(upload, "light-on-dark", ()),))


def recognise_unprepared(
    images: Sequence[Unprepared], model: Model, *, preparation_s: float
) -> BatchResult:
    """Recognise images that go to a network as they are.

    Args:
        images: The images.
        model: The network.
        preparation_s: Mean time in seconds that an image took until now.
    """
    pixels = np.concatenate([each.pixels for each in images])
    predictions = select(CandidateBatch(pixels, [1] * len(pixels)), model, _NO_LOCK).predictions
    summaries = [summary for each in images for summary in each.summaries]
    timings = Timings(preparation_s, predictions.seconds_per_image)
    return BatchResult(predictions, summaries, {}, timings)


def recognise_many(
    images: Images,
    model: Model,
    options: Options,
    numpy_lock: AbstractContextManager[object] = _NO_LOCK,
) -> BatchResult:
    """Recognise the digits on a batch of images; an unreadable image becomes its error.

    Checks for cancellation (`app.cancellation`) before each image, because each may be a photo.

    Args:
        images: The images.
        model: The network.
        options: How the images are read.
        numpy_lock: Held during the short NumPy work before and after the network's run. NumPy
            releases Python's global lock at every step, so two threads in such work at the same
            time would keep waiting for each other.
    """
    began = time.perf_counter()
    batch = None
    with options.stage("preparation"):
        if isinstance(images, np.ndarray):
            with numpy_lock:
                unprepared = take_unprepared(images, options)
            if unprepared:
                batch = _Batch(
                    CandidateBatch(images, [1] * len(images)), list(unprepared.summaries), {}
                )
        batch = batch or _read_each(images, model, options)
    preparation_s = (time.perf_counter() - began) / max(1, len(batch.candidates.counts))
    with options.stage("inference"):
        selection = select(batch.candidates, model, numpy_lock)
    summaries = [batch.summaries[candidate] for candidate in selection.chosen]
    timings = Timings(preparation_s, selection.predictions.seconds_per_image)
    return BatchResult(selection.predictions, summaries, batch.errors, timings)


def predict(images: Sequence[PreparedImage], model: Model) -> list[Prediction]:
    """Run prepared images through a network in one batch.

    Of an image's candidates, or of the views of one of them, one counts (`app.selection`).
    """
    prepared = [candidate for image in images for candidate in image.candidates]
    batch = CandidateBatch(
        _stack([candidate.pixels for candidate in prepared]),
        [len(image.candidates) for image in images],
        [index for index, candidate in enumerate(prepared) if candidate.fallback],
        {index: candidate for index, candidate in enumerate(prepared) if candidate.views},
    )
    selection = select(batch, model, _NO_LOCK)
    columns = selection.predictions
    return [
        Prediction(
            probabilities=columns.probabilities[row],
            digit=columns.digits[row],
            runner_up=columns.runners_up[row],
            score=columns.scores[row],
            verdict=columns.verdicts[row],
            upload=image.upload,
            prepared=_as_seen(prepared[selection.chosen[row]], selection.views.get(row)),
            timings=Timings(image.seconds, columns.seconds_per_image),
        )
        for row, image in enumerate(images)
    ]


def _as_seen(prepared: NetworkInput, view: View | None) -> NetworkInput:
    """Return a candidate, or its view if that counts, which is then its last stage."""
    if view is None:
        return prepared
    stage = Stage(view.name, RULES[view.name], view.pixels, view.parameters)
    return replace(
        prepared,
        pixels=view.pixels,
        placement=prepared.placement.after(view.placement),
        stages=(*prepared.stages, stage),
        view=view.name,
    )


_cached_summary = lru_cache(maxsize=256)(InputSummary)
_NO_IMAGES = (np.empty((0, SIDE), np.uint8),)
_PIXELS_SUMMARY = _cached_summary(SIDE, SIDE, "pixels", "light-on-dark", ())
UNPLACED = (
    "The digit does not have the size and place that digits have in MNIST (20 pixels, centred), so"
    ' it may be misread; "preprocess": "auto" prepares it.'
)
_UNPLACED_SUMMARY = _cached_summary(SIDE, SIDE, "pixels", "light-on-dark", (UNPLACED,))


class _Batch(NamedTuple):
    """Prepared images of which each may have several candidates.

    Attributes:
        candidates: The candidates.
        summaries: Properties of the upload, for each candidate.
        errors: Errors of the images without candidates, by their index in the batch.
    """

    candidates: CandidateBatch
    summaries: list[InputSummary]
    errors: dict[int, DigitscopeError]


def take_unprepared(images: Pixels, options: Options) -> Unprepared | None:
    """Return images `[N, 28, 28]` as they are, or None if one of them must be prepared."""
    if not _may_pass(options):
        return None
    shaped = are_mnist_shaped(images)
    if options.preprocess == "auto" and not shaped.all():
        return None
    summaries = [_PIXELS_SUMMARY if each else _UNPLACED_SUMMARY for each in shaped.tolist()]
    return Unprepared(images, summaries)


def _read_each(images: Images, model: Model, options: Options) -> _Batch:
    """Decode and prepare images one by one: only one decoded photo is in memory at a time."""
    read = [_read_or_error(image, model, options) for image in images]
    plain = [image.pixels for image in read if isinstance(image, Upload)]
    passes = iter((are_mnist_shaped(_stack(plain)) & _may_pass(options)).tolist())
    inputs = list[NDArray[np.uint8]]()
    summaries, counts, fallbacks = list[InputSummary](), list[int](), list[int]()
    viewable = dict[int, NetworkInput]()
    errors = dict[int, DigitscopeError]()
    for index, image in enumerate(read):
        if isinstance(image, Upload):
            if next(passes):
                inputs.append(image.pixels)
                counts.append(1)
                summaries.append(summarise(image, "light-on-dark", ()))
                continue
            image = _prepare_or_error(image, model, options)
        if isinstance(image, DigitscopeError):
            errors[index] = image
            continue
        fallbacks += [len(inputs) + index for index in image.fallbacks]
        viewable |= {len(inputs) + index: each for index, each in image.viewable.items()}
        inputs += image.pixels
        counts.append(len(image.pixels))
        summaries += image.summaries
    return _Batch(CandidateBatch(_stack(inputs), counts, fallbacks, viewable), summaries, errors)


class _Prepared(NamedTuple):
    """The candidates of one image, a summary for each, the fallbacks, and those with views."""

    pixels: list[NDArray[np.uint8]]
    summaries: list[InputSummary]
    fallbacks: list[int]
    viewable: dict[int, NetworkInput]


def _read_or_error(
    image: ImageInput | DigitscopeError, model: Model, options: Options
) -> "Upload | _Prepared | DigitscopeError":
    """Return what the network may receive for an image, or a grey 28x28 as it is.

    Many grey 28x28 are checked at once whether they are MNIST-shaped.
    """
    if isinstance(image, DigitscopeError):
        return image
    check_cancelled()
    try:
        upload = ensure_decoded(image, options)
    except DigitscopeError as error:
        return error
    return upload if is_grey_28x28(upload) else _prepare_or_error(upload, model, options)


def _prepare_or_error(
    upload: Upload, model: Model, options: Options
) -> "_Prepared | DigitscopeError":
    try:
        read = warn_of_several(read_image(upload, options), model, options)
    except DigitscopeError as error:
        return error
    return _Prepared(
        [candidate.pixels for candidate in read.candidates],
        [summarise(upload, each.polarity, each.warnings) for each in read.candidates],
        [index for index, each in enumerate(read.candidates) if each.fallback],
        {index: each for index, each in enumerate(read.candidates) if each.views},
    )


def _stack(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Stack 28x28 images, also none at all; takes half of the time of `np.stack`."""
    return np.concatenate(images or _NO_IMAGES).reshape(-1, SIDE, SIDE)


def summarise(
    upload: Upload, polarity: DetectedPolarity, warnings: tuple[str, ...]
) -> InputSummary:
    """Return the properties of an upload, with its warnings and those of its preparation."""
    warnings = upload.warnings + warnings
    return _cached_summary(upload.width, upload.height, upload.format, polarity, warnings)
