"""Calibration on held-out digits: the temperature, and the thresholds of the verdict."""

from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from app.bundle import VerdictThresholds
from app.inference.runtime import Outputs
from app.verdict import energy
from training.data import Labels

FALSE_REFUSALS = 0.005  # share of held-out digits that may be called not-a-digit
SURE_ERROR = 0.001  # share of sure answers that may be wrong


def fit_temperature(logits: Sequence[NDArray[np.float32]], labels: Labels) -> float:
    """Return the temperature that makes held-out digits likeliest (Guo et al., 2017).

    Args:
        logits: `[N, 10]` of held-out digits, from each network that votes.
        labels: `[N]`.

    Returns:
        The positive number that all the logits are to be divided by.
    """
    wide = np.asarray(logits, np.float64)  # (networks, N, 10)

    def loss(log_temperature: float) -> float:
        scaled = special.log_softmax(wide / np.exp(log_temperature), axis=2)
        right = scaled[:, np.arange(len(labels)), labels]
        return float(-special.logsumexp(right, axis=0).mean())  # up to a constant

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def fold_temperature(model: keras.Model, temperature: float) -> None:
    """Divide the logits' weights by the temperature, so that every runtime is calibrated."""
    layer = model.get_layer("logits")
    layer.set_weights([weights / temperature for weights in layer.get_weights()])


def choose_thresholds(outputs: Outputs, labels: Labels) -> VerdictThresholds:
    """Choose where `digit`, `unsure` and `not-a-digit` part.

    Args:
        outputs: The calibrated network's outputs for held-out digits.
        labels: `[N]`.

    Returns:
        Thresholds that call at most `FALSE_REFUSALS` of these digits not-a-digit, and leave at
        most `SURE_ERROR` of the others sure and wrong; an answer under one half is always unsure.
    """
    scores, confidence = energy(outputs.logits), outputs.probabilities.max(axis=1)
    floor = float(np.quantile(scores, FALSE_REFUSALS, method="lower"))
    wrong = outputs.probabilities.argmax(axis=1) != labels
    order = np.argsort(-confidence, kind="stable")
    wrong_above = np.cumsum(wrong[order])  # wrong answers among the n most confident
    within = np.flatnonzero(wrong_above <= SURE_ERROR * np.arange(1, len(order) + 1))
    unsure = float(confidence[order[within[-1]]]) if len(within) else 1.0
    return VerdictThresholds(
        not_a_digit_below=floor,
        unsure_below=max(0.5, unsure),
        false_refusals=float((scores < floor).mean()),
    )
