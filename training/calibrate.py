"""Calibration on held-out digits: the temperature and the thresholds of the verdict."""

from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from app.bundle import VerdictThresholds
from app.inference.runtime import Outputs
from app.verdict import energy
from training.data import Labels

MAX_FALSE_REFUSALS = 0.002  # share of held-out digits that may be called not-a-digit
MAX_ACCEPTED = 0.005  # share of the training's kinds of outliers that need not be refused
MAX_SURE_ERROR = 0.0015  # share of the answers that are not unsure that may be wrong
MAX_SURE_OUTLIERS = 0.01  # share of the outliers that may be called a digit; some look like one


def fit_temperature(
    logits: Sequence[NDArray[np.float32]],
    labels: Labels,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Return the temperature with the highest likelihood of held-out digits (Guo et al., 2017).

    Args:
        logits: `[N, 10]` of held-out digits, from each network that votes.
        labels: `[N]`.
        weights: Of the digits, `[N]`; by default all count the same.

    Returns:
        The positive number to divide all logits by.
    """
    stacked = np.asarray(logits, np.float64)  # (networks, N, 10)

    def loss(log_temperature: float) -> float:
        scaled = special.log_softmax(stacked / np.exp(log_temperature), axis=2)
        right = scaled[:, np.arange(len(labels)), labels]
        likely = special.logsumexp(right, axis=0)  # plus a constant
        return float(-np.average(likely, weights=weights))

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def fold_temperature(model: keras.Model, temperature: float, logits: str = "logits") -> None:
    """Divide the weights of the logits layer by the temperature, which calibrates every runtime."""
    layer = model.get_layer(logits)
    layer.set_weights([weights / temperature for weights in layer.get_weights()])


def choose_thresholds(
    outputs: Outputs, labels: Labels, outliers: Outputs | None = None
) -> VerdictThresholds:
    """Choose the limits between `digit`, `unsure` and `not-a-digit`.

    Args:
        outputs: The calibrated network's outputs for held-out digits.
        labels: `[N]`.
        outliers: Its outputs for images without a digit, of training's kinds. Other hands score
            lower than held-out digits; where a lower limit still refuses nearly all of these
            images, it is the better one.

    Returns:
        Thresholds that call at most `MAX_FALSE_REFUSALS` of these digits not-a-digit, and no more
        than it takes to refuse all but `MAX_ACCEPTED` of the outliers; and that leave at most
        `MAX_SURE_ERROR` of the sure answers wrong, and call at most `MAX_SURE_OUTLIERS` of the
        outliers a digit. A probability below 0.5 is always unsure.
    """
    scores, confidence = energy(outputs.logits), outputs.probabilities.max(axis=1)
    floor = float(np.quantile(scores, MAX_FALSE_REFUSALS, method="lower"))
    if outliers is not None:
        floor = min(floor, float(np.quantile(energy(outliers.logits), 1 - MAX_ACCEPTED)))
    wrong = outputs.probabilities.argmax(axis=1) != labels
    order = np.argsort(-confidence, kind="stable")
    wrong_above = np.cumsum(wrong[order])  # wrong answers among the n most confident
    within = np.flatnonzero(wrong_above <= MAX_SURE_ERROR * np.arange(1, len(order) + 1))
    unsure = float(confidence[order[within[-1]]]) if len(within) else 1.0
    if outliers is not None:
        unsure = max(unsure, above_outliers(outliers, floor, MAX_SURE_OUTLIERS))
    return VerdictThresholds(
        not_a_digit_below=floor,
        unsure_below=max(0.5, unsure),
        false_refusals=float((scores < floor).mean()),
    )


def above_outliers(outliers: Outputs, floor: float, share: float) -> float:
    """Return the lowest confidence that at most a share of the outliers reach, with this score."""
    confidence = outliers.probabilities.max(axis=1)
    allowed = int(share * len(confidence))
    accepted = np.sort(confidence[energy(outliers.logits) >= floor])[::-1]
    return float(np.nextafter(accepted[allowed], 1)) if len(accepted) > allowed else 0.0
