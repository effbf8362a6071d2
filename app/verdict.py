"""Decides which candidate counts, and whether its prediction can be trusted.

Knows logits and thresholds; knows nothing of images or networks.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["digit", "unsure", "not-a-digit"]
# How far a fallback's score must be above the threshold, and above the best other candidate unless
# that is refused, in nats.
FALLBACK_MARGIN, FALLBACK_LEAD = 1.0, 2.0
# The same for a view of an image that is not sure. Of four turned views of a shape, the best often
# looks like a digit. A scan that was stretched to a square has only one narrowed view.
VIEW_MARGINS = {"upright": 2.5, "turned": 3.0, "narrowed": 1.0}
VIEW_LEAD = 1.0
# A view is unsure if another digit, seen in another view, is no further behind it than this.
VIEW_AGREEMENT = 3.0
# So is a view of an image that is no better than this between two digits: turning decides between a
# 1 with a flag and a 7, but does not know.
VIEW_CONFIDENCE = 0.7


def energy(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the negative free energy, a score that is high for images that look like digits.

    Source: Liu et al., 2020, arXiv:2010.03759.

    Args:
        logits: `[N, classes]`.

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


def choose(
    scores: NDArray[np.float64],
    confidences: NDArray[np.float32],
    counts: Sequence[int],
    fallbacks: Sequence[int],
    not_a_digit_below: float,
) -> list[int]:
    """Return the index of the candidate that counts, for each image.

    The candidate with the highest score counts. If that is refused, the one with the largest logit
    counts: a network that knows nothing gives all digits the same logit, and the score of that is
    higher than the score of many digits. A fallback competes only if its score clears the threshold
    by `FALLBACK_MARGIN`, and all others are refused or `FALLBACK_LEAD` behind it.

    Args:
        scores: float64 `[C]`, of all candidates, image by image.
        confidences: float32 `[C]`, the largest probability of each candidate.
        counts: Number of candidates of each image.
        fallbacks: Indices of the candidates that are fallbacks. An image has others, too.
        not_a_digit_below: Images with a lower score are refused.
    """
    lowered = scores.copy()
    lowered[np.asarray(fallbacks, np.intp)] = -np.inf
    largest_logits = lowered + np.log(confidences)
    chosen = []
    for start, count in zip(accumulate(counts, initial=0), counts, strict=False):
        own = slice(start, start + count)
        best = start + int(lowered[own].argmax())
        highest = start + int(scores[own].argmax())
        needed = not_a_digit_below + FALLBACK_MARGIN
        if scores[best] < not_a_digit_below:
            best = start + int(largest_logits[own].argmax())
        else:
            needed = max(scores[best] + FALLBACK_LEAD, needed)
        chosen.append(highest if scores[highest] >= needed else best)
    return chosen


def choose_view(
    score: float,
    digit: int,
    confidence: float,
    views: Sequence[tuple[str, float, int]],
    not_a_digit_below: float,
) -> tuple[int, bool] | None:
    """Return the index of the view that counts instead of an image that is not sure, or None.

    A view counts if its score clears the threshold by its margin and, unless the image is refused,
    the score of the image by `VIEW_LEAD`. Of several, the one with the highest score counts. A
    refused image is never sure: one of six views of a sign or a shape often looks like a digit.

    Args:
        score: Score of the image.
        digit: Its most probable digit.
        confidence: Probability of that digit.
        views: Name, score and most probable digit of each view.
        not_a_digit_below: Images with a lower score are refused.

    Returns:
        The index, and whether the view may be sure: all digits that are not far behind agree with
        it, and the image itself is neither refused nor torn between two digits.
    """
    needed = -np.inf if score < not_a_digit_below else score + VIEW_LEAD
    clear = [
        index
        for index, (name, seen, _) in enumerate(views)
        if seen >= max(needed, not_a_digit_below + VIEW_MARGINS[name])
    ]
    if not clear:
        return None
    best = max(clear, key=lambda index: views[index][1])
    _, highest, seen_digit = views[best]
    rivals = [seen for _, seen, other in (*views, ("", score, digit)) if other != seen_digit]
    is_readable = score >= not_a_digit_below and confidence >= VIEW_CONFIDENCE
    return best, is_readable and max(rivals, default=-np.inf) <= highest - VIEW_AGREEMENT
