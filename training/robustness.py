"""Measures a network on other hands, on damaged digits and on images that show no digit.

Uses held-out training digits, never the test split.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from app.bundle import Robustness, VerdictThresholds
from app.errors import BlankImageError
from app.imaging.decode import decode
from app.imaging.prepare import prepare
from app.inference.runtime import Runtime
from app.verdict import energy
from training import readings
from training.data import Split
from training.mnist_c import CORRUPTIONS
from training.nondigits import NONDIGITS

DIGITS = 1000  # held-out digits that are corrupted
NONDIGITS_PER_KIND = 200
SEED = 2026
MAX_PIXELS = 1_000_000  # of a drawn image; all are smaller


def measure(runtime: Runtime, held_out: Split, limits: VerdictThresholds) -> Robustness:
    """Read corrupted digits without preparation, score non-digits, and read what is unseen.

    Args:
        runtime: The network as it is served.
        held_out: Digits that the network was not trained on.
        limits: The thresholds of its verdicts.

    Returns:
        The error on each corruption of MNIST-C, for each kind of non-digit the AUROC of the energy
        score against the held-out digits, and the readings of `training.readings`.
    """
    rng = np.random.default_rng(SEED)
    digits = held_out.take(rng.permutation(len(held_out))[:DIGITS])
    errors = {}
    for kind, corrupt in CORRUPTIONS.items():
        images = np.stack([corrupt(image, rng) for image in digits.images])
        answers = runtime.predict(images).probabilities.argmax(axis=1)
        errors[kind] = float((answers != digits.labels).mean())
    known = energy(runtime.predict(held_out.images).logits)
    areas = {}
    for kind in NONDIGITS:
        areas[kind] = auroc(known, energy(runtime.predict(_nondigits(kind)).logits))
    return Robustness(
        digits=len(digits),
        corruptions=errors,
        nondigits=areas,
        readings=readings.measure(runtime, held_out, limits),
        damaged_calibration_error=readings.damaged_calibration_error(runtime, held_out),
    )


@cache
def _nondigits(kind: str) -> NDArray[np.uint8]:
    """Draw non-digits of one kind and prepare them as the service does; blank images are left out.

    Returns:
        uint8 `[N, 28, 28]`, ink high.
    """
    rng = np.random.default_rng(SEED)
    prepared = []
    for _ in range(NONDIGITS_PER_KIND):
        try:
            upload = decode(NONDIGITS[kind](rng), max_pixels=MAX_PIXELS)
            prepared.append(prepare(upload).pixels)
        except BlankImageError:
            continue
    return np.stack(prepared)


def auroc(digits: NDArray[np.floating], others: NDArray[np.floating]) -> float:
    """Return the probability that a digit has a higher score than another image."""
    ranks = np.concatenate([digits, others]).argsort().argsort() + 1
    count = len(digits)
    above = ranks[:count].sum() - count * (count + 1) / 2
    return float(above / (count * len(others)))
