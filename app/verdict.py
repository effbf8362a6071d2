"""Whether an answer can be trusted: `digit`, `unsure` or `not-a-digit`.

Knows logits and thresholds; knows nothing of how either was made.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["digit", "unsure", "not-a-digit"]


def energy(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the score that tells digits from other things: negative free energy.

    Source: Liu et al., 2020, arXiv:2010.03759.

    Args:
        logits: `[N, 10]`.

    Returns:
        float64 `[N]`, log-sum-exp of each row; high for what looks like a digit.
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
    """Turn the score and the largest probability of each image into its verdict."""
    # NumPy takes over four times as long for one image, and half as long for a hundred.
    return [
        "not-a-digit"
        if score < not_a_digit_below
        else "unsure"
        if confidence < unsure_below
        else "digit"
        for score, confidence in zip(scores, confidences, strict=True)
    ]
