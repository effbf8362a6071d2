"""Check whether a map explains the network: the deletion curve and the rank correlation of maps.

Knows maps and scores, but not how a map was computed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.inspection.score import Map, Score

DELETION_STEPS = 20  # points of a deletion curve after the first
RANDOM_ORDERS = 8  # random orders whose mean curve is the baseline, if the network is fast enough
MIN_RANDOM_ORDERS = 2  # random orders for the slowest network
SEED = 11  # the same image always gets the same random orders


@dataclass(frozen=True)
class Deletion:
    """The score while pixels are blacked out one after another.

    Petsiuk et al., 2018, arXiv:1806.07421. Only pixels with ink are deleted. Blacking out a black
    pixel changes nothing, so a random order that included them would be too weak a baseline.

    Attributes:
        fractions: Shares of the ink's pixels that are deleted, float32 `[S]`, 0 to 1.
        by_map: Score when the map's largest values are deleted first, float32 `[S]`.
        at_random: Mean score over random orders, float32 `[S]`.
        random_orders: Number of random orders.
    """

    fractions: NDArray[np.float32]
    by_map: NDArray[np.float32]
    at_random: NDArray[np.float32]
    random_orders: int

    @property
    def area_by_map(self) -> float:
        """Return the mean of `by_map`; the lower, the better the map."""
        return float(self.by_map.mean())

    @property
    def area_at_random(self) -> float:
        """Return the mean of `at_random`."""
        return float(self.at_random.mean())

    @property
    def better_than_random(self) -> bool:
        """Return whether the score falls faster in the map's order than in random orders."""
        return self.area_by_map < self.area_at_random


def deletion(
    score: Score, pixels: NDArray[np.uint8], ranking: Map, *, max_scores: int = 1000
) -> Deletion:
    """Delete ink pixel by pixel, in the map's order and in random orders.

    Args:
        score: Scores images.
        pixels: uint8 `[28, 28]`.
        ranking: float32 `[28, 28]`; pixels with the largest values are deleted first.
        max_scores: Images that may be scored; with fewer, there are fewer random orders.
    """
    image = pixels.astype(np.float32)
    ink = np.flatnonzero(pixels.reshape(-1))
    rng = np.random.default_rng(SEED)
    orders = [ink[np.argsort(-ranking.reshape(-1)[ink], kind="stable")]]
    random_orders = _random_orders(max_scores)
    orders += [rng.permutation(ink) for _ in range(random_orders)]
    fractions = np.linspace(0, 1, DELETION_STEPS + 1, dtype=np.float32)
    counts = np.rint(fractions * ink.size).astype(int)
    states = np.tile(image.reshape(-1), (len(orders), len(counts), 1))
    for order_states, order in zip(states, orders, strict=True):
        for state, count in zip(order_states, counts, strict=True):
            state[order[:count]] = 0
    # All orders start with the whole image and end with a black one: score these two only once.
    inner = states[:, 1:-1].reshape(-1, 28, 28)
    ends = states[0, [0, -1]].reshape(-1, 28, 28)
    scores = score(np.concatenate([ends, inner]))
    curves = np.empty((len(orders), len(counts)), np.float32)
    curves[:, 0], curves[:, -1] = scores[0], scores[1]
    curves[:, 1:-1] = scores[2:].reshape(len(orders), -1)
    return Deletion(fractions, curves[0], curves[1:].mean(axis=0), random_orders)


def deletion_scores(max_scores: int) -> int:
    """Return how many images `deletion` scores."""
    return 2 + (1 + _random_orders(max_scores)) * (DELETION_STEPS - 1)


def _random_orders(max_scores: int) -> int:
    affordable = max_scores // (DELETION_STEPS - 1) - 1  # all orders share the first and last image
    return max(MIN_RANDOM_ORDERS, min(RANDOM_ORDERS, affordable))


def rank_correlation(values: Map, other: Map) -> float | None:
    """Return Spearman's rank correlation of the magnitudes of two maps, -1 to 1.

    If a network that has learned nothing gives a similar map, the map shows the image and not what
    the network learned (Adebayo et al., 2018, arXiv:1810.03292).

    Returns:
        The correlation, or None if the magnitudes of a map are all the same.
    """
    ranks = [_ranks(np.abs(magnitudes).reshape(-1)) for magnitudes in (values, other)]
    if any(rank.std() == 0 for rank in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the rank of each value, from 1; equal values get the mean of their ranks."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last_ranks = np.cumsum(counts)
    return np.asarray((last_ranks - (counts - 1) / 2)[group])
