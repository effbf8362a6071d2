"""Runs the candidates of images through a network, and selects the one that counts for each image.

An image that the network is not sure of is looked at again in other views. Knows candidates and
models; knows nothing of files or HTTP.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.cancellation import check_cancelled
from app.imaging.stages import NetworkInput
from app.imaging.views import View, make_views
from app.inference.model import Model
from app.inference.runtime import Outputs, Pixels
from app.predictions import Predictions
from app.verdict import Verdict, choose, choose_view, energy, judge


@dataclass(frozen=True)
class CandidateBatch:
    """The candidates of a batch of images.

    Attributes:
        pixels: `[C, 28, 28]`, all candidates: those of the first image, of the second, and so on.
        counts: Number of candidates of each image.
        fallbacks: Indices of the candidates that are fallbacks.
        viewable: The candidates that have views, by their index.
    """

    pixels: Pixels
    counts: Sequence[int]
    fallbacks: Sequence[int] = ()
    viewable: Mapping[int, NetworkInput] | None = None


@dataclass(frozen=True)
class Selection:
    """What counts for each image of a batch.

    Attributes:
        predictions: The predictions for the images.
        chosen: Index of the candidate that counts for each image, itself or a view of it.
        views: The views that count, by the index of their image.
    """

    predictions: Predictions
    chosen: Sequence[int]
    views: Mapping[int, View]


@dataclass
class _Answers:
    """The network's answers for the images of a batch, one row for each."""

    probabilities: NDArray[np.float32]
    scores: NDArray[np.float64]
    verdicts: list[Verdict]


def select(
    batch: CandidateBatch, model: Model, numpy_lock: AbstractContextManager[object]
) -> Selection:
    """Run all candidates of a batch and select what counts for each image.

    Args:
        batch: The candidates.
        model: The network.
        numpy_lock: Held during the short NumPy work after a run; see `app.recognise`.
    """
    if not batch.counts:
        none = np.empty((0, len(model.bundle.metadata.classes)), np.float32)
        return Selection(Predictions(none, [], [], none[:, 0], [], [], 0.0), (), {})
    outputs, run_s = _run(batch.pixels, model)
    with numpy_lock:
        chosen, answers = _choose(outputs, batch, model)
    views: dict[int, View] = {}
    if batch.viewable:
        unsure = {
            row: batch.viewable[candidate]
            for row, candidate in enumerate(chosen)
            if answers.verdicts[row] != "digit" and candidate in batch.viewable
        }
        if unsure:
            views, view_s = _look_again(unsure, answers, model, numpy_lock)
            run_s += view_s
    with numpy_lock:
        return Selection(_rank(answers, run_s), chosen, views)


def _run(pixels: Pixels, model: Model) -> tuple[Outputs, float]:
    """Return the outputs of the network, and the seconds of the run."""
    began = time.perf_counter()
    outputs = model.runtime.predict(pixels)
    return outputs, time.perf_counter() - began


def _choose(
    outputs: Outputs, batch: CandidateBatch, model: Model
) -> tuple[Sequence[int], _Answers]:
    """Choose the candidate that counts for each image."""
    probabilities, scores = outputs.probabilities, energy(outputs.logits)
    thresholds = model.bundle.metadata.verdict
    chosen: Sequence[int] = range(len(scores))
    if len(batch.counts) < len(scores):
        chosen = choose(
            scores,
            probabilities.max(axis=1),
            batch.counts,
            batch.fallbacks,
            thresholds.not_a_digit_below,
        )
        probabilities, scores = probabilities[chosen], scores[chosen]
    verdicts = judge(
        scores.tolist(),
        probabilities.max(axis=1).tolist(),
        not_a_digit_below=thresholds.not_a_digit_below,
        unsure_below=thresholds.unsure_below,
    )
    return chosen, _Answers(probabilities, scores, verdicts)


def _look_again(
    unsure: Mapping[int, NetworkInput],
    answers: _Answers,
    model: Model,
    numpy_lock: AbstractContextManager[object],
) -> tuple[dict[int, View], float]:
    """Run other views of images, and let them count in `answers` where they are better.

    Args:
        unsure: The candidates that are looked at again, by the row of their image.
        answers: The answers until now, which change.
        model: The network.
        numpy_lock: See `select`.

    Returns:
        The views that count, by row, and the seconds of the network's run.
    """
    made: dict[int, list[View]] = {}
    for row, candidate in unsure.items():
        check_cancelled()
        made[row] = make_views(candidate)
    outputs, run_s = _run(
        np.stack([view.pixels for views in made.values() for view in views]), model
    )
    counting, start = dict[int, View](), 0
    with numpy_lock:
        scores = energy(outputs.logits)
        answers.probabilities = answers.probabilities.copy()  # it may be the output of the network
        for row, views in made.items():
            own = slice(start, start + len(views))
            best = _best_view(row, views, outputs.probabilities[own], scores[own], answers, model)
            if best is not None:
                counting[row] = views[best]
            start += len(views)
    return counting, run_s


def _best_view(
    row: int,
    views: Sequence[View],
    probabilities: NDArray[np.float32],
    scores: NDArray[np.float64],
    answers: _Answers,
    model: Model,
) -> int | None:
    """Return the index of the view that counts for an image, if any, and note its answer."""
    thresholds = model.bundle.metadata.verdict
    digits = probabilities.argmax(axis=1).tolist()
    names = [view.name for view in views]
    found = choose_view(
        float(answers.scores[row]),
        int(answers.probabilities[row].argmax()),
        float(answers.probabilities[row].max()),
        list(zip(names, scores.tolist(), digits, strict=True)),
        thresholds.not_a_digit_below,
    )
    if found is None:
        return None
    best, may_be_sure = found
    answers.probabilities[row], answers.scores[row] = probabilities[best], scores[best]
    is_sure = may_be_sure and float(probabilities[best].max()) >= thresholds.unsure_below
    answers.verdicts[row] = "digit" if is_sure else "unsure"
    return best


def _rank(answers: _Answers, run_s: float) -> Predictions:
    """Return the answers as predictions, with the digits ranked by their probability."""
    probabilities = answers.probabilities
    ranking = (-probabilities).argsort(axis=1, kind="stable")
    return Predictions(
        probabilities=probabilities,
        digits=ranking[:, 0].tolist(),
        runners_up=ranking[:, 1].tolist(),
        confidences=probabilities.max(axis=1),
        scores=answers.scores.tolist(),
        verdicts=answers.verdicts,
        seconds_per_image=run_s / len(probabilities),
    )
