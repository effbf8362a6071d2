"""Compares two networks on the same pictures, and says how many pictures a proof would need.

Knows answers and counts; knows nothing of networks.
"""

import math

import numpy as np
from numpy.typing import NDArray

from app.bundle import Comparison
from app.evaluation.statistics import mcnemar
from training.data import Labels
from training.evaluate import clopper_pearson

MAX_P_VALUE = 0.05  # of McNemar's exact test on the pictures
MIN_MENDED = 6  # pictures; if no fewer are mended and none is spoilt, p is below 0.05
MAX_NEEDED = 1_000_000  # pictures; a larger number is no advice


def compare(before: NDArray[np.integer], after: NDArray[np.integer], labels: Labels) -> Comparison:
    """Count what two networks misread.

    Args:
        before: Answers of the first network, `[N]`.
        after: Answers of the second one.
        labels: `[N]`.
    """
    was_wrong, is_wrong = before != labels, after != labels
    mended, spoilt = int((was_wrong & ~is_wrong).sum()), int((~was_wrong & is_wrong).sum())
    count = len(labels)
    return Comparison(
        images=count,
        misread_before=int(was_wrong.sum()),
        misread_after=int(is_wrong.sum()),
        interval_before=clopper_pearson(int(was_wrong.sum()), count),
        interval_after=clopper_pearson(int(is_wrong.sum()), count),
        mended=mended,
        spoilt=spoilt,
        p_value=mcnemar(spoilt, mended),
    )


def pictures_needed(found: Comparison) -> int | None:
    """Return how many pictures a gain like this needs to be proven; None if there is no gain."""
    if found.mended <= found.spoilt:
        return None
    for needed in range(found.images, MAX_NEEDED, max(1, found.images // 20)):
        factor = needed / found.images
        mended, spoilt = math.floor(factor * found.mended), math.ceil(factor * found.spoilt)
        if mcnemar(spoilt, mended) < MAX_P_VALUE:
            return needed
    return None
