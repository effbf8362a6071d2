"""Intervals, tests and calibration of counted answers.

Knows numbers; knows nothing of pictures or models.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.bundle import Interval, ReliabilityBin

CALIBRATION_BINS = 15  # of equal width between 0 and 1, as in Guo et al., 2017
LEVEL, Z = 0.95, 1.959963984540054  # the normal distribution's two-sided quantile of the level


def wilson(count: int, total: int) -> Interval:
    """Return the 95 % interval of a share.

    Source: Wilson, 1927, "Probable inference, the law of succession, and statistical inference". It
    stays within 0 and 1, and is of use for few pictures and for shares near 0.

    Args:
        count: How many of the total.
        total: At least 1.
    """
    share, weight = count / total, Z * Z / total
    middle = (share + weight / 2) / (1 + weight)
    half = Z * math.sqrt((share * (1 - share) + weight / 4) / total) / (1 + weight)
    return Interval(
        low=max(0.0, middle - half) if count else 0.0,
        high=min(1.0, middle + half) if count < total else 1.0,
        level=LEVEL,
        method="Wilson",
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's test.

    It is the probability of a difference at least this large if neither model is better: then each
    picture that only one of them misreads is misread by either with probability 1/2.

    Source: McNemar, 1947, "Note on the sampling error of the difference between correlated
    proportions or percentages"; with the binomial distribution instead of its approximation.

    Args:
        only_first: Number of pictures that only the first model misreads.
        only_second: Number of pictures that only the second model misreads.
    """
    total, fewer = only_first + only_second, min(only_first, only_second)
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1)
        for k in range(fewer + 1)
    ]
    tail = math.fsum(math.exp(log - total * math.log(2)) for log in logs)
    return min(1.0, 2 * tail)


def reliability(
    confidences: Sequence[float] | NDArray[np.floating],
    right: Sequence[bool] | NDArray[np.bool_],
    bins: int = CALIBRATION_BINS,
) -> list[ReliabilityBin]:
    """Group answers by confidence into bins of equal width; empty bins are left out.

    Args:
        confidences: `[N]`, the largest probabilities, 0..1.
        right: `[N]`, whether each answer is right.
        bins: Number of bins between 0 and 1.
    """
    confidence, correct = np.asarray(confidences, np.float64), np.asarray(right, np.bool_)
    numbers = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    return [
        ReliabilityBin(
            digits=int((numbers == number).sum()),
            confidence=float(confidence[numbers == number].mean()),
            accuracy=float(correct[numbers == number].mean()),
        )
        for number in np.unique(numbers)
    ]


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the mean absolute difference between confidence and accuracy (Guo et al., 2017).

    Args:
        bins: The bins of `reliability`.

    Returns:
        The mean over the bins, 0..1, weighted by the number of digits in each.
    """
    difference = sum(each.digits * abs(each.confidence - each.accuracy) for each in bins)
    return difference / sum(each.digits for each in bins)
