"""Figures of a model on a split, taken through the runtime that serves it.

The only module that opens the test split. Knows labels and probabilities, not how either was made.
"""

import time
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from app.bundle import Evaluation, Interval, Misread, ReliabilityBin
from app.inference.runtime import Runtime
from training.data import Labels, Split


def evaluate(runtime: Runtime, digits: Split, split: Literal["validation", "test"]) -> Evaluation:
    """Read every digit of a split as the service would and count what is wrong.

    Args:
        runtime: The network as it is served.
        digits: The split.
        split: Its name.

    Returns:
        The figures, with every misread digit.
    """
    probabilities = runtime.predict(digits.images).probabilities
    answers, rows = probabilities.argmax(axis=1), np.arange(len(digits))
    wrong = np.flatnonzero(answers != digits.labels)
    confusion = np.zeros((10, 10), np.int64)
    np.add.at(confusion, (digits.labels, answers), 1)
    groups = reliability(probabilities, digits.labels)
    likelihood = np.maximum(probabilities[rows, digits.labels].astype(np.float64), 1e-12)
    return Evaluation(
        split=split,
        digits=len(digits),
        errors=len(wrong),
        error_rate=len(wrong) / len(digits),
        interval=clopper_pearson(len(wrong), len(digits)),
        negative_log_likelihood=float(-np.log(likelihood).mean()),
        expected_calibration_error=expected_calibration_error(groups),
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
        reliability=groups,
    )


def microseconds_an_image(runtime: Runtime, calls: int = 500) -> float:
    """Measure a network on single images, one after the other.

    Args:
        runtime: The network as it is served, on one thread.
        calls: How many are timed.

    Returns:
        The median call's duration, the runtime's own work included.
    """
    image = np.full((1, 28, 28), 128, np.uint8)
    spent = []
    for _ in range(calls):
        start = time.perf_counter()
        runtime.predict(image)
        spent.append(time.perf_counter() - start)
    return float(np.median(spent)) * 1e6


def clopper_pearson(errors: int, count: int, level: float = 0.95) -> Interval:
    """Return the exact interval of a binomial share (Clopper and Pearson, 1934).

    Args:
        errors: How many of `count`.
        count: At least 1.
        level: Probability that the interval covers the true share, at least.
    """
    tail = (1 - level) / 2
    low = stats.beta.ppf(tail, errors, count - errors + 1) if errors else 0.0
    high = stats.beta.ppf(1 - tail, errors + 1, count - errors) if errors < count else 1.0
    return Interval(low=float(low), high=float(high), level=level)


def mcnemar(first: Evaluation, second: Evaluation) -> tuple[int, int, float]:
    """Compare two models on the same digits by those that only one of them misreads.

    Args:
        first: Figures of one model on a split.
        second: Figures of the other on the same split.

    Returns:
        How many only the first misreads, how many only the second, and the exact two-sided
        p-value of McNemar's test: the probability of parting as unevenly if neither is better.
    """
    ours, theirs = ({miss.index for miss in each.misread} for each in (first, second))
    only_first, only_second = len(ours - theirs), len(theirs - ours)
    parting = only_first + only_second
    p_value = stats.binomtest(only_first, parting).pvalue if parting else 1.0
    return only_first, only_second, float(p_value)


def reliability(
    probabilities: NDArray[np.float32], labels: Labels, bins: int = 15
) -> list[ReliabilityBin]:
    """Group answers by their confidence, in `bins` of equal width; empty ones are left out.

    Args:
        probabilities: `[N, 10]`.
        labels: `[N]`.
        bins: How many.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    return [
        ReliabilityBin(
            digits=int((place == at).sum()),
            confidence=float(confidence[place == at].mean()),
            accuracy=float(right[place == at].mean()),
        )
        for at in np.unique(place)
    ]


def expected_calibration_error(groups: Sequence[ReliabilityBin]) -> float:
    """Return how far confidence and accuracy lie apart on average (Guo et al., 2017).

    Args:
        groups: What `reliability` gives.

    Returns:
        The mean absolute difference, 0..1, weighted by how many digits fall into each bin.
    """
    apart = sum(group.digits * abs(group.confidence - group.accuracy) for group in groups)
    return apart / sum(group.digits for group in groups)
