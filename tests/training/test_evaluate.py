"""Figures: intervals, calibration, evaluation, thresholds."""

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from typer.testing import CliRunner

from app.bundle import open_bundle
from app.evaluation.statistics import expected_calibration_error
from app.inference.runtime import Outputs
from app.settings import REPOSITORY
from digitscope import command
from training.calibrate import choose_thresholds, fit_temperature
from training.card import percent
from training.data import Split
from training.evaluate import (
    clopper_pearson,
    evaluate,
    mcnemar,
    microseconds_per_image,
    reliability,
)
from training.table import markdown, row


class Answering:
    """A runtime that returns prepared probabilities for any images."""

    def __init__(self, probabilities: np.ndarray) -> None:
        """Store `[N, 10]` probabilities to return."""
        self.probabilities = probabilities.astype(np.float32)

    def predict(self, images: np.ndarray) -> Outputs:
        """Return as many rows as there are images."""
        logits = np.log(np.maximum(self.probabilities, 1e-30))
        return Outputs(self.probabilities[: len(images)], logits, logits)


@pytest.mark.parametrize(("errors", "count"), [(0, 10), (10, 10), (3, 1000), (30, 10_000)])
def test_interval_against_scipy(errors: int, count: int) -> None:
    """The interval equals SciPy's exact one."""
    expected = stats.binomtest(errors, count).proportion_ci(0.95, method="exact")
    interval = clopper_pearson(errors, count)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_evaluation_counts(train_digits: Split) -> None:
    """Errors, confusion and the list of misread digits agree with the predictions."""
    probabilities = np.full((500, 10), 0.02)
    probabilities[np.arange(500), train_digits.labels] = 0.82
    probabilities[[7, 300]] = 0.02
    probabilities[[7, 300], (train_digits.labels[[7, 300]] + 1) % 10] = 0.82
    evaluation = evaluate(Answering(probabilities), train_digits, "validation")
    assert (evaluation.errors, evaluation.error_rate) == (2, 2 / 500)
    assert [miss.index for miss in evaluation.misread] == [7, 300]
    assert [miss.label for miss in evaluation.misread] == train_digits.labels[[7, 300]].tolist()
    assert np.trace(evaluation.confusion) == 498
    expected = -(498 * np.log(0.82) + 2 * np.log(0.02)) / 500
    assert evaluation.negative_log_likelihood == pytest.approx(expected)


def test_calibration_error_of_known_answers() -> None:
    """90 % right at 95 % confidence is an error of 0.05; matching confidence is an error of 0."""
    probabilities = np.full((1000, 10), 0.05 / 9)
    probabilities[:, 0] = 0.95
    labels = np.repeat([0, 1], [900, 100]).astype(np.uint8)
    assert expected_calibration_error(reliability(probabilities, labels)) == pytest.approx(
        0.05, abs=1e-6
    )
    labels = np.repeat([0, 1], [950, 50]).astype(np.uint8)
    assert expected_calibration_error(reliability(probabilities, labels)) == pytest.approx(
        0, abs=1e-6
    )


def test_temperature_undoes_a_known_one() -> None:
    """Calibrated logits multiplied by 3 need a temperature of 3."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (20_000, 10))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1).astype(np.uint8)
    assert fit_temperature([(3 * logits).astype(np.float32)], labels) == pytest.approx(3, rel=0.05)


def test_thresholds_keep_their_promises() -> None:
    """Few held-out digits are refused, and nearly all sure answers are right."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 10, 5000).astype(np.uint8)
    logits = rng.normal(0, 2, (5000, 10))
    logits[np.arange(5000), labels] += 9
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    outputs = Outputs(chances.astype(np.float32), logits.astype(np.float32), logits)
    chosen = choose_thresholds(outputs, labels)
    assert 0.0015 < chosen.false_refusals <= 0.002
    sure = chances.max(axis=1) >= chosen.unsure_below
    assert (chances.argmax(axis=1) != labels)[sure].mean() <= 0.0015
    assert sure.mean() > 0.5


def test_outliers_lower_the_score_that_is_needed_and_raise_the_confidence() -> None:
    """Outliers that score low let hands pass that score lower than MNIST; few become digits."""
    labels = np.repeat(np.arange(10, dtype=np.uint8), 100)
    logits = np.where(np.arange(10) == labels[:, None], 9.0, 0.0).astype(np.float32)
    logits += np.linspace(0, 1, 1000, dtype=np.float32)[:, None]
    digits = _outputs(logits)
    alone = choose_thresholds(digits, labels)
    far = np.full((1000, 10), -9, np.float32)
    far[:4] = 20  # 0.4 % that score like digits; nothing tells which digit
    lower = choose_thresholds(digits, labels, _outputs(far))
    assert lower.not_a_digit_below == pytest.approx(-9 + np.log(10), abs=1e-5)
    assert alone.false_refusals > lower.false_refusals == 0
    near = np.full((1000, 10), 20, np.float32)
    some = choose_thresholds(digits, labels, _outputs(near))
    assert some.not_a_digit_below == pytest.approx(alone.not_a_digit_below)
    near[:10, 0] += 30  # 1 % are surely a digit
    assert choose_thresholds(digits, labels, _outputs(near)).unsure_below == some.unsure_below
    near[:11, 0] += 30
    assert choose_thresholds(digits, labels, _outputs(near)).unsure_below > some.unsure_below


def _outputs(logits: NDArray[np.float32]) -> Outputs:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Outputs(powers / powers.sum(axis=1, keepdims=True), logits, logits)


def test_mcnemar_by_hand(train_digits: Split) -> None:
    """Digits that both models misread do not count; one against five has p = 2 * 7 / 64."""
    right = np.eye(10, dtype=np.float32)[train_digits.labels]
    wrong = np.roll(right, 1, axis=1)
    first, second = right.copy(), right.copy()
    first[[0, 1, 2]] = wrong[[0, 1, 2]]
    second[[1, 2, 3, 4, 5, 6, 7]] = wrong[[1, 2, 3, 4, 5, 6, 7]]
    ours, theirs = (evaluate(Answering(p), train_digits, "test") for p in (first, second))
    assert mcnemar(ours, theirs) == (1, 5, pytest.approx(14 / 64))
    assert mcnemar(ours, ours) == (0, 0, 1.0)


def test_time_of_an_image() -> None:
    """The time per image is measured with one image per call."""
    shown = []

    class Waiting(Answering):
        def predict(self, images: np.ndarray) -> Outputs:
            shown.append(images.shape)
            time.sleep(0.002)
            return super().predict(images)

    probabilities = np.full((1, 10), 0.1)
    assert microseconds_per_image(Waiting(probabilities), calls=5) >= 2000
    assert shown == [(1, 28, 28)] * 5


def test_table_of_models() -> None:
    """A model's row has its size, its time and the errors of its card."""
    metadata = open_bundle(REPOSITORY / "model" / "classic").metadata
    assert metadata.test is not None
    lines = markdown([row(metadata, metadata.validation, metadata.test, 412.4)]).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    cells = lines[2].split(" | ")
    errors = metadata.test.errors
    assert cells[:4] == ["| classic", f"{metadata.parameters:,}", "14.9 M", "412"]
    assert cells[6] == f"{errors} ({percent(errors / 10_000)})"


@pytest.mark.parametrize("option", [[], ["--all"]])
def test_evaluate_refuses_other_data(sample_path: Path, option: list[str]) -> None:
    """The command states what is wrong with the data, and ends with 1."""
    result = CliRunner().invoke(command, ["evaluate", *option, "--data", str(sample_path)])
    assert result.exit_code == 1
    assert "expected 60000 digits" in result.stderr
