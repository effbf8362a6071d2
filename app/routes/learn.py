"""`POST /learn/step` and `POST /layers/{layer}/gradient-unit`: learning from one image."""

from math import prod
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.bundle import MAX_CLASSES
from app.errors import InvalidInputError, NotFoundError
from app.inference.model import Model
from app.inspection.backpropagation import gradient_of
from app.inspection.cost_limits import learning_s, max_learning_steps
from app.inspection.descent import DEFAULT_RATE, MAX_RATE, MAX_STEPS, LearnRequest, Optimizer
from app.inspection.gradient_unit import (
    DEFAULT_TERMS,
    MAX_TERMS,
    Wanted,
    explain_gradient,
)
from app.inspection.learning import learn
from app.inspection.score import check_classes
from app.inspection.weights import draw_gradient, draw_weights
from app.network.functions import Array
from app.network.network import Layer
from app.network.weight_gradients import learned_weights
from app.render import to_png
from app.routes.layers import LayerPath
from app.web.dependencies import ServiceDep
from app.web.http.disconnect import disconnected
from app.web.requests.images import read_one
from app.web.responses import content_negotiation
from app.web.responses.activation_map import check_map_size
from app.web.responses.content_negotiation import PictureFormat
from app.web.responses.gradient_unit import gradient_unit_answer
from app.web.responses.json_arrays import check_numbers
from app.web.responses.learning import learning_answer, learning_map
from app.web.responses.openapi_errors import image_error_responses
from app.web.responses.openapi_requests import one_image_body
from app.web.schemas.learning import GradientUnitAnswer, LearningAnswer
from app.web.schemas.query import ImageQuery
from app.web.service import kind_of_work, size_of

router = APIRouter(tags=["Inspect"])
ACTIVATIONS = "activations"  # value of `of` for the layer's output
MAX_INDEX_DIGITS = 8  # digits of a number in `index`; no array is longer along an axis
MAX_INDEX_AXES = 8


class LearnQuery(ImageQuery):
    """The parameters of every image route, what to learn and how, and the format."""

    label: int = Field(ge=0, lt=MAX_CLASSES, description="The right class of the image.")
    learning_rate: float = Field(
        DEFAULT_RATE,
        gt=0,
        le=MAX_RATE,
        allow_inf_nan=False,
        description="What the gradient is multiplied by in each step.",
    )
    optimizer: Optimizer = Field(
        "sgd",
        description=(
            "`sgd` changes each weight by minus the learning rate times its gradient; `momentum`"
            " adds 0.9 of the last change."
        ),
    )
    steps: int = Field(1, ge=1, le=MAX_STEPS, description="Steps; a large network gets fewer.")
    include: Literal["map"] | None = Field(
        None,
        description=(
            "`map` returns the answer, and the gradient for each value of each layer's output as a"
            " byte, in the binary format of `/inspect`."
        ),
    )
    layer: str | None = Field(
        None,
        description="With the formats npy and png: name or index of the layer.",
    )
    of: str | None = Field(
        None,
        description=(
            "With the formats npy and png: `activations` for the gradient of the layer's output,"
            " the default, or the name of one of its weights, such as `kernel`."
        ),
    )
    format: PictureFormat | None = Field(
        None,
        description="Format of the response; if left out, the Accept header decides, else json.",
    )


class GradientUnitQuery(ImageQuery):
    """The parameters of every image route, the label, and whose gradient is wanted."""

    label: int = Field(ge=0, lt=MAX_CLASSES, description="The right class of the image.")
    weight: str | None = Field(
        None, description="Name of an array of weights, such as `kernel`; for one of its weights."
    )
    index: str | None = Field(
        None,
        description=(
            "Index of the weight: numbers separated by commas, in the shape of the array. If left"
            " out, the weight with the largest gradient."
        ),
    )
    channel: int | None = Field(
        None,
        description=(
            "Without `weight`: channel of the activation, or the unit of a layer without rows and"
            " columns. If left out, the one with the largest gradient."
        ),
    )
    y: int | None = Field(
        None, description="Row. If `y` and `x` are left out, the position of the largest gradient."
    )
    x: int | None = Field(None, description="Column; left out in a layer of rows and channels.")
    terms: int = Field(
        DEFAULT_TERMS, ge=1, le=MAX_TERMS, description="How many products to return at most."
    )


@router.post(
    "/learn/step",
    operation_id="learn_step",
    summary="Learn from one image",
    response_model=LearningAnswer,
    responses={
        **image_error_responses("unknown-layer", "unsupported-layer"),
        **content_negotiation.responses("npy", "png", "map", map_head="LearningMapHead"),
    },
    openapi_extra=one_image_body(),
)
async def learn_step(
    request: Request, query: Annotated[LearnQuery, Query()], service: ServiceDep
) -> Response | LearningAnswer:
    """Make steps of gradient descent on one image and its right label, on a copy of the network.

    The answer holds the loss and the probabilities after each step, the gradient of the loss for
    every layer's output and weights, and how far each layer moved. Batch normalisation and dropout
    act as at inference. The network that is served never changes.

    With `format=npy`, return the exact gradient of one array before the first step, float32; with
    `format=png` its picture: red is positive, blue negative and white 0, and the header
    `X-Value-Limit` gives the magnitude of the full colour.
    """
    model = await service.model(query.model)
    check_classes(model, label=query.label)
    form = content_negotiation.choose(request, query.format, ("json", "npy", "png"))
    layer = _wanted_layer(model, query, form)
    if query.include:
        check_map_size(model.network.layers)
    image = await read_one(request, service.limits)
    asked = LearnRequest(query.label, query.learning_rate, query.optimizer, query.steps)

    def work() -> Response | LearningAnswer:
        options = service.options(query)
        if layer is not None:
            of = None if query.of == ACTIVATIONS else query.of
            gradient = gradient_of(image, model, options, query.label, layer, of)
            return _picture(gradient, form, is_weight=of is not None)
        learned = learn(image, model, options, asked)
        return learning_map(learned, model) if query.include else learning_answer(learned, model)

    size = 1 if layer else query.steps
    steps = min(size, max_learning_steps(model.network))
    kind = kind_of_work(
        f"learn {query.include or form}", model, size, learning_s(model.network, steps)
    )
    return await service.explanation_pool.run_until(disconnected(request), kind, work)


def _wanted_layer(model: Model, query: LearnQuery, form: str) -> Layer | None:
    """Return the layer whose gradient is wanted as an array; None for the whole answer.

    Raises:
        InvalidInputError: Parameters contradict each other.
        NotFoundError: There is no such layer, or none of its arrays has the name.
    """
    if form == "json" or query.include:
        if query.layer or query.of or form != "json":
            raise InvalidInputError(
                "'layer' and 'of' need the format npy or png, without 'include'; leave them out, or"
                " give format=npy."
            )
        return None
    if query.layer is None:
        raise InvalidInputError(
            f"The format {form} shows the gradient of one array: give its 'layer', and 'of' for one"
            " of the layer's weights."
        )
    layer = model.network.find(query.layer)
    names = [ACTIVATIONS, *learned_weights(layer)]
    if query.of is not None and query.of not in names:
        raise NotFoundError(
            f"Training changes no weight {query.of!r} of the layer {layer.name!r}.", valid=names
        )
    if form == "png":
        weight = layer.weights.get(query.of or ACTIVATIONS)
        shape = layer.shape if weight is None else weight.shape
        check_numbers(prod(shape), f"The gradient of the layer {layer.name!r}", "npy")
    return layer


def _picture(gradient: Array, form: str, *, is_weight: bool) -> Response:
    if form == "npy":
        return content_negotiation.npy(gradient.astype(np.float32))
    limit = float(np.abs(gradient).max())
    drawn = draw_weights(gradient) if is_weight else draw_gradient(gradient)
    return content_negotiation.png(to_png(drawn), {"X-Value-Limit": f"{limit:.9g}"})


@router.post(
    "/layers/{layer:path}/gradient-unit",
    operation_id="gradient_unit",
    summary="Trace one gradient",
    responses=image_error_responses("unknown-layer", "unsupported-layer"),
    openapi_extra=one_image_body(),
)
async def gradient_unit(
    request: Request,
    layer: LayerPath,
    query: Annotated[GradientUnitQuery, Query()],
    service: ServiceDep,
) -> GradientUnitAnswer:
    """Show the gradient of the loss for one weight or activation as the sum of its products.

    Each product ends in the gradient of a unit of a later layer, which is the next to ask for. So
    the path ends at the softmax, where the gradient is probability minus label. The same gradient
    is measured, by changing the number a little and computing the loss again in float64.
    """
    model = await service.model(query.model)
    check_classes(model, label=query.label)
    found = model.network.find(layer)
    wanted = _wanted_number(query)
    image = await read_one(request, service.limits)

    def work() -> GradientUnitAnswer:
        explained = explain_gradient(image, model, service.options(query), found, wanted)
        return gradient_unit_answer(explained, model)

    return await service.explanation_pool.run_until(
        disconnected(request), kind_of_work("gradient unit", model, size_of(image)), work
    )


def _wanted_number(query: GradientUnitQuery) -> Wanted:
    """Return whose gradient is wanted.

    Raises:
        InvalidInputError: A weight and an activation are given, or the index is not one.
    """
    place = (query.channel, query.y, query.x)
    if query.weight is not None and any(part is not None for part in place):
        raise InvalidInputError(
            "Give 'weight' and 'index' for a weight, or 'channel', 'y' and 'x' for an activation,"
            " not both."
        )
    if query.weight is None and query.index is not None:
        raise InvalidInputError("'index' needs 'weight', the name of the array; give it too.")
    return Wanted(query.label, query.weight, _index(query.index), *place, terms=query.terms)


def _index(text: str | None) -> tuple[int, ...] | None:
    """Parse the parameter `index`."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",", MAX_INDEX_AXES)]
    if len(parts) > MAX_INDEX_AXES or not all(
        part.isdecimal() and len(part) <= MAX_INDEX_DIGITS for part in parts
    ):
        raise InvalidInputError(
            f"'index' is {text[:80]!r}; expected numbers separated by commas, such as 0,1,3,5."
        )
    return tuple(int(part) for part in parts)
