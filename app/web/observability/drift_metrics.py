"""Counts the scores and kinds of images, and shows what the model scored on held-out digits.

docs/reliability.md, "Drift", says how the two are compared. Scores are counted in plain lists, and
published once a second: to write to the shared metrics at once would take 1 % of a request.
"""

import math
import threading
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from typing import get_args

import numpy as np

from app.bundle import Metadata
from app.held_out import HeldOutAnswers
from app.imaging.passthrough import SIDE
from app.predictions import InputSummary
from app.verdict import Verdict, judge
from app.web.observability.instruments import Instruments
from app.web.observability.metric_definitions import (
    CONFIDENCE,
    HELD_OUT_CONFIDENCES,
    HELD_OUT_SCORES,
    HELD_OUT_VERDICTS,
    INPUTS,
    SCORE,
    InputKind,
)

_BOUNDS = [*map(float, SCORE.buckets), math.inf]
_MAX_SCORE = 1e9  # a larger one, or NaN, would spoil the sum of all


@lru_cache(maxsize=256)
def _input_kind(summary: InputSummary) -> InputKind:
    if summary.format == "pixels":
        return "pixels"
    return "28x28" if summary.width == summary.height == SIDE else "image"


class DriftMetrics:
    """The scores and kinds of images, and the held-out answers of the models."""

    def __init__(self, instruments: Instruments) -> None:
        """Start at zero."""
        self._inputs, score = instruments.counter(INPUTS), instruments.histogram(SCORE)
        self._held_out_scores, self._held_out_confidences, self._held_out_verdicts = (
            instruments.gauge(each, "livemax")
            for each in (HELD_OUT_SCORES, HELD_OUT_CONFIDENCES, HELD_OUT_VERDICTS)
        )
        self._score = score
        # By model and kind of image: how many scores are in each bucket, and their sum. Only `add`
        # changes them, on the event loop; `_published` is what was in them at the last `publish`.
        self._scores: dict[tuple[str, InputKind], list[float]] = {}
        self._published: dict[tuple[str, InputKind], list[float]] = {}
        self._publishing = threading.Lock()

    def add(self, model: str, scores: Sequence[float], summaries: Sequence[InputSummary]) -> None:
        """Count the scores of some images; `publish` shows them."""
        for score, summary in zip(scores, summaries, strict=True):
            key = model, _input_kind(summary)
            counts = self._scores.get(key)
            if counts is None:
                counts = self._scores[key] = [0] * (len(_BOUNDS) + 1)
            counts[bisect_left(_BOUNDS, score)] += 1
            if -_MAX_SCORE < score < _MAX_SCORE:
                counts[-1] += score

    def add_page(self, digits: int) -> None:
        """Count the digits of a page."""
        self._inputs.labels("page").inc(digits)

    def set_held_out(self, answers: HeldOutAnswers, metadata: Metadata) -> None:
        """Show a model's answers on held-out digits."""
        for gauge, bounds, values in (
            (self._held_out_scores, SCORE.buckets, answers.scores),
            (self._held_out_confidences, CONFIDENCE.buckets, answers.confidences),
        ):
            for bound in bounds:
                share = float(np.mean(values <= bound))
                gauge.labels(metadata.name, str(float(bound))).set(share)
        verdicts = judge(
            answers.scores.tolist(),
            answers.confidences.tolist(),
            not_a_digit_below=metadata.verdict.not_a_digit_below,
            unsure_below=metadata.verdict.unsure_below,
        )
        for verdict in get_args(Verdict):
            share = verdicts.count(verdict) / len(verdicts)
            self._held_out_verdicts.labels(metadata.name, verdict).set(share)

    def publish(self) -> None:
        """Add what was counted since the last time to the metrics."""
        with self._publishing:
            for key, current in list(self._scores.items()):
                counts = current.copy()
                before = self._published.get(key, [0] * len(counts))
                *added, total = (now - old for now, old in zip(counts, before, strict=True))
                self._published[key] = counts
                self._score.labels(*key).add(added, total)
                self._inputs.labels(key[1]).inc(sum(added))
