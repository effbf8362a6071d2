"""Chooses temperature and thresholds of an adapted network on a user's pictures and MNIST's digits.

The pictures are few: to have at most 0.15 % of the sure answers wrong by counting, one confident
misreading among 400 pictures would leave nearly no answer sure. So the wrong answers are estimated
from the calibrated confidences of all. Counts bound the estimate: it is as high as the number of
misread pictures allows, and is rejected where more sure answers are wrong than it makes likely.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from app.bundle import VerdictThresholds
from app.inference.runtime import Outputs
from app.verdict import energy
from training import calibrate
from training.calibrate import MAX_ACCEPTED, MAX_FALSE_REFUSALS, MAX_SURE_ERROR, MAX_SURE_OUTLIERS
from training.data import Labels

MIN_PICTURES = 200  # fewer do not show how confident misread ones are; then answers are counted
BOUND = 0.95  # level of the upper bound of the number of misread pictures (one-sided)
MIN_P_VALUE = 0.05  # of so many wrong answers, if the estimate is right; below, it is rejected


@dataclass(frozen=True)
class Calibrating:
    """Logits of the user's pictures and of held-out digits; both count half.

    Attributes:
        logits: float32 `[N, classes]`, those of the pictures first; they come from networks that
            have not learned them.
        labels: `[N]`.
        pictures: Number of pictures, at least 1.
    """

    logits: NDArray[np.float32]
    labels: Labels
    pictures: int

    @property
    def weights(self) -> NDArray[np.float64]:
        """Return the weight of each picture and digit, `[N]`; their sum is 1."""
        digits = len(self.labels) - self.pictures
        each = [0.5 / self.pictures, 0.5 / max(1, digits)]
        return np.repeat(each, (self.pictures, digits))

    @property
    def temperature(self) -> float:
        """Return the temperature that fits."""
        return calibrate.fit_temperature([self.logits], self.labels, self.weights)

    def outputs(self, temperature: float) -> Outputs:
        """Return the answers with a temperature."""
        logits = np.asarray(self.logits / temperature, np.float32)
        probabilities = np.asarray(special.softmax(logits, axis=1), np.float32)
        return Outputs(probabilities, logits, np.empty((len(logits), 0), np.float32))

    def choose_thresholds(
        self, temperature: float, outliers: Outputs, sure_before: float
    ) -> VerdictThresholds:
        """Choose the limits between `digit`, `unsure` and `not-a-digit`.

        Args:
            temperature: The temperature that fits.
            outliers: Answers of the calibrated network on images without a digit.
            sure_before: Share of these that the published network calls a digit.

        Returns:
            Thresholds as of `training.calibrate.choose_thresholds`, except that wrong answers are
            estimated, and that as many outliers may be called a digit as before: a network that has
            never learned them cannot refuse them. With fewer than `MIN_PICTURES`, they are as of
            that function, on the pictures and as many digits.
        """
        outputs, weights = self.outputs(temperature), self.weights
        if self.pictures < MIN_PICTURES:
            few = slice(2 * self.pictures)
            counted = Outputs(*(values[few] for values in vars(outputs).values()))
            return calibrate.choose_thresholds(counted, self.labels[few], outliers)
        scores = energy(outputs.logits)
        floor = min(
            _quantile(scores, weights, MAX_FALSE_REFUSALS),
            float(np.quantile(energy(outliers.logits), 1 - MAX_ACCEPTED)),
        )
        unsure = max(
            0.5,
            self._sure_from(outputs, scores >= floor),
            calibrate.above_outliers(outliers, floor, max(MAX_SURE_OUTLIERS, sure_before)),
        )
        return VerdictThresholds(
            not_a_digit_below=floor,
            unsure_below=unsure,
            false_refusals=float(weights[scores < floor].sum()),
        )

    def _sure_from(self, outputs: Outputs, is_accepted: NDArray[np.bool_]) -> float:
        """Return the lowest confidence above which few enough answers are wrong.

        The mean of what the calibrated confidences lack to 1 estimates the share of wrong answers;
        it may be `MAX_SURE_ERROR`. For pictures it is raised by the factor by which the upper bound
        of their number of wrong answers (Poisson) exceeds the number that it estimates. Neither of
        the pictures nor of the digits may so many sure answers be wrong that `MAX_SURE_ERROR` is
        unlikely, by a binomial test.
        """
        confidence = outputs.probabilities.max(axis=1)
        is_wrong = outputs.probabilities.argmax(axis=1) != self.labels
        doubt, own = 1 - confidence.astype(np.float64), slice(self.pictures)
        bound = stats.chi2.ppf(BOUND, 2 * (is_wrong[own].sum() + 1)) / 2
        doubt[own] *= max(1, bound / max(doubt[own].sum(), 1e-9))
        order = np.argsort(-confidence, kind="stable")
        order = order[is_accepted[order]]
        weights = self.weights[order]
        estimated = np.cumsum(weights * np.minimum(doubt[order], 1)) / np.cumsum(weights)
        within = estimated <= MAX_SURE_ERROR
        for is_own in (order < self.pictures, order >= self.pictures):
            wrong, sure = np.cumsum(is_wrong[order] & is_own), np.cumsum(is_own)
            within &= stats.binom.sf(wrong - 1, sure, MAX_SURE_ERROR) >= MIN_P_VALUE
        rows = np.flatnonzero(within)
        return float(confidence[order[rows[-1]]]) if len(rows) else 1.0


def _quantile(values: NDArray[np.float64], weights: NDArray[np.float64], share: float) -> float:
    """Return the largest value below which at most a share of the weight lies."""
    order = np.argsort(values)
    below = np.cumsum(weights[order]) - weights[order]
    return float(values[order][np.flatnonzero(below <= share)[-1]])
