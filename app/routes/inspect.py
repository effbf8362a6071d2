"""`POST /inspect`: every layer of a network for one image, as statistics or as a map."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.errors import InvalidInputError
from app.inference.model import Model
from app.inspection.activations import Scale, inspect_image
from app.network.network import Layer
from app.routes.layer_values import listed_layers
from app.web.dependencies import ServiceDep
from app.web.http.disconnect import disconnected
from app.web.http.fast_routes import FastRoute
from app.web.requests.images import read_one
from app.web.responses import content_negotiation
from app.web.responses.activation_map import check_map_size, map_response
from app.web.responses.inspection import inspection_answer
from app.web.responses.openapi_errors import image_error_responses
from app.web.responses.openapi_requests import one_image_body
from app.web.schemas.inspection import InspectionAnswer
from app.web.schemas.query import ImageQuery
from app.web.service import kind_of_work, size_of

router = APIRouter(tags=["Inspect"], route_class=FastRoute)


class InspectQuery(ImageQuery):
    """The parameters of every image route, and what to add to the statistics."""

    include: Literal["sheets", "map"] | None = Field(
        None,
        description=(
            "`sheets` adds one 8-bit picture of each layer. `map` returns the prediction and one"
            " byte for each value instead, in a binary format that draws quickly."
        ),
    )
    scale: Scale = Field(
        "layer", description="One range of values for a whole sheet, or one for each channel."
    )
    layers: str | None = Field(
        None,
        description=(
            "The layers of the map, in this order: names or indices separated by commas, or `all`;"
            " all if left out."
        ),
    )


@router.post(
    "/inspect",
    operation_id="inspect",
    summary="Inspect every layer",
    response_model=InspectionAnswer,
    responses={**image_error_responses("unknown-layer"), **content_negotiation.responses("map")},
    openapi_extra=one_image_body(),
)
async def inspect(
    request: Request, query: Annotated[InspectQuery, Query()], service: ServiceDep
) -> Response:
    """Return the statistics of every channel of every layer for one image.

    With `include=map`, return the prediction and the values of the layers as bytes, to draw them
    many times a second: 4 bytes (little-endian) with the length of the head, the head (JSON, the
    schema `MapHead`), and for each layer one byte for each value, channel by channel.
    """
    model = await service.model(query.model)
    is_map = query.include == "map"
    layers = _map_layers(model, query) if is_map else []
    if query.layers is not None and not is_map:
        raise InvalidInputError("'layers' needs include=map; leave 'layers' out.")
    image = await read_one(request, service.limits)

    def work() -> Response:
        inspected = inspect_image(image, model, service.options(query))
        if is_map:
            return map_response(inspected, layers)
        answer = inspection_answer(inspected, sheets=query.include == "sheets", scale=query.scale)
        return Response(answer.model_dump_json(), media_type=content_negotiation.JSON)

    name = "inspect map" if is_map else "inspect"
    return await service.inspection_pool.run_until(
        disconnected(request), kind_of_work(name, model, size_of(image)), work
    )


def _map_layers(model: Model, query: InspectQuery) -> list[Layer]:
    """Return the layers of a map, each once.

    Raises:
        NotFoundError: There is no layer of a name.
        InvalidInputError: They have too many values, or each channel shall have its own range.
    """
    if query.scale != "layer":
        raise InvalidInputError("A map has one range for each layer; leave 'scale' out.")
    names = "all" if query.layers is None else query.layers
    layers = list({layer.name: layer for layer in listed_layers(model, names)}.values())
    check_map_size(layers)
    return layers
