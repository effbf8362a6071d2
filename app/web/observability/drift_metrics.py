"""Counts the scores and kinds of images, and shows what the model scored on held-out digits.

docs/reliability.md, "Drift", says how the two are compared. Scores are counted for many requests
together: that takes half a microsecond each, and up to three one by one.
"""

import math
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
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

MAX_CACHED_SCORES = 64  # combinations of model and kind of image
MAX_UNCOUNTED = 64  # requests whose scores are counted together


# Of some images: the model, their scores, and the properties of the uploads.
_Scores = tuple[str, Sequence[float], Sequence[InputSummary]]


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
        self._uncounted = deque[_Scores]()
        self._counting = threading.Lock()  # held while these are counted
        self._score = lru_cache(maxsize=MAX_CACHED_SCORES)(score.labels)

    def add(self, model: str, scores: Sequence[float], summaries: Sequence[InputSummary]) -> None:
        """Take the scores of some images; they are counted at the latest by `count`."""
        self._uncounted.append((model, scores, summaries))
        if len(self._uncounted) >= MAX_UNCOUNTED:
            self.count()

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

    def count(self) -> None:
        """Count the scores that were taken, and the kinds of their images."""
        with self._counting:
            scores: dict[tuple[str, InputKind], list[float]] = {}
            with suppress(IndexError):
                while True:
                    model, values, summaries = self._uncounted.popleft()
                    for value, summary in zip(values, summaries, strict=True):
                        scores.setdefault((model, _input_kind(summary)), []).append(value)
            for (model, kind), values in scores.items():
                self._inputs.labels(kind).inc(len(values))
                self._score(model, kind).observe_all(list(filter(math.isfinite, values)))
