"""Verdicts: digits are accepted, other images are refused."""

import numpy as np
import pytest

from app.errors import BlankImageError
from app.inference.model import Model
from app.recognise import Options, recognise
from app.verdict import (
    FALLBACK_LEAD,
    FALLBACK_MARGIN,
    VIEW_AGREEMENT,
    VIEW_LEAD,
    VIEW_MARGINS,
    choose,
    choose_view,
    energy,
    judge,
)
from tests.conftest import Digits
from tests.forms import encode
from training.nondigits import NONDIGITS

# Smallest share of each kind that must not get the verdict `digit`; see docs/imaging.md for the
# measured shares. Rings and faces resemble a 0 or an 8, so their bounds are lower.
MIN_REFUSED = {
    "latin letters": 0.95,
    "greek letters": 0.85,
    "shapes": 0.35,
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
def test_thresholds_give_the_verdict(score: float, confidence: float, verdict: str) -> None:
    """A low score gives `not-a-digit`, else a low confidence gives `unsure`."""
    assert judge([score], [confidence], not_a_digit_below=2, unsure_below=0.9) == [verdict]


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ((2.4 + FALLBACK_LEAD, 2.5, 1.0), 1),  # not refused, and not far behind
        ((2.6 + FALLBACK_LEAD, 2.5, 1.0), 0),  # far behind
        ((2.0 + FALLBACK_LEAD / 2, 2.5, 1.0), 1),
        ((2.0 + FALLBACK_MARGIN, 1.9, 1.0), 0),  # refused, and the fallback clears the threshold
        ((1.99 + FALLBACK_MARGIN, 1.0, 1.9), 2),  # refused, but the fallback is hardly better
    ],
)
def test_fallback_counts_only_if_the_others_are_far_behind(
    scores: tuple[float, ...], chosen: int
) -> None:
    """A fallback must clear the threshold and lead; other images keep their best candidate."""
    before, after = (1.0, 5.0), (9.0,)
    every, sure = np.array([*before, *scores, *after]), np.ones(6, np.float32)
    assert choose(every, sure, (2, 3, 1), [2], not_a_digit_below=2) == [1, 2 + chosen, 5]
    best = 2 + int(np.argmax(scores))
    assert choose(every, sure, (2, 3, 1), [], not_a_digit_below=2) == [1, best, 5]


def test_the_largest_logit_decides_between_refused_candidates() -> None:
    """A score that comes from ten equal logits does not beat a lower one from a single digit."""
    scores, confidences = np.array([np.log(10), 2.0]), np.array([0.1, 0.9], np.float32)
    assert choose(scores, confidences, (2,), [], not_a_digit_below=2.5) == [1]
    assert choose(scores, confidences, (2,), [], not_a_digit_below=1.5) == [0]


BELOW = 2.0  # the threshold of the examples of views
CLEAR = BELOW + VIEW_MARGINS["turned"]


@pytest.mark.parametrize(
    ("score", "views", "chosen"),
    [
        (BELOW, [("turned", CLEAR - 0.1, 3)], None),  # too close to the threshold
        (BELOW, [("narrowed", CLEAR - 0.1, 3)], (0, True)),  # a scan needs less
        (BELOW, [("turned", CLEAR, 3), ("upright", CLEAR + 0.1, 3)], (1, True)),
        (CLEAR, [("turned", CLEAR + VIEW_LEAD - 0.1, 3)], None),  # hardly better than the image
        (CLEAR, [("turned", CLEAR + VIEW_LEAD + 0.1, 3)], (0, True)),
        (CLEAR, [("turned", CLEAR + VIEW_LEAD + 0.1, 8)], (0, False)),  # the image shows a 3
        (BELOW, [("turned", CLEAR, 3), ("upright", CLEAR - VIEW_AGREEMENT + 0.1, 5)], (0, False)),
        (BELOW, [("turned", CLEAR, 3), ("upright", CLEAR - VIEW_AGREEMENT - 0.1, 5)], (0, True)),
    ],
)
def test_view_counts_if_it_is_clearly_better(
    score: float, views: list[tuple[str, float, int]], chosen: tuple[int, bool] | None
) -> None:
    """A view must clear the threshold and lead; it is sure if no other digit is close behind."""
    assert choose_view(score, 3, 0.9, views, BELOW) == chosen


def test_view_makes_no_refused_or_torn_image_sure() -> None:
    """An image that is refused, or may be two digits, is unsure in every view."""
    views = [("turned", CLEAR + VIEW_LEAD + 1, 3)]
    assert choose_view(BELOW + 0.5, 3, 0.75, views, BELOW) == (0, True)
    assert choose_view(BELOW + 0.5, 3, 0.55, views, BELOW) == (0, False)
    assert choose_view(BELOW - 0.5, 3, 0.75, views, BELOW) == (0, False)


@pytest.mark.slow
def test_digits_are_accepted(classic: Model, digits: Digits) -> None:
    """Of 1,000 digits at most 1 % get `not-a-digit`, and at least 95 % get `digit`."""
    verdicts = [recognise(encode(image), classic, Options()).verdict for image in digits.images]
    assert verdicts.count("not-a-digit") <= 10
    assert verdicts.count("digit") >= 950


@pytest.mark.slow
@pytest.mark.parametrize("kind", MIN_REFUSED)
def test_other_images_are_refused(classic: Model, kind: str) -> None:
    """Images of kinds that no training has shown are `not-a-digit`, `unsure` or blank."""
    rng, trusted = np.random.default_rng(3), 0
    for _ in range(60):
        try:
            verdict = recognise(NONDIGITS[kind](rng), classic, Options()).verdict
        except BlankImageError:
            continue
        trusted += verdict == "digit"
    assert 1 - trusted / 60 >= MIN_REFUSED[kind]


def test_every_kind_has_a_bound() -> None:
    """Every kind of non-digit image is tested."""
    assert set(MIN_REFUSED) == set(NONDIGITS)
