"""`/compare` and the routes of one layer: the values of layers for an image, and their origin."""

from collections.abc import Sequence
from math import prod
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from numpy.typing import NDArray
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
from app.web.responses.inspection import comparison_answer, unit_answer
from app.web.responses.json_arrays import check_numbers, rounded_list
from app.web.responses.layers import layer_name
from app.web.responses.openapi_errors import image_error_responses
from app.web.responses.openapi_requests import one_image_body, two_images_body
from app.web.responses.predictions import prediction_answer
from app.web.schemas.inspection import (
    ActivationsAnswer,
    ComparisonAnswer,
    UnitAnswer,
)
from app.web.schemas.query import ImageQuery
from app.web.service import kind_of_work, size_of

router = APIRouter(tags=["Inspect"])


class ActivationsQuery(ImageQuery):
    """The parameters of every image route, the format, and which layers to return."""

    format: Literal["npy", "npz", "png", "json"] | None = Field(
        None,
        description="Format of the response; if left out, the Accept header decides, else npy.",
    )
    layers: str | None = Field(
        None,
        description=(
            "Return these layers as `.npz`: names or indices separated by commas, or `all`."
        ),
    )
    scale: Scale = Field(
        "layer", description="One range of values for the whole PNG, or one for each channel."
    )


class UnitQuery(ImageQuery):
    """The parameters of every image route, and the unit to trace."""

    channel: int | None = Field(
        None,
        description=(
            "Channel, or the unit of a layer without rows and columns. If left out, the one with"
            " the largest value."
        ),
    )
    y: int | None = Field(
        None, description="Row. If `y` and `x` are left out, the position of the largest value."
    )
    x: int | None = Field(None, description="Column; left out in a layer of rows and channels.")


class CompareQuery(ImageQuery):
    """The parameters of every image route, and the second model."""

    other: str | None = Field(
        None, description="A second model, to compare one image in two models."
    )


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
    """Return the values of one layer as `.npy` (float32), PNG or JSON, or of several as `.npz`.

    The PNG is the sheet of `/inspect`. The headers `X-Value-Min` and `X-Value-Max` give the values
    of black and white.
    """
    model = await service.model(query.model)
    wanted = model.network.find(layer)
    listed = listed_layers(model, query.layers)
    form = content_negotiation.choose(
        request, query.format or ("npz" if listed else None), ("npy", "json", "npz", "png")
    )
    if listed and form != "npz":
        raise InvalidInputError(
            f"'layers' needs the format npz, not {form}; leave 'format' or 'layers' out."
        )
    if form in ("json", "png"):
        check_numbers(prod(wanted.shape), f"The output of the layer {wanted.name!r}", "npy")
    image = await read_one(request, service.limits)

    def work() -> Response | ActivationsAnswer:
        inspected = inspect_image(image, model, service.options(query))
        values = inspected.of(wanted)
        if form == "json":
            return _activations_json(inspected, wanted)
        if form == "png":
            return _activations_png(values, query.scale)
        if form == "npz":
            layers = listed or [wanted]
            return content_negotiation.npz({each.name: inspected.of(each) for each in layers})
        return content_negotiation.npy(values)

    return await service.inspection_pool.run_until(
        disconnected(request), kind_of_work(f"activations {form}", model, size_of(image)), work
    )


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
    """Show where one number comes from: its equation with real operands, and what it depends on.

    The equation is computed in float64 from the weights and the values of the previous layers.
    `abs_error` is its distance from the network's own value.
    """
    model = await service.model(query.model)
    wanted = model.network.find(layer)
    image = await read_one(request, service.limits)

    def work() -> UnitAnswer:
        inspected = inspect_image(image, model, service.options(query))
        address = find_unit(inspected, wanted, query.channel, query.y, query.x)
        return unit_answer(inspected, explain_unit(inspected, wanted, address))

    return await service.inspection_pool.run_until(
        disconnected(request), kind_of_work("unit", model, size_of(image)), work
    )


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
    """Compare two images in one model, or one image in two models, layer by layer.

    Send two images: two `files` fields, a JSON list of two, or an array `[2, 28, 28]`. Or send one
    image in any form and name a second model as `other`.
    """
    models = [await service.model(query.model), await service.model(query.other or query.model)]
    images: Sequence[ImageInput | DigitscopeError]
    if query.other is not None:
        images = [await read_one(request, service.limits)] * 2
    else:
        images = list(await read_many(request, service.limits))
    if len(images) != 2:
        raise InvalidInputError(
            f"Got {len(images)} image(s); send two, or one and a second model as 'other'."
        )
    options = service.options(query)

    def work() -> ComparisonAnswer:
        first, second = (
            _inspect(image, model, options) for image, model in zip(images, models, strict=True)
        )
        return comparison_answer(compare(first, second))

    return await service.inspection_pool.run_until(
        disconnected(request), kind_of_work("compare", models[0], 0), work
    )


def _inspect(image: ImageInput | DigitscopeError, model: Model, options: Options) -> InspectedImage:
    """Inspect one image of a batch; raise the error if it could not be read."""
    if isinstance(image, DigitscopeError):
        raise image
    return inspect_image(image, model, options)


def listed_layers(model: Model, names: str | None) -> list[Layer]:
    """Parse the parameter `layers`; without it, return an empty list."""
    if names is None:
        return []
    if names == "all":
        return list(model.network.layers)
    return [model.network.find(name.strip()) for name in names.split(",")]


def _activations_json(inspected: InspectedImage, layer: Layer) -> ActivationsAnswer:
    return ActivationsAnswer(
        prediction=prediction_answer(inspected.prediction, inspected.model.bundle),
        layer=layer_name(layer),
        shape=list(layer.shape),
        values=rounded_list(inspected.of(layer)),
    )


def _activations_png(values: NDArray[np.float32], scale: Scale) -> Response:
    sheet = make_sheet(values, scale)
    low, high = (",".join(f"{value:.9g}" for value in ends) for ends in (sheet.low, sheet.high))
    return content_negotiation.png(to_png(sheet.pixels), {"X-Value-Min": low, "X-Value-Max": high})
