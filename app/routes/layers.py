"""`GET /models/{model}/layers` and `.../weights`: the layers of a network."""

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
from app.web.responses.json_arrays import check_numbers, rounded_list
from app.web.responses.layers import layer_name, layers_answer, model_name
from app.web.responses.openapi_errors import error_responses
from app.web.schemas.layers import LayersAnswer, WeightsAnswer
from app.web.service import kind_of_work

router = APIRouter(tags=["Inspect"])
LayerPath = Annotated[
    str,
    Path(description="Name or index of the layer; `GET /models/{model}/layers` lists them."),
]


class WeightsQuery(BaseModel):
    """Which weights to return, and in which format."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["npz", "json", "png"] | None = Field(
        None,
        description="Format of the response; if left out, the Accept header decides, else npz.",
    )
    name: str | None = Field(
        None,
        description=(
            "Name of the array that the PNG shows. If left out: the kernel, or the first array of a"
            " layer without one."
        ),
    )


@router.get(
    "/models/{model}/layers",
    operation_id="list_layers",
    summary="List a model's layers",
    responses=error_responses("unknown-model", "not-ready"),
)
async def list_layers(request: Request, model: str, service: ServiceDep) -> LayersAnswer:
    """Describe each layer: what it does, its shapes, cost, weights and receptive field."""
    served = await service.model(model)

    def work() -> LayersAnswer:
        return layers_answer(served, describe_layers(served.network))

    kind = kind_of_work("layers", served, len(served.network.layers))
    return await service.inspection_pool.run_until(disconnected(request), kind, work)


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
    """Return a layer's weights as `.npz` (float32), JSON or PNG.

    In the PNG, red is positive, blue negative and white 0. The header `X-Value-Limit` gives the
    magnitude of the full colour.
    """
    served = await service.model(model)
    wanted = served.network.find(layer)
    if not wanted.weights:
        raise NotFoundError(
            f"The layer {wanted.name!r} ({wanted.kind}) has no weights.",
            valid=[other.name for other in served.network.layers if other.weights],
        )
    form = content_negotiation.choose(request, query.format, ("npz", "json", "png"))
    size = sum(values.size for values in wanted.weights.values())
    kind = kind_of_work(f"weights {form}", served, size)
    if form == "npz":
        return await service.inspection_pool.run_until(
            disconnected(request), kind, content_negotiation.npz, wanted.weights
        )
    check_numbers(size, f"The layer {wanted.name!r}", "npz")
    if form == "png":
        return await service.inspection_pool.run_until(
            disconnected(request), kind, _weights_png, wanted, query.name
        )
    return await service.inspection_pool.run_until(
        disconnected(request), kind, _weights_json, served, wanted
    )


def _weights_png(layer: Layer, name: str | None) -> Response:
    name = name or ("kernel" if "kernel" in layer.weights else next(iter(layer.weights)))
    if name not in layer.weights:
        raise NotFoundError(
            f"The layer {layer.name!r} has no weight {name!r}.", valid=list(layer.weights)
        )
    values = layer.weights[name]
    limit = float(np.abs(values).max())
    return content_negotiation.png(to_png(draw_weights(values)), {"X-Value-Limit": f"{limit:.9g}"})


def _weights_json(model: Model, layer: Layer) -> WeightsAnswer:
    return WeightsAnswer(
        model=model_name(model),
        layer=layer_name(layer),
        weights={name: rounded_list(values) for name, values in layer.weights.items()},
    )
