"""`POST /explain`, `/ablate` and `/neighbours`: why the network answers so, and what if."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.errors import InvalidInputError
from app.inspection.ablation import ablate
from app.inspection.activations import inspect_image
from app.inspection.attribution import Method
from app.inspection.explanation import ExplainRequest, explain
from app.inspection.neighbours import find_neighbours
from app.render import diverging, enlarge, to_png
from app.web.dependencies import ServiceDep
from app.web.http.disconnect import disconnected
from app.web.requests.images import read_one
from app.web.responses import content_negotiation
from app.web.responses.explanations import ablation_answer, explanation_answer, neighbours_answer
from app.web.responses.openapi_errors import image_error_responses
from app.web.responses.openapi_requests import one_image_body
from app.web.schemas.explanations import (
    AblationAnswer,
    ExplanationAnswer,
    NeighboursAnswer,
)
from app.web.schemas.query import ImageQuery

router = APIRouter(tags=["Inspect"])
ENLARGED = 10  # times, of a map as a picture of its own


class ExplainQuery(ImageQuery):
    """The parameters of every image route, what to explain, and how."""

    method: Method = Field("integrated-gradients", description="How the map is made.")
    target: int | None = Field(
        None,
        ge=0,
        le=9,
        description="The digit whose logit is explained; what is read if left out.",
    )
    contrast: int | None = Field(
        None, ge=0, le=9, description="Explain how far `target` is above this digit."
    )
    layer: str | None = Field(
        None, description="Grad-CAM's layer; the last convolution, after its ReLU, if left out."
    )
    steps: int = Field(64, ge=8, le=256, description="Of integrated gradients.")
    checks: bool = Field(True, description="Whether the map is checked, which takes longer.")
    format: Literal["json", "npy", "png"] | None = Field(
        None, description="Form of the answer; the Accept header decides if left out, else json."
    )


class AblateQuery(ImageQuery):
    """The parameters of every image route, and what to switch off."""

    layer: str = Field(description="Name or index of the layer.", examples=["relu_1_1"])
    channels: str | None = Field(
        None,
        description="Channels to switch off together, with commas between them; each in turn if"
        " left out.",
        examples=["3,17"],
    )
    target: int | None = Field(
        None, ge=0, le=9, description="The digit whose logit is watched; what is read if left out."
    )


class NeighboursQuery(ImageQuery):
    """The parameters of every image route, and how many neighbours."""

    count: int = Field(8, ge=1, le=100, description="How many neighbours.")


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
async def explain_answer(
    request: Request, query: Annotated[ExplainQuery, Query()], service: ServiceDep
) -> Response | ExplanationAnswer:
    """Map which pixels spoke for a digit's logit, or for one digit against another.

    With the map come its checks: whether blacking out ink in its order lowers the logit faster than
    at random, and whether it differs on a network that has learned nothing.
    """
    model = await service.model(query.model)
    form = content_negotiation.choose(request, query.format, ("json", "npy", "png"))
    image = await read_one(request, service.limits)
    asked = ExplainRequest(
        query.method,
        query.target,
        query.contrast,
        query.layer,
        query.steps,
        checks=query.checks and form == "json",
    )

    def work() -> Response | ExplanationAnswer:
        found = explain(image, model, service.options(query), asked)
        values = found.attribution.values
        if form == "npy":
            return content_negotiation.npy(values)
        if form == "png":
            limit = float(abs(values).max())
            content = to_png(enlarge(diverging(values, limit), ENLARGED))
            return content_negotiation.png(content, {"X-Value-Limit": f"{limit:.9g}"})
        return explanation_answer(found, model, query.method)

    return await service.inspection_pool.run_until(disconnected(request), work)


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
    """Predict without some channels of a layer, or without each in turn, the weightiest first."""
    model = await service.model(query.model)
    layer = model.network.find(query.layer)
    named = _channels(query.channels)
    image = await read_one(request, service.limits)

    def work() -> AblationAnswer:
        seen = inspect_image(image, model, service.options(query))
        silent = [named] if named else [[channel] for channel in range(layer.channels)]
        baseline, *found = ablate(seen, layer, [[], *silent])
        target = seen.prediction.digit if query.target is None else query.target
        found.sort(key=lambda one: -abs(one.logits[target] - baseline.logits[target]))
        return ablation_answer(seen, layer, target, baseline, found)

    return await service.inspection_pool.run_until(disconnected(request), work)


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
    """Give the training digits nearest to it where the network decides, and how near they are."""
    model = await service.model(query.model)
    image = await read_one(request, service.limits)

    def work() -> NeighboursAnswer:
        found = find_neighbours(image, model, service.options(query), query.count)
        return neighbours_answer(found, model)

    return await service.inspection_pool.run_until(disconnected(request), work)


def _channels(text: str | None) -> list[int]:
    if text is None:
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 7 for part in parts):
        raise InvalidInputError(
            f"'channels' is {text!r}; expected numbers with commas between them, such as 3,17."
        )
    return [int(part) for part in parts]
