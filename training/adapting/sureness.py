"""Counts the sure answers of two networks: a network may misread less and yet be unsure more often.

Knows answers and thresholds; knows nothing of networks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from app.bundle import VerdictThresholds
from app.verdict import energy, judge
from training.data import Labels


@dataclass(frozen=True)
class Sureness:
    """How many of the same pictures two networks read with the verdict `digit`.

    Attributes:
        pictures: Number of pictures.
        before: Sure answers of the first network, right or wrong.
        after: Those of the second one.
        wrong_before: How many of the first network's sure answers are wrong.
        wrong_after: The same of the second one.
    """

    pictures: int
    before: int
    after: int
    wrong_before: int
    wrong_after: int

    @property
    def falls(self) -> bool:
        """Return whether the second network is sure less often."""
        return self.after < self.before


def count_sure(
    logits: NDArray[np.float32], labels: Labels, thresholds: VerdictThresholds
) -> tuple[int, int]:
    """Return how many answers have the verdict `digit`, and how many of these are wrong.

    Args:
        logits: Calibrated, `[N, classes]`.
        labels: `[N]`.
        thresholds: Those of the network that gave them.
    """
    sure = are_sure(logits, thresholds)
    return int(sure.sum()), int((sure & (logits.argmax(axis=1) != labels)).sum())


def are_sure(logits: NDArray[np.float32], thresholds: VerdictThresholds) -> NDArray[np.bool_]:
    """Return which answers have the verdict `digit`, `[N]`; arguments as of `count_sure`."""
    verdicts = judge(
        energy(logits).tolist(),
        special.softmax(logits, axis=1).max(axis=1).tolist(),
        not_a_digit_below=thresholds.not_a_digit_below,
        unsure_below=thresholds.unsure_below,
    )
    return np.array([verdict == "digit" for verdict in verdicts], bool)
