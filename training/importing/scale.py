"""Finds the range of the pixels that a network was trained with.

Every candidate is tried on labelled digits, and the lowest negative log-likelihood wins. Accuracy
alone is not enough: a network without biases reads digits equally well at any scale, but its
probabilities fit at one scale only. Each digit is also moved by a pixel, because a network may
have learned the digits by heart, and then only mistakes tell how sure it should be. A candidate
that reads clearly fewer digits than another is out: scores that are no logits say little by their
likelihood.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from training.data import Split
from training.errors import ImportingError
from training.importing.adapter import Fit
from training.importing.classes import ClassOrder, find_order

MEAN, STD = 0.1307, 0.3081  # of MNIST's pixels, 0..1
SHIFT = 1  # pixel, down and left, by which the second copy of each digit is moved
# A rarer candidate must be better by this many nats and by this share, for each step of rarity: a
# tolerant network reads digits almost equally well in several ranges.
MARGIN, RELATIVE_MARGIN = 0.02, 0.1
# A candidate that reads fewer digits than the best by more than this share is out: a network whose
# normalisation has not settled may be too sure at the right scale.
MAX_LOSS_OF_ACCURACY = 0.03
MAX_LOST_DIGITS = 2  # that few are no clear loss, however few were read
MIN_ACCURACY = 0.3  # of the digits as they are; below, no candidate is believed
GOOD_ACCURACY = 0.8  # below, the user is warned
MIN_LOG = -100.0  # nats; keeps a mean finite
MIN_DIGITS = 30
# Of all trials; a large network reads fewer digits. The load of the machine must not decide.
MAX_PRODUCTS = 2e10  # multiplications
MAX_SECONDS = 4.0  # of the processor, where the multiplications are not known

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
        rarity: 0 for the most usual range, 2 for the least usual ones.
    """

    name: str
    factor: float
    offset: float = 0.0
    rarity: int = 0

    @property
    def limits(self) -> tuple[float, float]:
        """Return the smallest and the largest number that a pixel becomes."""
        ends = self.offset, 255 * self.factor + self.offset
        return min(ends), max(ends)


def standardised(mean: float, std: float, rarity: int = 0) -> Scale:
    """Return the scale `(x / 255 - mean) / std`; a negative deviation inverts."""
    return Scale(f"{mean:g},{std:g}", 1 / (255 * std), -mean / std, rarity)


def inverted_standardised(mean: float, std: float, rarity: int = 0) -> Scale:
    """Return the scale `(1 - x / 255 - mean) / std`."""
    return Scale(f"inverted {mean:g},{std:g}", -1 / (255 * std), (1 - mean) / std, rarity)


UNIT, RAW = Scale("0..1", 1 / 255), Scale("0..255", 1.0, rarity=1)
SIGNED = Scale("-1..1", 2 / 255, -1.0, rarity=1)
INVERTED = Scale("inverted", -1 / 255, 1.0, rarity=1)
CANDIDATES = (
    UNIT,
    RAW,
    SIGNED,
    standardised(MEAN, STD, rarity=1),
    INVERTED,
    Scale("inverted 0..255", -1.0, 255.0, rarity=2),
    Scale("inverted -1..1", -2 / 255, 1.0, rarity=2),
    inverted_standardised(MEAN, STD, rarity=2),
    inverted_standardised(1 - MEAN, STD, rarity=2),  # the mean of inverted pixels
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
        digits: Number of digits that were read.
    """

    scale: Scale
    fit: Fit
    loss: float
    accuracy: float
    order: ClassOrder
    digits: int

    @property
    def handicapped_loss(self) -> float:
        """Return the loss by which the trials are ordered."""
        return self.loss + self.scale.rarity * (RELATIVE_MARGIN * abs(self.loss) + MARGIN)


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
    numbers = text.removeprefix("inverted ")
    make = standardised if numbers == text else inverted_standardised
    try:
        mean, std = map(float, numbers.split(","))
        if 1e-6 < abs(std) < 1e6 and abs(mean) < 1e3:
            return make(mean, std)
    except ValueError:
        pass
    raise ImportingError(
        f"--input {text}: expected auto, 0..255, 0..1, -1..1, inverted, MEAN,STD such as"
        f" {MEAN},{STD}, or 'inverted MEAN,STD'."
    )


def try_scales(
    answer: Answer,
    fits: Sequence[Fit],
    classes: int,
    digits: Split,
    scales: Sequence[Scale],
    *,
    order: ClassOrder | None = None,
    are_digits: bool = True,
    products: int = 0,
) -> list[Trial]:
    """Try every scale, and every way to bring the image to size, on labelled digits.

    Args:
        answer: The network.
        fits: How the image may be brought to size, the most usual way first.
        classes: Number of its classes.
        digits: Labelled digits; the first are used if the network is large.
        scales: The candidates.
        order: Which class is which digit, if it is known.
        are_digits: Whether ten of the classes are the digits.
        products: Multiplications for one image; 0 if they are not known.

    Returns:
        The trials, the best first.
    """
    runs = 2 * len(scales) * len(fits)
    count = _affordable(answer, digits, fits[0], runs, products)
    used = digits.take(np.arange(count))
    images = used.images.astype(np.float32)[..., None]
    moved = np.roll(images, (SHIFT, -SHIFT), axis=(1, 2))
    both, labels = np.concatenate([images, moved]), np.concatenate([used.labels, used.labels])
    trials = []
    for fit in fits:
        for scale in scales:
            logs = answer(both, fit, scale.factor, scale.offset)
            logs = np.nan_to_num(np.maximum(logs, MIN_LOG), nan=MIN_LOG)
            found = order or find_order(logs[:count], labels[:count], classes, are_digits)
            loss, accuracy = found.measure(logs, labels, count)
            shown = replace(scale, rarity=scale.rarity + (fit != fits[0]))
            trials.append(Trial(shown, fit, loss, accuracy, found, count))
    return rank(trials)


def rank(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials, the best first."""
    most = max(trial.accuracy for trial in trials)
    needed = most - max(MAX_LOSS_OF_ACCURACY, MAX_LOST_DIGITS / trials[0].digits)
    if not trials[0].order.are_digits:
        needed = 0.0  # which class is right is not known
    return sorted(trials, key=lambda trial: (trial.accuracy < needed, trial.handicapped_loss))


def _affordable(answer: Answer, digits: Split, fit: Fit, runs: int, products: int) -> int:
    """Return how many digits can be read `runs` times."""
    if products:
        return int(np.clip(MAX_PRODUCTS / (products * runs), MIN_DIGITS, len(digits)))
    images = digits.images[:MIN_DIGITS].astype(np.float32)[..., None]
    began = time.process_time()
    answer(images, fit, 1.0, 0.0)
    seconds = (time.process_time() - began) / len(images)
    return int(np.clip(MAX_SECONDS / max(seconds * runs, 1e-9), MIN_DIGITS, len(digits)))


def log_probabilities(scores: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Return the logarithms of the probabilities of a head's scores, `[N, classes]`."""
    values = scores.astype(np.float64)
    if kind == "probabilities":
        return np.log(np.maximum(values, np.exp(MIN_LOG))).astype(np.float32)
    if kind == "sigmoid":
        values = -np.logaddexp(0, -values)
    with np.errstate(invalid="ignore"):
        return np.asarray(special.log_softmax(values, axis=1), np.float32)
