"""Measures an imported network on the shipped digits: errors, thresholds, speed, embeddings."""

import time
from dataclasses import dataclass

import numpy as np

from app.bundle import Evaluation, VerdictThresholds
from app.embeddings import Embeddings
from app.inference.runtime import Outputs, Runtime
from training import calibrate, embeddings
from training.evaluate import evaluate_probabilities
from training.importing.digits import Digits

MAX_EMBEDDING_BYTES = 6_000_000  # of the directions in the file; the published files have 5.6 MB
MIN_EMBEDDED = 200  # digits; fewer are no use
MAX_SECONDS = 3.0  # for the embeddings, and for the measured digits
MIN_MEASURED = 100  # digits that even a slow network reads
TIMED_CALLS = 30


@dataclass(frozen=True)
class Measured:
    """What the shipped digits say of a network.

    Attributes:
        outputs: Answers on the measured digits.
        temperature: The temperature that fits best; None for a network of other classes.
        verdict: Thresholds; None for a network of other classes.
        validation: Figures; None for a network of other classes.
        embeddings: Features of digits, or None.
        seconds_per_image: Time of one image, one by one.
    """

    outputs: Outputs
    temperature: float | None
    verdict: VerdictThresholds | None
    validation: Evaluation | None
    embeddings: Embeddings | None
    seconds_per_image: float


def measure(runtime: Runtime, digits: Digits, *, are_digits: bool) -> Measured:
    """Measure a network as it is served.

    Args:
        runtime: The network.
        digits: The shipped digits.
        are_digits: Whether the first ten classes are the digits.
    """
    outputs = runtime.predict(digits.measured.images)
    seconds = _seconds_per_image(runtime)
    embedded = _embed(runtime, digits, outputs, seconds)
    if not are_digits:
        return Measured(outputs, None, None, None, embedded, seconds)
    labels = digits.measured.labels
    return Measured(
        outputs,
        calibrate.fit_temperature([outputs.logits], labels),
        calibrate.choose_thresholds(outputs, labels),
        evaluate_probabilities(outputs.probabilities, digits.measured, "validation"),
        embedded,
        seconds,
    )


def _seconds_per_image(runtime: Runtime) -> float:
    image, times = np.full((1, 28, 28), 128, np.uint8), []
    for _ in range(TIMED_CALLS):
        began = time.perf_counter()
        runtime.predict(image)
        times.append(time.perf_counter() - began)
        if sum(times) > 1:
            break
    return float(np.median(times))


def _embed(runtime: Runtime, digits: Digits, outputs: Outputs, seconds: float) -> Embeddings | None:
    """Embed as many digits as fit into the file and into the time; None if they are too few."""
    width = outputs.features.shape[1]
    count = min(
        len(digits.embedded), MAX_EMBEDDING_BYTES // (2 * width), int(MAX_SECONDS / seconds)
    )
    if count < MIN_EMBEDDED:
        return None
    return embeddings.make(runtime, digits.embedded, digits.measured, count)
