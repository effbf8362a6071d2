"""Build the response bodies of `POST /learn/step`."""

import numpy as np
from starlette.responses import Response

from app.inference.model import Model
from app.inspection.activation_map import map_layer
from app.inspection.descent import MOMENTUM
from app.inspection.learning import Learned, LearnedLayer
from app.network.functions import Array
from app.web.responses.activation_map import encode_map, map_layer_answer
from app.web.responses.layers import layer_fields
from app.web.responses.predictions import prediction_answer
from app.web.schemas.learning import (
    LearnedLayerAnswer,
    LearnedWeightAnswer,
    LearningAnswer,
    LearningMapHead,
    SamplesAnswer,
)

INFERENCE_MODE = (
    "Batch normalisation uses its stored mean and variance, and dropout passes everything on, as"
    " when the model is served; in training, both would differ. Nothing that is served changes."
)
_ZERO_LEVEL = 127  # byte of a gradient that is 0


def learning_answer(learned: Learned, model: Model) -> LearningAnswer:
    """Build the body of `POST /learn/step`."""
    request, samples = learned.request, learned.samples
    return LearningAnswer(
        prediction=prediction_answer(learned.prediction, model.bundle),
        label=request.label,
        label_name=model.bundle.metadata.classes[request.label],
        optimizer=request.optimizer,
        learning_rate=request.learning_rate,
        momentum=MOMENTUM if request.optimizer == "momentum" else None,
        requested_steps=request.steps,
        steps=learned.steps,
        loss=learned.losses,
        probabilities=[row.tolist() for row in learned.probabilities],
        diverged=learned.diverged,
        samples=samples
        and SamplesAnswer(
            count=samples.count, right_before=samples.before, right_after=samples.after
        ),
        inference_mode=INFERENCE_MODE,
        text=_text(learned, model),
        layers=[_layer_answer(one) for one in learned.layers],
        most_changed=[layer.name for layer in learned.most_changed],
    )


def _layer_answer(one: LearnedLayer) -> LearnedLayerAnswer:
    return LearnedLayerAnswer(
        **layer_fields(one.layer),
        shape=list(one.layer.shape),
        gradient_norm=one.gradient_norm,
        largest=one.largest,
        shares_weights_with=one.shares_weights_with and one.shares_weights_with.name,
        weights=[
            LearnedWeightAnswer(
                name=weight.name,
                shape=list(weight.shape),
                norm=weight.norm,
                gradient_norm=weight.gradient_norm,
                change_norm=weight.change_norm,
                relative_change=weight.relative_change,
            )
            for weight in one.weights
        ],
    )


def _text(learned: Learned, model: Model) -> str:
    name = model.bundle.metadata.classes[learned.request.label]
    steps = f"{learned.steps} step" + ("" if learned.steps == 1 else "s")
    if not learned.steps:
        return (
            "The first step took the numbers beyond the range of float32: the learning rate is much"
            " too large. Try a tenth of it."
        )
    before, after = learned.losses[0], learned.losses[-1]
    first, last = (
        float(row[learned.request.label])
        for row in (learned.probabilities[0], learned.probabilities[-1])
    )
    verb = "falls" if after < before else "rises" if after > before else "stays"
    text = (
        f"In {steps} the loss {verb} from {before:.4g} to {after:.4g} nats, and the probability of"
        f" {name!r} goes from {first:.3g} to {last:.3g}."
    )
    if learned.ended:
        text += " The next step took the numbers beyond the range of float32."
    elif learned.steps < learned.request.steps:
        text += f" The network is too large for {learned.request.steps} steps in one request."
    if learned.samples and learned.samples.after < learned.samples.before:
        text += (
            f" The changed network reads {learned.samples.after} of {learned.samples.count} sample"
            f" digits right; before, it read {learned.samples.before}."
        )
    if learned.diverged:
        text += " The learning rate is too large."
    return text


def learning_map(learned: Learned, model: Model) -> Response:
    """Return the answer, and the gradient of each layer's output with one byte for each value."""
    maps = []
    for layer in model.network.layers:
        gradient = learned.gradients.get(layer.index)
        values = np.zeros(layer.shape) if gradient is None else gradient
        maps.append(map_layer(layer, values, _range(values)))
    head = LearningMapHead(
        prediction=prediction_answer(learned.prediction, model.bundle),
        # Not rounded, so that byte 127 is exactly 0.
        layers=[
            map_layer_answer(one).model_copy(update={"low": one.low, "high": one.high})
            for one in maps
        ],
        step=learning_answer(learned, model),
    )
    return encode_map(head, maps)


def _range(values: Array) -> tuple[float, float]:
    """Return the values of bytes 0 and 255, so that `_ZERO_LEVEL` is exactly 0."""
    level = float(np.abs(values).max()) / _ZERO_LEVEL
    return -_ZERO_LEVEL * level, (255 - _ZERO_LEVEL) * level
