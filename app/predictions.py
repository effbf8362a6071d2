"""The records that `app.recognise` returns.

A batch is stored in columns, because an object per image would take longer than a small network
(docs/performance.md). Knows arrays; knows nothing of how a prediction is made.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import DigitscopeError
from app.imaging.decode import Upload
from app.imaging.polarity import DetectedPolarity
from app.imaging.stages import NetworkInput
from app.verdict import Verdict


@dataclass(frozen=True)
class PreparedImage:
    """A decoded image and what a network may receive for it.

    Attributes:
        upload: The decoded image.
        candidates: What the image may mean, such as one candidate for each polarity. The network
            runs all of them; the one that looks most like a digit counts.
        seconds: Time to decode and prepare the image.
    """

    upload: Upload
    candidates: tuple[NetworkInput, ...]
    seconds: float = 0.0


@dataclass(frozen=True)
class Timings:
    """Time spent on one image, or the mean over several, in seconds.

    Attributes:
        preparation: Decoding and preparing the image.
        inference: Running the network: the time of the run divided by its number of images.
    """

    preparation: float
    inference: float


@dataclass(frozen=True)
class Prediction:
    """A network's prediction for one image.

    Attributes:
        probabilities: float32 `[classes]`, sum 1.
        digit: The most probable class: the digit itself in a model of digits.
        runner_up: The second most probable class.
        score: How much the image looks like a digit at all (`app.verdict.energy`).
        verdict: `digit`, `unsure` or `not-a-digit`.
        upload: The decoded image.
        prepared: The image as the network received it.
        timings: Time spent on the image.
    """

    probabilities: NDArray[np.float32]
    digit: int
    runner_up: int
    score: float
    verdict: Verdict
    upload: Upload
    prepared: NetworkInput
    timings: Timings

    @property
    def confidence(self) -> float:
        """Return the largest probability, 0..1."""
        return float(self.probabilities[self.digit])


@dataclass(frozen=True, eq=False)
class InputSummary:
    """The properties of an uploaded image that a response lists.

    Instances compare by identity, which is the fastest: `app.recognise` reuses equal ones.

    Attributes:
        width: Width of the upload, in pixels, after EXIF orientation.
        height: Height of the upload, in pixels, after EXIF orientation.
        format: File format in lower case, or `pixels` (see `Upload`).
        polarity: Which side was taken as ink.
        warnings: What is unusual about the image or may make the prediction wrong.
    """

    width: int
    height: int
    format: str
    polarity: DetectedPolarity
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Predictions:
    """A network's predictions for a batch of `N` images, one column per property.

    Attributes:
        probabilities: float32 `[N, classes]`, rows sum to 1.
        digits: The most probable classes: the digits themselves in a model of digits.
        runners_up: The second most probable classes.
        confidences: float32 `[N]`, the largest probabilities, 0..1.
        scores: How much the images look like digits at all (`app.verdict.energy`).
        verdicts: `digit`, `unsure` or `not-a-digit`.
        seconds_per_image: Time of the network's run divided by `N`.
    """

    probabilities: NDArray[np.float32]
    digits: list[int]
    runners_up: list[int]
    confidences: NDArray[np.float32]
    scores: list[float]
    verdicts: list[Verdict]
    seconds_per_image: float

    def __len__(self) -> int:
        """Return `N`."""
        return len(self.digits)


@dataclass(frozen=True)
class BatchResult:
    """The result of reading a batch of images.

    Attributes:
        predictions: The predictions of the readable images, in order.
        summaries: The properties of the same images.
        errors: The errors of the other images, by their index in the batch.
        timings: Mean time spent on one image.
    """

    predictions: Predictions
    summaries: list[InputSummary]
    errors: dict[int, DigitscopeError]
    timings: Timings
