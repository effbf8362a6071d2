"""One image, or many, to predictions: decode, prepare, run, judge, in one straight line.

Knows arrays and models; knows nothing of HTTP. What it raises are the errors of `app.errors`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import DigitscopeError
from app.imaging.decode import Upload, decode, from_pixels
from app.imaging.prepare import as_is, as_it_came, candidates
from app.imaging.stages import Prepared
from app.inference.registry import Model
from app.verdict import Verdict, energy, judge

Preprocess = Literal["auto", "none"]
Polarity = Literal["auto", "dark-on-light", "light-on-dark"]
# An encoded file, (28, 28) pixels with high ink, or what is decoded already.
ImageInput = bytes | NDArray[np.uint8] | Upload


@dataclass(frozen=True)
class Options:
    """How images are read: see the query parameters of the same names."""

    preprocess: Preprocess = "auto"
    polarity: Polarity = "auto"
    max_pixels: int = 20_000_000


@dataclass(frozen=True)
class Read:
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


def decode_only(image: ImageInput, options: Options) -> Upload:
    """Decode an image, if it is not yet.

    Raises:
        UndecodableError: Not an image, or a damaged one.
        TooLargeError: Too many pixels.
    """
    if isinstance(image, bytes):
        return decode(image, max_pixels=options.max_pixels)
    return image if isinstance(image, Upload) else from_pixels(image)


def read_as_it_came(upload: Upload, options: Options) -> Read | None:
    """Read an image that goes to the network unchanged; return None for one to be prepared."""
    began = time.perf_counter()
    prepared = as_it_came(upload, polarity=options.polarity)
    return Read(upload, (prepared,), time.perf_counter() - began) if prepared else None


def read_image(image: ImageInput, options: Options, *, record: bool = False) -> Read:
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
    return Read(upload, ways, time.perf_counter() - began)


def recognise(image: ImageInput, model: Model, options: Options) -> Prediction:
    """Read one image; raises what `read_image` raises."""
    return predict([read_image(image, options)], model)[0]


def recognise_many(
    images: Sequence[ImageInput | DigitscopeError], model: Model, options: Options
) -> list[Prediction | DigitscopeError]:
    """Read many images at once, in order; an image that cannot be read becomes its error."""
    results: list[Read | DigitscopeError] = []
    for image in images:
        try:
            results.append(
                image if isinstance(image, DigitscopeError) else read_image(image, options)
            )
        except DigitscopeError as error:
            results.append(error)
    predictions = iter(predict([result for result in results if isinstance(result, Read)], model))
    return [next(predictions) if isinstance(result, Read) else result for result in results]


def predict(reads: Sequence[Read], model: Model) -> list[Prediction]:
    """Run prepared images through a network in one batch.

    Of the ways in which an image may be meant, the one counts that looks most like a digit.
    """
    if not reads:
        return []
    ways = [way.pixels for read in reads for way in read.candidates]
    began = time.perf_counter()
    outputs = model.runtime.predict(np.stack(ways) if len(ways) > 1 else ways[0][None])
    each = (time.perf_counter() - began) / len(reads)
    scores, start, predictions = energy(outputs.logits), 0, []
    for read in reads:
        stop = start + len(read.candidates)
        best = start + int(scores[start:stop].argmax())
        predictions.append(
            _predicted(
                outputs.probabilities[best],
                float(scores[best]),
                model,
                read.upload,
                read.candidates[best - start],
                Seconds(read.seconds, each),
            )
        )
        start = stop
    return predictions


def _predicted(
    probabilities: NDArray[np.float32],
    score: float,
    model: Model,
    upload: Upload,
    prepared: Prepared,
    seconds: Seconds,
) -> Prediction:
    shares = probabilities.tolist()
    first, second, *_ = sorted(range(len(shares)), key=shares.__getitem__, reverse=True)
    thresholds = model.bundle.metadata.verdict
    return Prediction(
        probabilities=probabilities,
        digit=first,
        runner_up=second,
        score=score,
        verdict=judge(
            score,
            shares[first],
            not_a_digit_below=thresholds.not_a_digit_below,
            unsure_below=thresholds.unsure_below,
        ),
        upload=upload,
        prepared=prepared,
        seconds=seconds,
    )
