"""Why the network answers so: a map of the pixels that spoke for it, with its own checks."""

from dataclasses import dataclass

import numpy as np

from app.inference.model import Model
from app.inspection.attribution import (
    Attribution,
    Map,
    Method,
    Question,
    attribute,
    model_score,
    network_score,
)
from app.inspection.checks import Deletion, deletion, similarity
from app.network.network import Layer
from app.predictions import Prediction
from app.recognise import ImageInput, Options, recognise


@dataclass(frozen=True)
class ExplainRequest:
    """What a client wants explained, and how.

    Attributes:
        method: How.
        target: The digit whose logit is explained; what is read, if None.
        contrast: The digit whose logit is taken off, if not None.
        layer: Name or index of the layer for Grad-CAM; the last convolution if None.
        steps: Of integrated gradients.
        checks: Whether the map is checked.
    """

    method: Method
    target: int | None = None
    contrast: int | None = None
    layer: str | None = None
    steps: int = 64
    checks: bool = True


@dataclass(frozen=True)
class Randomised:
    """The same map on a network whose kernels are shuffled.

    Attributes:
        values: The map.
        similarity: Rank correlation of the maps' sizes over all pixels, or None if one is constant.
        on_ink: The same over the pixels with ink.
    """

    values: Map
    similarity: float | None
    on_ink: float | None


@dataclass(frozen=True)
class Explanation:
    """A map and what it is worth.

    Attributes:
        prediction: What is read.
        question: What is explained.
        value: The logit, or the difference of two.
        attribution: The map.
        deletion: The deletion curve, if checks were asked for and the map is not empty. Gradients
            rank pixels by size: their sign says whether a pixel should be lighter or darker.
        randomised: The map on shuffled kernels, likewise.
    """

    prediction: Prediction
    question: Question
    value: float
    attribution: Attribution
    deletion: Deletion | None
    randomised: Randomised | None

    @property
    def empty(self) -> bool:
        """Tell whether no pixel has a part in the answer by this map."""
        return not self.attribution.values.any()


def explain(
    image: ImageInput, model: Model, options: Options, request: ExplainRequest
) -> Explanation:
    """Explain an answer.

    Raises:
        NotFoundError: There is no such layer.
        InvalidInputError: The layer or the network does not suit the method.
        UnsupportedLayerError: The arithmetic of a layer is not known.
        DigitscopeError: What `app.recognise.read_image` raises.
    """
    model = model.in_float32
    network = model.network
    layer = network.find(request.layer) if request.layer is not None else None
    prediction = recognise(image, model, options)
    question = Question(
        prediction.digit if request.target is None else request.target, request.contrast
    )
    pixels = prediction.prepared.pixels
    score = model_score(model, question)
    made = attribute(
        network, score, pixels, question, request.method, layer=layer, steps=request.steps
    )
    checked = request.checks and bool(made.values.any())
    by_size = request.method in ("gradient", "smoothgrad")
    ranked = np.abs(made.values) if by_size else made.values
    return Explanation(
        prediction=prediction,
        question=question,
        value=float(score(pixels[None].astype(np.float32))[0]),
        attribution=made,
        deletion=deletion(score, pixels, ranked) if checked else None,
        randomised=_randomised(model, prediction, question, request, made, layer)
        if checked
        else None,
    )


def _randomised(
    model: Model,
    prediction: Prediction,
    question: Question,
    request: ExplainRequest,
    made: Attribution,
    layer: Layer | None,
) -> Randomised:
    network, pixels = model.network.randomised, prediction.prepared.pixels
    other = attribute(
        network,
        network_score(network, question),
        pixels,
        question,
        request.method,
        layer=network.layers[layer.index] if layer else None,
        steps=request.steps,
    ).values
    ink = pixels > 0
    return Randomised(
        other, similarity(made.values, other), similarity(made.values[ink], other[ink])
    )
