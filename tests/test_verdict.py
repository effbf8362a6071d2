"""Verdicts: digits are let through, other things are not."""

import numpy as np
import pytest

from app.errors import BlankImageError
from app.inference.model import Model
from app.recognise import Options, recognise
from app.verdict import energy, judge
from tests.conftest import Digits
from tests.forms import encode
from training.nondigits import NONDIGITS

# Share of each kind that must not be called a digit; docs/imaging.md has the measured shares. Rings
# and drawn faces come near a 0 or an 8, so less is asked of them.
REFUSED = {
    "latin letters": 0.95,
    "greek letters": 0.85,
    "shapes": 0.4,
    "faces": 0.25,
    "random walks": 0.9,
    "natural textures": 0.9,
}


def test_energy_is_log_sum_exp() -> None:
    """The score is the log-sum-exp of the logits, without overflow."""
    logits = np.array([[0.0, 1.0, 2.0], [1000.0, 0.0, 0.0]], np.float32)
    assert energy(logits) == pytest.approx([np.log(np.exp([0, 1, 2]).sum()), 1000.0])


@pytest.mark.parametrize(
    ("score", "confidence", "verdict"),
    [(1, 0.99, "not-a-digit"), (5, 0.6, "unsure"), (5, 0.99, "digit")],
)
def test_thresholds(score: float, confidence: float, verdict: str) -> None:
    """A low score is no digit, a low confidence unsure, whatever the other says."""
    assert judge([score], [confidence], not_a_digit_below=2, unsure_below=0.9) == [verdict]


def test_digits_are_let_through(classic: Model, digits: Digits) -> None:
    """Of 1,000 digits at most 1 in 100 is refused, and 95 in 100 are read for sure."""
    verdicts = [recognise(encode(image), classic, Options()).verdict for image in digits.images]
    assert verdicts.count("not-a-digit") <= 10
    assert verdicts.count("digit") >= 950


@pytest.mark.parametrize("kind", REFUSED)
def test_other_things_are_refused(classic: Model, kind: str) -> None:
    """Things that no training has shown are called not-a-digit or unsure, or blank."""
    rng, trusted = np.random.default_rng(3), 0
    for _ in range(60):
        try:
            verdict = recognise(NONDIGITS[kind](rng), classic, Options()).verdict
        except BlankImageError:
            continue
        trusted += verdict == "digit"
    assert 1 - trusted / 60 >= REFUSED[kind]


def test_every_kind_is_tested() -> None:
    """No kind of non-digit is left out."""
    assert set(REFUSED) == set(NONDIGITS)
