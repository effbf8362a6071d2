"""One image, or many, to predictions: decode, prepare, run, judge, in one straight line.

Of many, what is said stands in columns: an object for each image would take longer than a small
network (docs/performance.md). Knows arrays and models; knows nothing of HTTP. What it raises are
the errors of `app.errors`.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.cancellation import check_cancelled
from app.errors import DigitscopeError
from app.imaging.decode import Upload, decode, from_pixels
from app.imaging.polarity import DetectedPolarity, Polarity
from app.imaging.prepare import SIDE, as_is, candidates, is_mnist_shaped, is_plain, mnist_shaped
from app.imaging.stages import Prepared
from app.inference.registry import Model
from app.inference.runtime import Outputs, Pixels
from app.verdict import Verdict, energy, judge

Preprocess = Literal["auto", "none"]
# An encoded file, (28, 28) pixels with high ink, or what is decoded already.
ImageInput = bytes | NDArray[np.uint8] | Upload
# Many, or what is wrong with them; or the pixels of all, (N, 28, 28).
Images = Sequence[ImageInput | DigitscopeError] | Pixels
_NOBODY = nullcontext()  # else works at the same time


@dataclass(frozen=True)
class Options:
    """How images are read: see the query parameters of the same names."""

    preprocess: Preprocess = "auto"
    polarity: Polarity = "auto"
    max_pixels: int = 20_000_000


@dataclass(frozen=True)
class PreparedImage:
    """An image as it came, and the ways in which it may be meant.

    Attributes:
        upload: The image.
        candidates: The ways.
        seconds: How long it took to decode and prepare it.
    """

    upload: Upload
    candidates: tuple[Prepared, ...]
    seconds: float = 0.0


@dataclass(frozen=True)
class Seconds:
    """What one image took: decoding and preparation, and its share of the network's run."""

    preparation: float
    inference: float


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image.

    Attributes:
        probabilities: float32 `[10]`, sum 1.
        digit: The most probable digit, 0..9.
        runner_up: The second most probable.
        score: How much the image looks like a digit at all (`app.verdict.energy`).
        verdict: `digit`, `unsure` or `not-a-digit`.
        upload: The image as it came.
        prepared: The image as the network received it.
        seconds: What it took.
    """

    probabilities: NDArray[np.float32]
    digit: int
    runner_up: int
    score: float
    verdict: Verdict
    upload: Upload
    prepared: Prepared
    seconds: Seconds

    @property
    def confidence(self) -> float:
        """Return the largest probability, 0..1."""
        return float(self.probabilities[self.digit])


@dataclass(frozen=True, eq=False)
class InputSummary:
    """What an image was found to be; told apart by identity, which is the quickest way.

    Attributes:
        width: Of the upload in pixels, upright.
        height: Likewise.
        format: As `Upload` has it.
        polarity: Which side was taken as ink.
        warnings: What was odd but not wrong, and what may make the answer wrong.
    """

    width: int
    height: int
    format: str
    polarity: DetectedPolarity
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Predictions:
    """What a network says of `N` images that it ran together: a column for each thing.

    Attributes:
        probabilities: float32 `[N, 10]`, rows sum to 1.
        digits: The most probable, 0..9.
        runners_up: The second most probable.
        confidences: float32 `[N]`, the largest probabilities, 0..1.
        scores: How much the images look like digits at all (`app.verdict.energy`).
        verdicts: `digit`, `unsure` or `not-a-digit`.
        seconds: The network's run, shared out.
    """

    probabilities: NDArray[np.float32]
    digits: list[int]
    runners_up: list[int]
    confidences: NDArray[np.float32]
    scores: list[float]
    verdicts: list[Verdict]
    seconds: float

    def __len__(self) -> int:
        """Return `N`."""
        return len(self.digits)


@dataclass(frozen=True)
class BatchResult:
    """Many images that were read together.

    Attributes:
        predictions: Of those that could be read, in order.
        forms: What these were found to be.
        errors: Of the others, by their places among all.
        seconds: What an image took, on average.
    """

    predictions: Predictions
    summaries: list[InputSummary]
    errors: dict[int, DigitscopeError]
    seconds: Seconds


def decode_only(image: ImageInput, options: Options) -> Upload:
    """Decode an image, if it is not yet.

    Raises:
        UndecodableError: Not an image, or a damaged one.
        TooLargeError: Too many pixels.
    """
    if isinstance(image, bytes):
        return decode(image, max_pixels=options.max_pixels)
    return image if isinstance(image, Upload) else from_pixels(image)


def goes_unchanged(upload: Upload, options: Options) -> bool:
    """Tell whether an image goes to the network bit for bit, as grey pixels of 28x28 may."""
    if options.polarity == "dark-on-light" or not is_plain(upload):
        return False
    return options.preprocess == "none" or is_mnist_shaped(upload)


def read_image(image: ImageInput, options: Options, *, record: bool = False) -> PreparedImage:
    """Decode an image and prepare it for a network, if asked with a record of every stage.

    Raises:
        UndecodableError: Not an image, or a damaged one.
        TooLargeError: Too many pixels.
        BlankImageError: Nothing is written on it.
        InvalidInputError: `preprocess` is `none` and the image is not 28x28.
    """
    began = time.perf_counter()
    upload = decode_only(image, options)
    if options.preprocess == "none":
        ways: tuple[Prepared, ...] = (as_is(upload, polarity=options.polarity),)
    else:
        ways = candidates(upload, polarity=options.polarity, record=record)
    return PreparedImage(upload, ways, time.perf_counter() - began)


def recognise(image: ImageInput, model: Model, options: Options) -> Prediction:
    """Read one image; raises what `read_image` raises."""
    return predict([read_image(image, options)], model)[0]


def recognise_unchanged(uploads: Sequence[Upload], model: Model, *, seconds: float) -> BatchResult:
    """Run images of which `goes_unchanged` is true; each took so many seconds to get there."""
    pixels = _stacked([upload.pixels for upload in uploads])
    predictions, _ = _judge(pixels, [1] * len(pixels), model)
    summaries = [_summary(upload, "light-on-dark", ()) for upload in uploads]
    return BatchResult(predictions, summaries, {}, Seconds(seconds, predictions.seconds))


def recognise_many(
    images: Images,
    model: Model,
    options: Options,
    numpy_lock: AbstractContextManager[object] = _NOBODY,
) -> BatchResult:
    """Read many images at once; an image that cannot be read becomes its error.

    Between two images it checks for cancellation (`app.cancellation`): each may be a photo.

    Args:
        images: The images.
        model: The network.
        options: How they are read.
        numpy_lock: Held for the short work on either side of the network's run. NumPy lets go of
            the interpreter's lock at every step; two threads that are at it at once would wait for
            each other as often.
    """
    began = time.perf_counter()
    with numpy_lock:
        plain = isinstance(images, np.ndarray) and bool(_unchanged(images, options).all())
    if isinstance(images, np.ndarray) and plain:
        ready = _Ready(images, [_PIXELS] * len(images), [1] * len(images), {})
    else:
        ready = _read_each(images, options)
    seconds = (time.perf_counter() - began) / max(1, len(ready.counts))
    predictions, chosen = _judge(ready.pixels, ready.counts, model, numpy_lock)
    summaries = [ready.summaries[way] for way in chosen]
    return BatchResult(predictions, summaries, ready.errors, Seconds(seconds, predictions.seconds))


def predict(reads: Sequence[PreparedImage], model: Model) -> list[Prediction]:
    """Run prepared images through a network in one batch.

    Of the ways in which an image may be meant, the one counts that looks most like a digit.
    """
    ways = [way for read in reads for way in read.candidates]
    counts = [len(read.candidates) for read in reads]
    found, chosen = _judge(_stacked([way.pixels for way in ways]), counts, model)
    return [
        Prediction(
            probabilities=found.probabilities[at],
            digit=found.digits[at],
            runner_up=found.runners_up[at],
            score=found.scores[at],
            verdict=found.verdicts[at],
            upload=read.upload,
            prepared=ways[chosen[at]],
            seconds=Seconds(read.seconds, found.seconds),
        )
        for at, read in enumerate(reads)
    ]


_cached_summary = lru_cache(maxsize=256)(InputSummary)
_NONE, _NOTHING = (np.empty((0, SIDE), np.uint8),), np.empty((0, 10), np.float32)
_PIXELS = _cached_summary(SIDE, SIDE, "pixels", "light-on-dark", ())


class _Ready(NamedTuple):
    """Images that are ready to be run.

    Attributes:
        pixels: In all the ways in which the images may be meant: those of the first, of the
            second, and so on, `[W, 28, 28]`.
        forms: What each way is.
        counts: How many ways each image has.
        errors: Of images that have none, by their places among all.
    """

    pixels: Pixels
    summaries: list[InputSummary]
    counts: list[int]
    errors: dict[int, DigitscopeError]


def _read_each(images: Images, options: Options) -> _Ready:
    decoded = [_decoded(image, options) for image in images]
    plain = [_plain_pixels(image) for image in decoded]
    some = [one for one in plain if one is not None]
    unchanged = iter(_unchanged(_stacked(some), options).tolist())
    ways = list[NDArray[np.uint8]]()
    summaries, counts, errors = list[InputSummary](), list[int](), dict[int, DigitscopeError]()
    for place, (image, pixels) in enumerate(zip(decoded, plain, strict=True)):
        if isinstance(image, DigitscopeError):
            errors[place] = image
        elif pixels is not None and next(unchanged):
            ways.append(pixels)
            counts.append(1)
            upload = image if isinstance(image, Upload) else from_pixels(pixels)
            summaries.append(_summary(upload, "light-on-dark", ()))
        else:
            check_cancelled()
            try:
                read = read_image(image, options)
            except DigitscopeError as error:
                errors[place] = error
                continue
            ways += [way.pixels for way in read.candidates]
            counts.append(len(read.candidates))
            summaries += [
                _summary(read.upload, way.polarity, way.warnings) for way in read.candidates
            ]
    return _Ready(_stacked(ways), summaries, counts, errors)


def _decoded(
    image: ImageInput | DigitscopeError, options: Options
) -> Upload | NDArray[np.uint8] | DigitscopeError:
    if not isinstance(image, bytes):
        return image
    check_cancelled()
    try:
        return decode(image, max_pixels=options.max_pixels)
    except DigitscopeError as error:
        return error


def _plain_pixels(
    image: Upload | NDArray[np.uint8] | DigitscopeError,
) -> NDArray[np.uint8] | None:
    if isinstance(image, Upload):
        return image.pixels if is_plain(image) else None
    return image if isinstance(image, np.ndarray) else None


def _unchanged(images: Pixels, options: Options) -> NDArray[np.bool_]:
    """Tell of each of many plain images, `[N, 28, 28]`, what `goes_unchanged` tells of one."""
    if options.polarity == "dark-on-light":
        return np.zeros(len(images), np.bool_)
    if options.preprocess == "none":
        return np.ones(len(images), np.bool_)
    return mnist_shaped(images)


def _stacked(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Do what `np.stack` does with 28x28 images, of which there may be none, in half the time."""
    return np.concatenate(images or _NONE).reshape(-1, SIDE, SIDE)


def _summary(upload: Upload, polarity: DetectedPolarity, warnings: tuple[str, ...]) -> InputSummary:
    warnings = upload.warnings + warnings
    return _cached_summary(upload.width, upload.height, upload.format, polarity, warnings)


def _judge(
    pixels: Pixels,
    counts: Sequence[int],
    model: Model,
    numpy_lock: AbstractContextManager[object] = _NOBODY,
) -> tuple[Predictions, Sequence[int]]:
    """Run images in all the ways in which they may be meant, and choose one way of each.

    Args:
        pixels: The ways, as in `_Ready`.
        counts: How many of them each image has.
        model: What runs them.
        numpy_lock: As `recognise_many` has it.

    Returns:
        What is said of the ways that look most like digits, and which these are.
    """
    if not counts:
        return Predictions(_NOTHING, [], [], _NOTHING[:, 0], [], [], 0.0), ()
    began = time.perf_counter()
    outputs = model.runtime.predict(pixels)
    spent = time.perf_counter() - began
    with numpy_lock:
        return _choose(outputs, counts, model, spent)


def _choose(
    outputs: Outputs, counts: Sequence[int], model: Model, spent: float
) -> tuple[Predictions, Sequence[int]]:
    probabilities, scores = outputs.probabilities, energy(outputs.logits)
    chosen: Sequence[int] = range(len(scores))
    if len(counts) < len(scores):
        chosen = [
            start + int(scores[start : start + count].argmax())
            for start, count in zip(accumulate(counts, initial=0), counts, strict=False)
        ]
        probabilities, scores = probabilities[chosen], scores[chosen]
    ranking = (-probabilities).argsort(axis=1, kind="stable")
    shares, said = probabilities.max(axis=1), scores.tolist()
    thresholds = model.bundle.metadata.verdict
    verdicts = judge(
        said,
        shares.tolist(),
        not_a_digit_below=thresholds.not_a_digit_below,
        unsure_below=thresholds.unsure_below,
    )
    found = Predictions(
        probabilities=probabilities,
        digits=ranking[:, 0].tolist(),
        runners_up=ranking[:, 1].tolist(),
        confidences=shares,
        scores=said,
        verdicts=verdicts,
        seconds=spent / len(chosen),
    )
    return found, chosen
