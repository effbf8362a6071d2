"""Explain an answer: a map of each pixel's contribution, and two checks of that map."""

from dataclasses import dataclass

import numpy as np

from app.inference.model import Model
from app.inspection.attribution import DEFAULT_METHOD, attribute, find_method
from app.inspection.checks import Deletion, deletion, deletion_scores, rank_correlation
from app.inspection.cost_limits import gradients_s, layers_s, max_gradients, max_scores, scores_s
from app.inspection.methods.method import Attribution, Method
from app.inspection.score import Map, Question, model_score, network_score
from app.network.network import Layer, Network
from app.predictions import Prediction
from app.recognise import ImageInput, Options, recognise

# Steps of the map of shuffled kernels: their ranks need no precise sum.
MAX_RANDOMISED_STEPS = 24


@dataclass(frozen=True)
class ExplainRequest:
    """What to explain, and how.

    Attributes:
        method: Name of the explanation method.
        target: The digit whose logit is explained; None for the predicted digit.
        contrast: The digit whose logit is subtracted, or None.
        layer: Name or index of the layer, for methods that take one; None for the last convolution.
        steps: Number of steps, for methods that take it; None for as many as are needed.
        checks: Whether to check the map, which takes most of the time.
    """

    method: str = DEFAULT_METHOD
    target: int | None = None
    contrast: int | None = None
    layer: str | None = None
    steps: int | None = None
    checks: bool = True


@dataclass(frozen=True)
class Randomised:
    """The map of a network whose kernels are shuffled, which has learned nothing.

    Attributes:
        values: The map, float32 `[28, 28]`.
        similarity: Rank correlation with the explained map over all pixels, -1 to 1; None if one of
            the maps is constant.
        on_ink: Rank correlation over the pixels with ink only, or None.
    """

    values: Map
    similarity: float | None
    on_ink: float | None


@dataclass(frozen=True)
class Explanation:
    """A map and its checks.

    Attributes:
        prediction: The answer for the image.
        method: How the map was computed.
        question: What is explained.
        value: The explained score: a logit, or the difference of two.
        attribution: The map.
        deletion: The deletion check, or None if checks were not requested or the map is empty.
        randomised: The randomisation check; None in the same cases, and if the service cannot
            compute a layer, as it needs the network with other weights.
    """

    prediction: Prediction
    method: Method
    question: Question
    value: float
    attribution: Attribution
    deletion: Deletion | None
    randomised: Randomised | None

    @property
    def empty(self) -> bool:
        """Return whether the map is 0 everywhere."""
        return not self.attribution.values.any()


def explain(
    image: ImageInput, model: Model, options: Options, request: ExplainRequest
) -> Explanation:
    """Explain the answer of a model for an image.

    Raises:
        NotFoundError: There is no such layer.
        InvalidInputError: There is no such method, or the layer does not suit it.
        UnsupportedLayerError: The derivative of a layer is not known.
        DigitscopeError: The image cannot be read; see `app.recognise.read_image`.
    """
    method = find_method(request.method)
    model = model.in_float32
    network = model.network
    layer = network.find(request.layer) if request.layer is not None else None
    prediction = recognise(image, model, options)
    target = prediction.digit if request.target is None else request.target
    question = Question(target, request.contrast)
    pixels = prediction.prepared.pixels
    score = model_score(model, question)
    attribution = attribute(
        network, score, pixels, question, method.name, layer=layer, steps=request.steps
    )
    curve, randomised = None, None
    if request.checks and attribution.values.any():
        ranking = method.ranking(attribution.values)
        curve = deletion(score, pixels, ranking, max_scores=max_scores(network))
        if network.computable:
            randomised = _randomised(model, prediction, question, request, attribution, layer)
    return Explanation(
        prediction=prediction,
        method=method,
        question=question,
        value=float(score(pixels[None].astype(np.float32))[0]),
        attribution=attribution,
        deletion=curve,
        randomised=randomised,
    )


def explanation_s(network: Network, request: ExplainRequest) -> float:
    """Return about how many seconds an explanation takes (`app.inspection.cost_limits`).

    Raises:
        InvalidInputError: There is no such method.
    """
    method, limit = find_method(request.method), max_gradients(network)
    cost = method.cost(request.steps, limit)
    seconds = gradients_s(network, cost.gradients) + scores_s(network, cost.scores)
    if request.checks:
        other = method.cost(min(cost.gradients, MAX_RANDOMISED_STEPS) or None, limit)
        seconds += scores_s(network, deletion_scores(max_scores(network)))
        seconds += gradients_s(network, other.gradients) + layers_s(network.layers, other.scores)
    return seconds


def describe_map(explanation: Explanation, network: Network) -> str:
    """Return what a map shows and whether to trust it, in one or two sentences.

    Args:
        explanation: The map and its checks.
        network: The network that it explains.
    """
    title, score = explanation.method.title, _score_text(explanation.question, network)
    if explanation.empty:
        return f"{title} gives an empty map for {score}: {explanation.method.empty}."
    y, x = np.unravel_index(int(explanation.attribution.values.argmax()), (28, 28))
    text = f"{title}: the pixel in row {y}, column {x} raises {score} most."
    if explanation.deletion is None:
        return text
    if explanation.deletion.better_than_random:
        return f"{text} Deleting ink in the map's order lowers it faster than in random orders."
    return (
        f"{text} Deleting ink in the map's order does not lower it faster than in random orders, so"
        " do not trust this map."
    )


def _score_text(question: Question, network: Network) -> str:
    name = "logit" if network.logits is not None else "logarithm of the probability"
    if question.contrast is None:
        return f"the {name} of {question.target}"
    return f"the {name} of {question.target} minus that of {question.contrast}"


def _randomised(
    model: Model,
    prediction: Prediction,
    question: Question,
    request: ExplainRequest,
    attribution: Attribution,
    layer: Layer | None,
) -> Randomised:
    """Compute the same map with shuffled kernels and compare it with the explained map."""
    network, pixels = model.network.randomised, prediction.prepared.pixels
    other = attribute(
        network,
        network_score(network, question),
        pixels,
        question,
        request.method,
        layer=network.layers[layer.index] if layer else None,
        steps=attribution.steps and min(attribution.steps, MAX_RANDOMISED_STEPS),
    ).values
    values, ink = attribution.values, pixels > 0
    return Randomised(
        other, rank_correlation(values, other), rank_correlation(values[ink], other[ink])
    )
