"""Decides whether a prediction can be trusted: `digit`, `unsure` or `not-a-digit`.

Knows logits and thresholds; knows nothing of images or networks.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["digit", "unsure", "not-a-digit"]


def energy(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the negative free energy, a score that is high for images that look like digits.

    Source: Liu et al., 2020, arXiv:2010.03759.

    Args:
        logits: `[N, 10]`.

    Returns:
        float64 `[N]`, the log-sum-exp of each row.
    """
    scores: NDArray[np.float64] = np.logaddexp.reduce(logits.astype(np.float64), axis=1)
    return scores


def judge(
    scores: Iterable[float],
    confidences: Iterable[float],
    *,
    not_a_digit_below: float,
    unsure_below: float,
) -> list[Verdict]:
    """Return the verdict on each image.

    Args:
        scores: Scores from `energy`, one for each image.
        confidences: Largest probability of each image, 0..1.
        not_a_digit_below: An image with a lower score is `not-a-digit`.
        unsure_below: Another image with a lower confidence is `unsure`.
    """
    # A list comprehension: NumPy takes over four times as long for one image, though half as long
    # for a hundred.
    return [
        "not-a-digit"
        if score < not_a_digit_below
        else "unsure"
        if confidence < unsure_below
        else "digit"
        for score, confidence in zip(scores, confidences, strict=True)
    ]
