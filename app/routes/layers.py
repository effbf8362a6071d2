"""`GET /models/{model}/layers` and their weights: what a network is made of."""

from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.errors import NotFoundError
from app.inference.model import Model
from app.inspection.describe import describe_layers
from app.inspection.weights import draw_weights
from app.network.network import Layer
from app.render import to_png
from app.web.dependencies import ServiceDep
from app.web.http.disconnect import disconnected
from app.web.responses import content_negotiation
from app.web.responses.json_arrays import rounded_list
from app.web.responses.layers import layer_name, layers_answer, model_name
from app.web.responses.openapi_errors import error_responses
from app.web.schemas.layers import LayersAnswer, WeightsAnswer

router = APIRouter(tags=["Inspect"])
LayerPath = Annotated[
    str,
    Path(description="Name or index of the layer, such as `relu_1_1` or 4.", examples=["relu_1_1"]),
]


class WeightsQuery(BaseModel):
    """What of a layer's weights, and in which form."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["npz", "json", "png"] | None = Field(
        None, description="Form of the answer; the Accept header decides if left out, else npz."
    )
    name: str | None = Field(
        None, description="Which weight a picture shows; the kernel, else the first, if left out."
    )


@router.get(
    "/models/{model}/layers",
    operation_id="list_layers",
    summary="List a model's layers",
    responses=error_responses("unknown-model", "not-ready"),
)
async def list_layers(model: str, service: ServiceDep) -> LayersAnswer:
    """Say what each layer is, what it does, what it costs and how much of the image it sees."""
    found = await service.model(model)
    return layers_answer(found, describe_layers(found.network))


@router.get(
    "/models/{model}/layers/{layer:path}/weights",
    operation_id="get_weights",
    summary="Show a layer's weights",
    response_model=WeightsAnswer,
    responses={
        **error_responses("unknown-model", "unknown-layer", "bad-parameter", "not-ready"),
        **content_negotiation.responses("npz", "png"),
    },
)
async def get_weights(
    request: Request,
    model: str,
    layer: LayerPath,
    query: Annotated[WeightsQuery, Query()],
    service: ServiceDep,
) -> Response | WeightsAnswer:
    """Give a layer's weights: `.npz` (float32), JSON, or a picture.

    The picture is diverging and symmetric about 0: white is 0, red positive, blue negative, full
    colour the largest size, which the header `X-Value-Limit` gives.
    """
    found = await service.model(model)
    one = found.network.find(layer)
    if not one.weights:
        raise NotFoundError(
            f"The layer {one.name!r} ({one.kind}) has no weights.",
            valid=[other.name for other in found.network.layers if other.weights],
        )
    form = content_negotiation.choose(request, query.format, ("npz", "json", "png"))
    if form == "npz":
        return content_negotiation.npz(one.weights)
    if form == "png":
        return await service.inspection_pool.run_until(
            disconnected(request), _picture, one, query.name
        )
    return await service.inspection_pool.run_until(disconnected(request), _as_json, found, one)


def _picture(layer: Layer, name: str | None) -> Response:
    name = name or ("kernel" if "kernel" in layer.weights else next(iter(layer.weights)))
    if name not in layer.weights:
        raise NotFoundError(
            f"The layer {layer.name!r} has no weight {name!r}.", valid=list(layer.weights)
        )
    values = layer.weights[name]
    limit = float(np.abs(values).max())
    return content_negotiation.png(to_png(draw_weights(values)), {"X-Value-Limit": f"{limit:.9g}"})


def _as_json(model: Model, layer: Layer) -> WeightsAnswer:
    return WeightsAnswer(
        model=model_name(model),
        layer=layer_name(layer),
        weights={name: rounded_list(values) for name, values in layer.weights.items()},
    )
