"""Integrated gradients: gradients summed along the straight path from black to the image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.inspection.methods.method import Attribution, Completeness, MapCost, MapRequest, Method
from app.inspection.score import network_score, scores_and_gradients

MIN_STEPS = 8  # points on the path; fewer approximate the integral poorly
MAX_STEPS = 256  # points; bounds the time of one request, which grows with them
TOLERANCE = 0.005  # relative error of the map's sum at which no more points are added
_FIRST_POINTS = 24  # points that are always computed, unless the network is too slow
_USUAL_POINTS = 40  # the median of 60 digits with `compact`
_POINTS_PER_ROUND = (4, 8)  # fewest and most points that are added before the error is measured
_Wide = NDArray[np.float64]


def _compute(request: MapRequest) -> Attribution:
    """Integrate with as many steps as requested, else until the error is small."""
    image = request.image
    path = _refined_path(request) if request.steps is None else _even_path(request, request.steps)
    mean = np.tensordot(path.weights, path.gradients, axes=1)
    values = (image * mean).astype(np.float32)
    return Attribution(
        values,
        completeness=Completeness(float((image * mean).sum()), path.difference),
        steps=len(path.weights),
    )


@dataclass(frozen=True)
class _Path:
    """Gradients at points on the path, and their weights in the integral.

    Attributes:
        gradients: `[P, 28, 28]`.
        weights: `[P]`; they add up to 1.
        difference: Score of the image minus the score of the black baseline.
    """

    gradients: _Wide
    weights: _Wide
    difference: float


def _even_path(request: MapRequest, steps: int) -> _Path:
    """Return the middles of equally long steps: the midpoint rule."""
    _, gradients = _at(request, (np.arange(steps) + 0.5) / steps)
    score = network_score(request.network, request.question)
    ends = np.stack([np.zeros_like(request.image), request.image])
    black, full = score(ends).astype(np.float64)
    return _Path(gradients, np.full(steps, 1 / steps), float(full - black))


def _refined_path(request: MapRequest) -> _Path:
    """Return points that are closest where the gradient changes most.

    The trapezoidal rule needs fewer points for a piecewise linear network than sums of left or
    right ends (Sotoudeh and Thakur, 2019, arXiv:1908.06214). Each round halves the intervals with
    the largest errors. These are known: the scores at the ends of an interval say what the gradient
    must add up to in it. Ends if the error of the map's sum is below `TOLERANCE`, or at the number
    of points that the network's cost allows.
    """
    limit = _limit(request.max_gradients)
    places = np.linspace(0, 1, min(_FIRST_POINTS, limit))
    scores, gradients = _at(request, places)
    while True:
        lengths = np.diff(places)
        slopes = (gradients * request.image).sum(axis=(1, 2))
        errors = lengths * (slopes[:-1] + slopes[1:]) / 2 - np.diff(scores)
        difference = float(scores[-1] - scores[0])
        tolerance = TOLERANCE * abs(difference)
        if abs(errors.sum()) <= tolerance or len(places) >= limit:
            break
        worst = _intervals_to_halve(errors, tolerance)[: limit - len(places)]
        middles = places[worst] + lengths[worst] / 2
        more_scores, more_gradients = _at(request, middles)
        places = np.concatenate([places, middles])
        order = np.argsort(places, kind="stable")
        places = places[order]
        scores = np.concatenate([scores, more_scores])[order]
        gradients = np.concatenate([gradients, more_gradients])[order]
    halves = np.concatenate([[0.0], lengths, [0.0]]) / 2
    return _Path(gradients, halves[:-1] + halves[1:], difference)


def _limit(max_gradients: int) -> int:
    return max(MIN_STEPS, min(MAX_STEPS, max_gradients))


def _cost(steps: int | None, max_gradients: int) -> MapCost:
    return MapCost(steps or min(_USUAL_POINTS, _limit(max_gradients)), scores=0)


def _intervals_to_halve(errors: _Wide, tolerance: float) -> NDArray[np.intp]:
    """Return the intervals with the largest errors: as many as make up for the error of the sum."""
    worst = np.argsort(-np.abs(errors), kind="stable")
    left = np.abs(errors.sum() - np.cumsum(errors[worst]))  # if the worst had no errors any more
    fewest, most = _POINTS_PER_ROUND
    enough = np.flatnonzero(left <= tolerance)
    return worst[: min(max(fewest, int(enough[0]) + 1), most) if enough.size else most]


def _at(request: MapRequest, places: _Wide) -> tuple[_Wide, _Wide]:
    """Return the scores `[P]` and gradients `[P, 28, 28]` at places from 0, black, to 1."""
    images = places[:, None, None].astype(np.float32) * request.image
    scores, gradients = scores_and_gradients(request.network, images, request.question)
    return scores.astype(np.float64), gradients.astype(np.float64)


INTEGRATED_GRADIENTS = Method(
    name="integrated-gradients",
    title="Integrated gradients",
    description=(
        "Fades the image in from black and adds up, for each pixel, how the score responds. The map"
        " adds up to the whole change of the score."
    ),
    limits="A black pixel always gets 0, even if ink in its place would change the answer.",
    empty="the image is black like the baseline, or the score never changes on the path to it",
    reference="Sundararajan et al., 2017, arXiv:1703.01365",
    unit="logit",
    parameters=("steps",),
    response_fields=("completeness", "steps"),
    ranks_by_magnitude=False,
    needs_gradients=True,
    compute=_compute,
    cost=_cost,
)
