"""Figures on the held-out digits, from a network that has not seen them."""

from dataclasses import dataclass

import numpy as np

from app import bundle
from app.bundle import Evaluation, Robustness, VerdictThresholds
from training import calibrate, quantize, robustness
from training.compiled import Compiled
from training.data import Split
from training.evaluate import evaluate
from training.outliers import outliers
from training.predictions import StoredLogits, read_predictions

OUTLIERS, OUTLIER_SEED = 3000, 2028  # images without a digit that the thresholds are chosen by


@dataclass(frozen=True)
class HeldOut:
    """What the held-out digits decided and measured.

    Attributes:
        logits: The network's answers, if it is the one before a refit.
        verdict: The thresholds that the digits chose.
        validation: The figures on the digits.
        robustness: The figures on corrupted digits and non-digits.
        int8: How int8 changes the answers, for a network that is served in int8.
    """

    logits: StoredLogits | None
    verdict: VerdictThresholds
    validation: Evaluation
    robustness: Robustness | None
    int8: bundle.Flips | None


def measure_held_out(unrefitted: Compiled, validation: Split, *, refitted: bool) -> HeldOut:
    """Measure the network that has not seen the held-out digits.

    Args:
        unrefitted: That network, compiled.
        validation: The held-out digits.
        refitted: Whether another network, its refit, is published; then the answers are kept.
    """
    outputs = unrefitted.served.predict(validation.images)
    rng = np.random.default_rng(OUTLIER_SEED)
    strange = outliers(validation.images[:OUTLIERS], rng)
    of_strange = unrefitted.served.predict(strange)
    verdict = calibrate.choose_thresholds(outputs, validation.labels, of_strange)
    return HeldOut(
        logits=StoredLogits.of(outputs.logits) if refitted else None,
        verdict=verdict,
        validation=evaluate(unrefitted.served, validation, "validation"),
        robustness=robustness.measure(unrefitted.served, validation, verdict),
        int8=measure_int8(unrefitted, validation),
    )


def published_held_out(old: bundle.Bundle) -> HeldOut:
    """Return the held-out figures of a bundle as they were published.

    Raises:
        BundleError: The stored predictions are missing or damaged.
    """
    published = old.metadata
    return HeldOut(
        logits=read_predictions(old).before_refit,
        verdict=published.verdict,
        validation=published.held_out,
        robustness=published.robustness,
        int8=published.quantization.validation if published.quantization else None,
    )


def measure_int8(compiled: Compiled, digits: Split) -> bundle.Flips | None:
    """Count the answers that int8 changes; None for a network that is served in float32."""
    if compiled.served is compiled.float32:
        return None
    return quantize.count_flips(compiled.float32, compiled.served, digits)
