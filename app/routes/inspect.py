"""`POST /inspect`, activations, units and comparisons: how the network saw one image."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.errors import DigitscopeError, InvalidInputError
from app.inference.model import Model
from app.inspection.activations import InspectedImage, Scale, inspect_image, make_sheet
from app.inspection.comparison import compare
from app.inspection.provenance import explain_unit, find_unit
from app.network.network import Layer
from app.recognise import ImageInput, Options
from app.render import to_png
from app.routes.layers import LayerPath
from app.web.dependencies import ServiceDep
from app.web.http.disconnect import disconnected
from app.web.requests.images import read_many, read_one
from app.web.responses import content_negotiation
from app.web.responses.inspection import comparison_answer, inspection_answer, unit_answer
from app.web.responses.json_arrays import rounded_list
from app.web.responses.layers import layer_name
from app.web.responses.openapi_errors import image_error_responses
from app.web.responses.openapi_requests import one_image_body, two_images_body
from app.web.responses.predictions import prediction_answer
from app.web.schemas.inspection import (
    ActivationsAnswer,
    ComparisonAnswer,
    InspectionAnswer,
    UnitAnswer,
)
from app.web.schemas.query import ImageQuery

router = APIRouter(tags=["Inspect"])


class InspectQuery(ImageQuery):
    """The parameters of every image route, and what to add."""

    include: Literal["sheets"] | None = Field(
        None, description="`sheets` adds one 8-bit picture of each layer."
    )
    scale: Scale = Field(
        "layer", description="Whether a sheet's tiles share one range or each has its own."
    )


class ActivationsQuery(ImageQuery):
    """The parameters of every image route, and the form of the answer."""

    format: Literal["npy", "npz", "png", "json"] | None = Field(
        None, description="Form of the answer; the Accept header decides if left out, else npy."
    )
    layers: str | None = Field(
        None,
        description="Names or indices with commas between them, or `all`: these layers as `.npz`.",
    )
    scale: Scale = Field("layer", description="Of the PNG: one range for all tiles, or for each.")


class UnitQuery(ImageQuery):
    """The parameters of every image route, and which unit."""

    channel: int | None = Field(
        None, description="Channel, or unit in a layer without places; the strongest if left out."
    )
    y: int | None = Field(None, description="Row; with x, the strongest place if left out.")
    x: int | None = Field(None, description="Column.")


class CompareQuery(ImageQuery):
    """The parameters of every image route, and the other model."""

    other: str | None = Field(None, description="The model that one image is also shown to.")


@router.post(
    "/inspect",
    operation_id="inspect",
    summary="Look into every layer",
    responses=image_error_responses(),
    openapi_extra=one_image_body(),
)
async def inspect(
    request: Request, query: Annotated[InspectQuery, Query()], service: ServiceDep
) -> InspectionAnswer:
    """Give the statistics of every channel of every layer for one image, if asked with pictures."""
    model = await service.model(query.model)
    image = await read_one(request, service.limits)

    def work() -> InspectionAnswer:
        seen = inspect_image(image, model, service.options(query))
        return inspection_answer(seen, sheets=query.include == "sheets", scale=query.scale)

    return await service.inspection_pool.run_until(disconnected(request), work)


@router.post(
    "/layers/{layer:path}/activations",
    operation_id="activations",
    summary="Get a layer's exact values",
    response_model=ActivationsAnswer,
    responses={
        **image_error_responses("unknown-layer"),
        **content_negotiation.responses("npy", "npz", "png"),
    },
    openapi_extra=one_image_body(),
)
async def activations(
    request: Request,
    layer: LayerPath,
    query: Annotated[ActivationsQuery, Query()],
    service: ServiceDep,
) -> Response | ActivationsAnswer:
    """Give one layer's tensor: `.npy` (float32), `.npz` of several layers, PNG, or JSON.

    The PNG is the sheet of `/inspect`; the headers `X-Value-Min` and `X-Value-Max` give what black
    and white mean.
    """
    model = await service.model(query.model)
    one = model.network.find(layer)
    several = _several(model, query.layers)
    form = content_negotiation.choose(
        request, query.format or ("npz" if several else None), ("npy", "json", "npz", "png")
    )
    if several and form != "npz":
        raise InvalidInputError(
            f"'layers' asks for several layers, which come as npz only; 'format' is {form}."
        )
    image = await read_one(request, service.limits)

    def work() -> Response | ActivationsAnswer:
        seen = inspect_image(image, model, service.options(query))
        if form == "json":
            return _as_json(seen, one)
        if form == "png":
            return _as_png(seen.of(one), query.scale)
        if form == "npz":
            return content_negotiation.npz({each.name: seen.of(each) for each in several or [one]})
        return content_negotiation.npy(seen.of(one))

    return await service.inspection_pool.run_until(disconnected(request), work)


@router.post(
    "/layers/{layer:path}/unit",
    operation_id="unit",
    summary="Trace one number",
    responses=image_error_responses("unknown-layer", "unsupported-layer"),
    openapi_extra=one_image_body(),
)
async def unit(
    request: Request, layer: LayerPath, query: Annotated[UnitQuery, Query()], service: ServiceDep
) -> UnitAnswer:
    """Say where one number comes from: its equation with real operands, and what it sees.

    The equation is worked out anew from the weights and the values of the layers before; how far
    that is from what the network gave is `abs_error`.
    """
    model = await service.model(query.model)
    one = model.network.find(layer)
    image = await read_one(request, service.limits)

    def work() -> UnitAnswer:
        seen = inspect_image(image, model, service.options(query))
        address = find_unit(seen, one, query.channel, query.y, query.x)
        return unit_answer(seen, explain_unit(seen, one, address))

    return await service.inspection_pool.run_until(disconnected(request), work)


@router.post(
    "/compare",
    operation_id="compare",
    summary="Compare two images, or two models",
    responses=image_error_responses("too-many"),
    openapi_extra=two_images_body(),
)
async def compare_two(
    request: Request, query: Annotated[CompareQuery, Query()], service: ServiceDep
) -> ComparisonAnswer:
    """Show where two images part in one model, or one image in two models, layer by layer.

    Send two images (two `files` fields, a JSON list of two, an array `[2, 28, 28]`), or name a
    second model as `other` and send one image in any form.
    """
    models = [await service.model(query.model), await service.model(query.other or query.model)]
    images: Sequence[ImageInput | DigitscopeError]
    if query.other is not None:
        images = [await read_one(request, service.limits)] * 2
    else:
        images = list(await read_many(request, service.limits))
    if len(images) != 2:
        raise InvalidInputError(
            f"Got {len(images)} image(s): send two, or one and a second model as 'other'."
        )
    options = service.options(query)

    def work() -> ComparisonAnswer:
        looks = [_look(image, model, options) for image, model in zip(images, models, strict=True)]
        return comparison_answer(compare(*looks))

    return await service.inspection_pool.run_until(disconnected(request), work)


def _look(image: ImageInput | DigitscopeError, model: Model, options: Options) -> InspectedImage:
    if isinstance(image, DigitscopeError):
        raise image
    return inspect_image(image, model, options)


def _several(model: Model, names: str | None) -> list[Layer]:
    if names is None:
        return []
    if names == "all":
        return list(model.network.layers)
    return [model.network.find(name.strip()) for name in names.split(",")]


def _as_json(seen: InspectedImage, layer: Layer) -> ActivationsAnswer:
    return ActivationsAnswer(
        prediction=prediction_answer(seen.prediction, seen.model.bundle),
        layer=layer_name(layer),
        shape=list(layer.shape),
        values=rounded_list(seen.of(layer)),
    )


def _as_png(values: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]", scale: Scale) -> Response:
    made = make_sheet(values, scale)
    low, high = (",".join(f"{one:.9g}" for one in ends) for ends in (made.low, made.high))
    return content_negotiation.png(to_png(made.pixels), {"X-Value-Min": low, "X-Value-Max": high})
