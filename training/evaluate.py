"""Figures of a model on a split, measured through the runtime that serves it.

The only module that opens the test split with its labels. Knows labels and probabilities, not how
either was made.
"""

import time
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from app.bundle import Evaluation, Interval, Misread, ReliabilityBin
from app.evaluation import statistics
from app.evaluation.statistics import expected_calibration_error
from app.inference.runtime import Runtime
from training.data import Labels, Split

MIN_LIKELIHOOD = 1e-12  # keeps the logarithm finite


def evaluate(runtime: Runtime, digits: Split, split: Literal["validation", "test"]) -> Evaluation:
    """Read every digit of a split as the service would, and compare with the labels.

    Args:
        runtime: The network as it is served.
        digits: The split.
        split: Its name.

    Returns:
        The figures, with every misread digit.
    """
    return evaluate_probabilities(runtime.predict(digits.images).probabilities, digits, split)


def evaluate_probabilities(
    probabilities: NDArray[np.float32], digits: Split, split: Literal["validation", "test"]
) -> Evaluation:
    """Compare probabilities, `[N, classes]`, with the labels of the digits.

    Returns:
        The figures, with every misread digit.
    """
    answers, rows = probabilities.argmax(axis=1), np.arange(len(digits))
    wrong = np.flatnonzero(answers != digits.labels)
    classes = probabilities.shape[1]
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (digits.labels, answers), 1)
    bins = reliability(probabilities, digits.labels)
    likelihood = np.maximum(probabilities[rows, digits.labels].astype(np.float64), MIN_LIKELIHOOD)
    return Evaluation(
        split=split,
        digits=len(digits),
        errors=len(wrong),
        error_rate=len(wrong) / len(digits),
        interval=clopper_pearson(len(wrong), len(digits)),
        negative_log_likelihood=float(-np.log(likelihood).mean()),
        expected_calibration_error=expected_calibration_error(bins),
        confusion=confusion.tolist(),
        misread=[
            Misread(
                index=int(digits.indices[row]),
                label=int(digits.labels[row]),
                digit=int(answers[row]),
                confidence=float(probabilities[row, answers[row]]),
            )
            for row in wrong
        ],
        reliability=bins,
    )


def microseconds_per_image(runtime: Runtime, calls: int = 500) -> float:
    """Measure the time of single images, one after the other.

    Args:
        runtime: The network as it is served, on one thread.
        calls: How many calls are timed.

    Returns:
        The median duration of a call in microseconds, including the runtime's own work.
    """
    image = np.full((1, 28, 28), 128, np.uint8)
    durations = []
    for _ in range(calls):
        start = time.perf_counter()
        runtime.predict(image)
        durations.append(time.perf_counter() - start)
    return float(np.median(durations)) * 1e6


def clopper_pearson(errors: int, count: int, level: float = 0.95) -> Interval:
    """Return the exact confidence interval of a binomial share (Clopper and Pearson, 1934).

    Args:
        errors: Number of errors.
        count: Number of digits, at least 1.
        level: Smallest probability that the interval covers the true share.
    """
    tail = (1 - level) / 2
    low = stats.beta.ppf(tail, errors, count - errors + 1) if errors else 0.0
    high = stats.beta.ppf(1 - tail, errors + 1, count - errors) if errors < count else 1.0
    return Interval(low=float(low), high=float(high), level=level)


def mcnemar(first: Evaluation, second: Evaluation) -> tuple[int, int, float]:
    """Compare two models by the digits that only one of them misreads (McNemar's test).

    Args:
        first: Figures of one model on a split.
        second: Figures of another model on the same split.

    Returns:
        The number of digits that only the first model misreads, the number that only the second
        misreads, and the exact two-sided p-value: the probability of a difference at least this
        large if neither model is better.
    """
    ours, theirs = ({miss.index for miss in each.misread} for each in (first, second))
    only_first, only_second = len(ours - theirs), len(theirs - ours)
    return only_first, only_second, statistics.mcnemar(only_first, only_second)


def reliability(probabilities: NDArray[np.float32], labels: Labels) -> list[ReliabilityBin]:
    """Group answers, `[N, classes]`, by confidence into bins; empty bins are left out."""
    right = probabilities.argmax(axis=1) == labels
    return statistics.reliability(probabilities.max(axis=1), right)
