"""`/explain`, `/ablate` and `/neighbours`: why the network gives an answer."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.bundle import MAX_CLASSES
from app.errors import InvalidInputError
from app.inspection.ablation import ablate
from app.inspection.activations import inspect_image
from app.inspection.attribution import DEFAULT_METHOD, METHODS, MethodName, methods_using
from app.inspection.cost_limits import layers_s
from app.inspection.explanation import ExplainRequest, Explanation, explain, explanation_s
from app.inspection.methods.integrated_gradients import MAX_STEPS, MIN_STEPS, TOLERANCE
from app.inspection.neighbours import find_neighbours
from app.inspection.score import check_classes
from app.render import diverging, enlarge, to_png
from app.web.dependencies import ServiceDep
from app.web.http.disconnect import disconnected
from app.web.requests.images import read_one
from app.web.responses import content_negotiation
from app.web.responses.content_negotiation import PictureFormat
from app.web.responses.explanations import (
    ablation_answer,
    explanation_answer,
    methods_answer,
    neighbours_answer,
)
from app.web.responses.openapi_errors import image_error_responses
from app.web.responses.openapi_requests import one_image_body
from app.web.schemas.explanations import (
    AblationAnswer,
    ExplanationAnswer,
    MethodsAnswer,
    NeighboursAnswer,
)
from app.web.schemas.query import ImageQuery
from app.web.service import kind_of_work, size_of

router = APIRouter(tags=["Inspect"])
PNG_SCALE = 10  # pixels of the PNG for each pixel of the map
MAX_CHANNEL_DIGITS = 6  # digits of a channel's number in `channels`; no layer has a million
_METHOD_LIST = " ".join(f"`{method.name}`: {method.description}" for method in METHODS.values())


class ExplainQuery(ImageQuery):
    """The parameters of every image route, what to explain, and how."""

    method: MethodName = Field(
        DEFAULT_METHOD, description=f"How the map is computed. {_METHOD_LIST}"
    )
    target: int | None = Field(
        None,
        ge=0,
        lt=MAX_CLASSES,
        description="The digit whose logit is explained; the predicted digit if left out.",
    )
    contrast: int | None = Field(
        None,
        ge=0,
        lt=MAX_CLASSES,
        description="Subtract this digit's logit: why is it `target` and not `contrast`?",
    )
    layer: str | None = Field(
        None,
        description=(
            "Name or index of the layer whose channels are weighted; the last convolution, after"
            f" its activation, if left out. Only {methods_using('layer')}."
        ),
    )
    steps: int | None = Field(
        None,
        ge=MIN_STEPS,
        le=MAX_STEPS,
        description=(
            "Number of equal steps from black to the image. If left out, steps are added where they"
            f" are needed, until the map's sum is right to {100 * TOLERANCE:g} % or there are as"
            f" many as the network is fast enough for. Only {methods_using('steps')}."
        ),
    )
    checks: bool = Field(True, description="Whether to check the map, which takes longer.")
    format: PictureFormat | None = Field(
        None,
        description="Format of the response; if left out, the Accept header decides, else json.",
    )


class AblateQuery(ImageQuery):
    """The parameters of every image route, and which channels to switch off."""

    layer: str = Field(description="Name or index of the layer.")
    channels: str | None = Field(
        None,
        description=(
            "Channels to switch off together, separated by commas. If left out, each channel is"
            " switched off on its own."
        ),
    )
    target: int | None = Field(
        None,
        ge=0,
        lt=MAX_CLASSES,
        description="The digit whose logit is compared; the predicted digit if left out.",
    )


class NeighboursQuery(ImageQuery):
    """The parameters of every image route, and the number of neighbours."""

    count: int = Field(8, ge=1, le=100, description="Number of neighbours.")


@router.get(
    "/explain/methods",
    operation_id="list_explanation_methods",
    summary="List the explanation methods",
)
async def list_methods() -> MethodsAnswer:
    """List every method with what it does, what its map cannot show, and its parameters."""
    return methods_answer()


@router.post(
    "/explain",
    operation_id="explain",
    summary="Show which pixels mattered",
    response_model=ExplanationAnswer,
    responses={
        **image_error_responses("unknown-layer", "unsupported-layer"),
        **content_negotiation.responses("npy", "png"),
    },
    openapi_extra=one_image_body(),
)
async def explain_image(
    request: Request, query: Annotated[ExplainQuery, Query()], service: ServiceDep
) -> Response | ExplanationAnswer:
    """Map how much each pixel contributes to a digit's logit, or to the difference of two logits.

    Two checks come with the map: whether blacking out ink in the map's order lowers the logit
    faster than in random orders, and whether the map changes if the network has learned nothing.
    """
    model = await service.model(query.model)
    check_classes(model, target=query.target, contrast=query.contrast)
    form = content_negotiation.choose(request, query.format, ("json", "npy", "png"))
    image = await read_one(request, service.limits)
    explain_request = ExplainRequest(
        query.method,
        query.target,
        query.contrast,
        query.layer,
        query.steps,
        checks=query.checks and form == "json",
    )

    name = f"explain {query.method}{' with checks' if explain_request.checks else ''}"

    def work() -> Response | ExplanationAnswer:
        explanation = explain(image, model, service.options(query), explain_request)
        if form == "npy":
            return content_negotiation.npy(explanation.attribution.values)
        if form == "png":
            return _map_png(explanation)
        return explanation_answer(explanation, model)

    return await service.explanation_pool.run_until(
        disconnected(request),
        kind_of_work(name, model, query.steps or 0, explanation_s(model.network, explain_request)),
        work,
    )


@router.post(
    "/ablate",
    operation_id="ablate",
    summary="Switch channels off",
    responses=image_error_responses("unknown-layer", "unsupported-layer"),
    openapi_extra=one_image_body(),
)
async def ablate_channels(
    request: Request, query: Annotated[AblateQuery, Query()], service: ServiceDep
) -> AblationAnswer:
    """Predict without some channels of a layer, or without each of them, largest change first."""
    model = await service.model(query.model)
    check_classes(model, target=query.target)
    layer = model.network.find(query.layer)
    channels = _channel_list(query.channels)
    image = await read_one(request, service.limits)
    variants = [channels] if channels else [[channel] for channel in range(layer.channels)]

    def work() -> AblationAnswer:
        inspected = inspect_image(image, model, service.options(query))
        baseline, *ablations = ablate(inspected, layer, [[], *variants])
        target = inspected.prediction.digit if query.target is None else query.target
        ablations.sort(key=lambda ablation: -abs(ablation.logits[target] - baseline.logits[target]))
        return ablation_answer(inspected, layer, target, baseline, ablations)

    computed = (model.network.layers[index] for index in model.network.downstream(layer))
    estimate_s = layers_s(computed, 1 + len(variants))
    return await service.explanation_pool.run_until(
        disconnected(request), kind_of_work("ablate", model, len(variants), estimate_s), work
    )


@router.post(
    "/neighbours",
    operation_id="neighbours",
    summary="Find training digits like it",
    responses=image_error_responses(),
    openapi_extra=one_image_body(),
)
async def neighbours(
    request: Request, query: Annotated[NeighboursQuery, Query()], service: ServiceDep
) -> NeighboursAnswer:
    """Find the training digits whose features are most similar, and say how similar they are."""
    model = await service.model(query.model)
    image = await read_one(request, service.limits)

    def work() -> NeighboursAnswer:
        neighbourhood = find_neighbours(image, model, service.options(query), query.count)
        return neighbours_answer(neighbourhood, model)

    return await service.inspection_pool.run_until(
        disconnected(request), kind_of_work("neighbours", model, size_of(image)), work
    )


def _map_png(explanation: Explanation) -> Response:
    values = explanation.attribution.values
    limit = float(abs(values).max())
    content = to_png(enlarge(diverging(values, limit), PNG_SCALE))
    return content_negotiation.png(content, {"X-Value-Limit": f"{limit:.9g}"})


def _channel_list(text: str | None) -> list[int]:
    """Parse the parameter `channels`; no text gives an empty list."""
    if text is None:
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) <= MAX_CHANNEL_DIGITS for part in parts):
        raise InvalidInputError(
            f"'channels' is {text!r}; expected numbers separated by commas, such as 3,17."
        )
    return [int(part) for part in parts]
