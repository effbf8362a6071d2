"""Finds the range of the pixels that a network was trained with.

Every candidate is tried on labelled digits, and the lowest negative log-likelihood wins. Accuracy
alone is not enough: a network without biases reads digits equally well at any scale, but its
probabilities fit at one scale only. Each digit is also moved by a pixel, because a network may
have learned the digits by heart, and then only mistakes tell how sure it should be. A candidate
that reads clearly fewer digits than another is out.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from app.bundle import DIGITS
from training.data import Split
from training.errors import ImportingError
from training.importing.adapter import Fit
from training.importing.classes import ClassOrder, find_order

MEAN, STD = 0.1307, 0.3081  # of MNIST's pixels, 0..1
SHIFT = 1  # pixel, down and left, by which the second copy of each digit is moved
# A rare candidate must be better by this many nats and by this share: a tolerant network reads
# digits almost equally well in several ranges.
MARGIN, RELATIVE_MARGIN = 0.02, 0.1
# A candidate that reads fewer digits than the best by more than this share is out: a network whose
# normalisation has not settled may be too sure at the right scale.
MAX_LOSS_OF_ACCURACY = 0.05
MIN_ACCURACY = 0.3  # of the digits as they are; below, no candidate is believed
MIN_LOG = -100.0  # nats; keeps a mean finite
MIN_DIGITS = 30
MAX_SECONDS = 4.0  # of all trials; a large network reads fewer digits

# Takes images [N, 28, 28, 1] as float32 0..255, a fit, a factor and an offset; returns [N, classes]
# logarithms of probabilities.
Answer = Callable[[NDArray[np.float32], Fit, float, float], NDArray[np.float32]]


@dataclass(frozen=True)
class Scale:
    """How pixels, 0..255 with high ink, become the numbers that a network expects.

    Attributes:
        name: Range of the numbers.
        factor: Factor of a pixel.
        offset: Added after that.
        rare: Whether it is less usual than 0..1.
    """

    name: str
    factor: float
    offset: float = 0.0
    rare: bool = False

    @property
    def limits(self) -> tuple[float, float]:
        """Return the smallest and the largest number that a pixel becomes."""
        ends = self.offset, 255 * self.factor + self.offset
        return min(ends), max(ends)


def standardised(mean: float, std: float, *, rare: bool = False) -> Scale:
    """Return the scale `(x / 255 - mean) / std`."""
    return Scale(f"{mean:g},{std:g}", 1 / (255 * std), -mean / std, rare)


UNIT, RAW = Scale("0..1", 1 / 255), Scale("0..255", 1.0, rare=True)
SIGNED = Scale("-1..1", 2 / 255, -1.0, rare=True)
INVERTED = Scale("inverted", -1 / 255, 1.0, rare=True)
CANDIDATES = (
    UNIT,
    RAW,
    SIGNED,
    standardised(MEAN, STD, rare=True),
    INVERTED,
    Scale("inverted 0..255", -1.0, 255.0, rare=True),
    Scale("inverted -1..1", -2 / 255, 1.0, rare=True),
)


@dataclass(frozen=True)
class Trial:
    """A candidate and how well it fits.

    Attributes:
        scale: The candidate.
        fit: How the image is brought to size.
        loss: Mean negative log-likelihood of the labels, nats.
        accuracy: Share of the digits, as they are, that are read right.
        order: Which class is which digit.
    """

    scale: Scale
    fit: Fit
    loss: float
    accuracy: float
    order: ClassOrder

    @property
    def rare(self) -> bool:
        """Tell whether few networks expect it."""
        return self.scale.rare

    @property
    def handicapped_loss(self) -> float:
        """Return the loss by which the trials are ordered."""
        return self.loss + self.rare * (RELATIVE_MARGIN * abs(self.loss) + MARGIN)


def parse_scale(text: str) -> Scale | None:
    """Return the scale that `--input` names; None for `auto`.

    Raises:
        ImportingError: There is no such scale.
    """
    if text == "auto":
        return None
    for scale in CANDIDATES:
        if text == scale.name:
            return scale
    try:
        mean, std = map(float, text.split(","))
        if std > 0 and abs(mean) < 1e3:
            return standardised(mean, std)
    except ValueError:
        pass
    raise ImportingError(
        f"--input {text}: expected auto, 0..255, 0..1, -1..1, inverted, or MEAN,STD such as"
        f" {MEAN},{STD}."
    )


def try_scales(
    answer: Answer,
    fits: Sequence[Fit],
    classes: int,
    digits: Split,
    scales: Sequence[Scale],
) -> list[Trial]:
    """Try every scale, and every way to bring the image to size, on labelled digits.

    Args:
        answer: The network.
        fits: How the image may be brought to size, the most usual way first.
        classes: Number of its classes.
        digits: Labelled digits; the first are used if the network is large.
        scales: The candidates.

    Returns:
        The trials, the best first.
    """
    count = _affordable(answer, digits, fits[0], runs=2 * len(scales) * len(fits))
    used = digits.take(np.arange(count))
    images = used.images.astype(np.float32)[..., None]
    moved = np.roll(images, (SHIFT, -SHIFT), axis=(1, 2))
    both, labels = np.concatenate([images, moved]), np.concatenate([used.labels, used.labels])
    trials = []
    for fit in fits:
        for scale in scales:
            logs = answer(both, fit, scale.factor, scale.offset)
            logs = np.nan_to_num(np.maximum(logs, MIN_LOG), nan=MIN_LOG)
            order = find_order(logs[:count], labels[:count], classes)
            loss, accuracy = order.measure(logs, labels, count)
            is_rare = scale.rare or fit != fits[0]
            shown = Scale(scale.name, scale.factor, scale.offset, is_rare)
            trials.append(Trial(shown, fit, loss, accuracy, order))
    needed = max(trial.accuracy for trial in trials) - MAX_LOSS_OF_ACCURACY
    if classes < len(DIGITS):
        needed = 0.0  # which class is right is not known
    return sorted(trials, key=lambda trial: (trial.accuracy < needed, trial.handicapped_loss))


def _affordable(answer: Answer, digits: Split, fit: Fit, *, runs: int) -> int:
    """Return how many digits can be read `runs` times in some seconds."""
    images = digits.images[:MIN_DIGITS].astype(np.float32)[..., None]
    began = time.perf_counter()
    answer(images, fit, 1.0, 0.0)
    seconds = (time.perf_counter() - began) / len(images)
    return int(np.clip(MAX_SECONDS / (seconds * runs), MIN_DIGITS, len(digits)))


def log_probabilities(scores: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Return the logarithms of the probabilities of a head's scores, `[N, classes]`."""
    values = scores.astype(np.float64)
    if kind == "probabilities":
        return np.log(np.maximum(values, np.exp(MIN_LOG))).astype(np.float32)
    if kind == "sigmoid":
        values = -np.logaddexp(0, -values)
    with np.errstate(invalid="ignore"):
        return np.asarray(special.log_softmax(values, axis=1), np.float32)
