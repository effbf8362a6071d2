"""Thresholds of an adapted network: many answers stay sure, and few of these are wrong."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from app.bundle import VerdictThresholds
from app.inference.runtime import Outputs
from training import calibrate
from training.adapting.calibration import Calibrating
from training.adapting.sureness import are_sure
from training.calibrate import MAX_FALSE_REFUSALS, MAX_SURE_ERROR
from training.data import Labels

PICTURES, DIGITS = 400, 5000
Logits = NDArray[np.float32]


def _draw(count: int, rng: np.random.Generator) -> tuple[Logits, Labels]:
    """Return logits that are calibrated: labels occur as often as the probabilities say."""
    logits = rng.normal(0, 1.5, (count, 10))
    logits[np.arange(count), rng.integers(10, size=count)] += rng.uniform(4, 16, count)
    chances = special.softmax(logits, axis=1)
    labels = (chances.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return logits.astype(np.float32), labels.astype(np.uint8)


def _calibrating(rng: np.random.Generator, misread: int) -> Calibrating:
    """Return calibrated answers of which some, surely read pictures, have another label."""
    logits, labels = _draw(PICTURES + DIGITS, rng)
    surest = np.argsort(-special.softmax(logits[:PICTURES], axis=1).max(axis=1))[:misread]
    labels[surest] = (logits[surest].argmax(axis=1) + 1) % 10
    return Calibrating(logits, labels, PICTURES)


def _outputs(logits: Logits) -> Outputs:
    return Outputs(special.softmax(logits, axis=1), logits, logits[:, :0])


NOTHING = _outputs(np.zeros((1000, 10), np.float32))  # outliers of which none looks like a digit


def _share_sure(logits: Logits, thresholds: VerdictThresholds) -> float:
    return float(are_sure(logits, thresholds).mean())


@pytest.mark.parametrize("seed", range(3))
def test_one_sure_misreading_leaves_answers_sure(seed: int) -> None:
    """By counting, it leaves next to none; the estimate keeps its promise on fresh answers."""
    rng = np.random.default_rng(seed)
    found = _calibrating(rng, misread=1)
    chosen = found.choose_thresholds(1.0, NOTHING, 0)
    rows = slice(2 * PICTURES)  # as many digits as pictures
    counted = calibrate.choose_thresholds(_outputs(found.logits[rows]), found.labels[rows])
    logits, labels = _draw(50_000, rng)
    assert _share_sure(logits, counted) < 0.1
    assert _share_sure(logits, chosen) > 0.5
    sure = are_sure(logits, chosen)
    assert (logits.argmax(axis=1) != labels)[sure].mean() < 1.3 * MAX_SURE_ERROR
    assert chosen.false_refusals <= MAX_FALSE_REFUSALS + 1e-9


def test_many_sure_misreadings_leave_none_sure() -> None:
    """If counting contradicts the estimate, such as for wrong labels, fewer answers are sure."""
    found = _calibrating(np.random.default_rng(0), misread=20)
    chosen = found.choose_thresholds(1.0, NOTHING, 0)
    assert _share_sure(found.logits[:PICTURES], chosen) < 0.05


def test_few_pictures_are_counted() -> None:
    """Fewer than 200 do not show how confident misread ones are: the thresholds are as counted."""
    rng = np.random.default_rng(0)
    logits, labels = _draw(100 + DIGITS, rng)
    chosen = Calibrating(logits, labels, 100).choose_thresholds(1.0, NOTHING, 0)
    assert chosen == calibrate.choose_thresholds(_outputs(logits[:200]), labels[:200], NOTHING)


def test_more_misread_pictures_need_a_higher_confidence() -> None:
    """The estimate for pictures follows the upper bound of how many are misread."""
    found = _calibrating(np.random.default_rng(0), misread=0)
    doubtful = np.argsort(special.softmax(found.logits[:PICTURES], axis=1).max(axis=1))[:60]
    labels = found.labels.copy()
    labels[doubtful] = (found.logits[doubtful].argmax(axis=1) + 1) % 10
    more = Calibrating(found.logits, labels, PICTURES).choose_thresholds(1.0, NOTHING, 0)
    assert more.unsure_below > found.choose_thresholds(1.0, NOTHING, 0).unsure_below


def test_pictures_count_as_much_as_all_digits() -> None:
    """Overconfident pictures raise the temperature, although they are few."""
    rng = np.random.default_rng(0)
    (own, labels), (digits, others) = _draw(PICTURES, rng), _draw(DIGITS, rng)
    found = Calibrating(
        np.concatenate([4 * own, digits]), np.concatenate([labels, others]), PICTURES
    )
    assert found.weights[:PICTURES].sum() == pytest.approx(0.5)
    assert found.temperature > calibrate.fit_temperature([found.logits], found.labels) + 0.1


def test_outliers_are_refused_as_before() -> None:
    """As many outliers may be called a digit as the published network calls so."""
    found = _calibrating(np.random.default_rng(0), misread=0)
    strange = np.zeros((1000, 10), np.float32)
    strange[:40, 0] = 10  # 4 % that look like zeros, with a confidence of 0.9996
    like_before, stricter = (
        found.choose_thresholds(1.0, _outputs(strange), share) for share in (0.04, 0)
    )
    assert _share_sure(strange, like_before) == 0.04
    assert _share_sure(found.logits, like_before) > _share_sure(found.logits, stricter) + 0.05
    assert _share_sure(strange, stricter) <= 0.001


def test_all_held_out_digits_may_be_among_the_pictures() -> None:
    """Then the pictures alone decide."""
    logits, labels = _draw(PICTURES, np.random.default_rng(0))
    found = Calibrating(logits, labels, PICTURES)
    assert 0.5 < found.temperature < 2
    assert _share_sure(logits, found.choose_thresholds(1.0, NOTHING, 0)) > 0.3
