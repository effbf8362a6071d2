"""Whether a map means anything: the deletion curve, and the same map on randomised weights.

Knows maps and scores; knows nothing of how a map was made.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.inspection.attribution import Map, Score

FRACTIONS = 20  # steps of a deletion curve
ORDERS = 8  # random orders that a map is held against
SEED = 11


@dataclass(frozen=True)
class Deletion:
    """What is left of the explained quantity while pixels are blacked out.

    Petsiuk et al., 2018, arXiv:1806.07421. Only pixels with ink count: black ones cannot be
    deleted, and a random order that wasted its steps on them would be no rival.

    Attributes:
        fractions: Shares of the ink's pixels that are deleted, 0 to 1.
        by_map: What is left when the map's order decides, the largest first.
        at_random: Mean over random orders.
        area_by_map: Mean of `by_map`; the lower, the better the map.
        area_at_random: Mean of `at_random`.
    """

    fractions: Map
    by_map: Map
    at_random: Map

    @property
    def area_by_map(self) -> float:
        """Return the mean of the curve of the map."""
        return float(self.by_map.mean())

    @property
    def area_at_random(self) -> float:
        """Return the mean of the curve of random orders."""
        return float(self.at_random.mean())


def deletion(score: Score, pixels: NDArray[np.uint8], values: Map) -> Deletion:
    """Delete ink pixel by pixel, in a map's order and in random ones.

    Args:
        score: What scores images `[N, 28, 28]`.
        pixels: uint8 `[28, 28]`.
        values: The map; the largest values go first.
    """
    image = pixels.astype(np.float32)
    ink = np.flatnonzero(pixels.reshape(-1))
    rng = np.random.default_rng(SEED)
    orders = [ink[np.argsort(-values.reshape(-1)[ink], kind="stable")]]
    orders += [rng.permutation(ink) for _ in range(ORDERS)]
    fractions = np.linspace(0, 1, FRACTIONS + 1, dtype=np.float32)
    counts = np.rint(fractions * ink.size).astype(int)
    left = np.repeat(image.reshape(1, 1, -1), len(orders), axis=0).repeat(len(counts), axis=1)
    for row, order in zip(left, orders, strict=True):
        for state, count in zip(row, counts, strict=True):
            state[order[:count]] = 0
    # All orders begin with the whole image and end with none of it: those are scored once.
    inner = left[:, 1:-1].reshape(-1, 28, 28)
    ends = left[0, [0, -1]].reshape(-1, 28, 28)
    scores = score(np.concatenate([ends, inner]))
    curves = np.empty((len(orders), len(counts)), np.float32)
    curves[:, 0], curves[:, -1] = scores[0], scores[1]
    curves[:, 1:-1] = scores[2:].reshape(len(orders), -1)
    return Deletion(fractions, curves[0], curves[1:].mean(axis=0))


def similarity(values: Map, other: Map) -> float | None:
    """Return Spearman's rank correlation of the sizes of two maps, or None if one is constant.

    A map that looks the same on a network that has learned nothing shows the image, not the
    network (Adebayo et al., 2018, arXiv:1810.03292).
    """
    ranks = [_ranks(np.abs(one).reshape(-1)) for one in (values, other)]
    if any(one.std() == 0 for one in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return ranks, equal values sharing theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[which])
