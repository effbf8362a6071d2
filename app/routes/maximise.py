"""`POST /layers/{layer}/maximise`: what a channel looks for."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.errors import InvalidInputError
from app.inference.model import Model
from app.inspection.cost_limits import gradients_s, max_gradients
from app.inspection.maximisation import DEFAULT_STEPS, MAX_STEPS, Maximised, maximise
from app.network.network import Layer
from app.render import enlarge, png_base64, to_png
from app.routes.layers import LayerPath
from app.web.dependencies import ServiceDep
from app.web.http.disconnect import disconnected
from app.web.responses import content_negotiation
from app.web.responses.content_negotiation import PictureFormat
from app.web.responses.layers import layer_name, model_name
from app.web.responses.openapi_errors import error_responses
from app.web.schemas.inspection import UnitAddress
from app.web.schemas.maximisation import MaximisationAnswer
from app.web.service import kind_of_work

router = APIRouter(tags=["Inspect"])
PNG_SCALE = 10  # pixels of the PNG for each pixel of the picture


class MaximiseQuery(BaseModel):
    """Which channel, how long, and the format."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="Name of the model; the default model if left out.")
    channel: int = Field(
        ge=0, description="Channel, or the unit of a layer without rows and columns."
    )
    y: int | None = Field(
        None,
        ge=0,
        description="Row of the unit. If `y` and `x` are left out, the mean of the whole channel.",
    )
    x: int | None = Field(
        None, ge=0, description="Column; left out in a layer of rows and channels."
    )
    steps: int = Field(DEFAULT_STEPS, ge=1, le=MAX_STEPS, description="Steps of the ascent.")
    format: PictureFormat | None = Field(
        None,
        description="Format of the response; if left out, the Accept header decides, else json.",
    )

    @property
    def place(self) -> tuple[int, ...] | None:
        """Return the row and column of a unit, or None for the whole channel.

        Raises:
            InvalidInputError: There is a column without a row.
        """
        if self.y is None and self.x is not None:
            raise InvalidInputError("'x' needs 'y': give the row too, or neither.")
        return None if self.y is None else (self.y,) if self.x is None else (self.y, self.x)


@router.post(
    "/layers/{layer:path}/maximise",
    operation_id="maximise",
    summary="Show what a channel looks for",
    response_model=MaximisationAnswer,
    responses={
        **error_responses(
            "unknown-model",
            "unknown-layer",
            "unsupported-layer",
            "bad-parameter",
            "not-ready",
            "busy",
        ),
        **content_negotiation.responses("npy", "png"),
    },
)
async def maximise_channel(
    request: Request,
    layer: LayerPath,
    query: Annotated[MaximiseQuery, Query()],
    service: ServiceDep,
) -> Response | MaximisationAnswer:
    """Make a picture that a channel answers strongly, by gradient ascent from noise.

    Activation maximisation (Erhan et al., 2009); as in Olah et al., 2017, the picture is moved and
    blurred during the ascent, or else it would be noise. It shows what raises the activation, not
    what the channel means. The same request always gives the same picture.
    """
    model = await service.model(query.model)
    wanted = model.network.find(layer)
    place = query.place
    form = content_negotiation.choose(request, query.format, ("json", "npy", "png"))
    source = model.bundle.metadata.files[model.bundle.source]  # its hash: a new file, new pictures
    key = (source, wanted.index, query.channel, place, query.steps)

    def work() -> Response | MaximisationAnswer:
        found = service.maximised.get(
            key, lambda: maximise(model.network, wanted, query.channel, place, query.steps)
        )
        if form == "npy":
            return content_negotiation.npy(found.pixels)
        if form == "png":
            return content_negotiation.png(to_png(enlarge(found.pixels, PNG_SCALE)))
        return _answer(found, model, wanted, query)

    estimate_s = gradients_s(model.network, min(query.steps, max_gradients(model.network)))
    return await service.explanation_pool.run_until(
        disconnected(request), kind_of_work("maximise", model, query.steps, estimate_s), work
    )


def _answer(
    found: Maximised, model: Model, layer: Layer, query: MaximiseQuery
) -> MaximisationAnswer:
    return MaximisationAnswer(
        model=model_name(model),
        layer=layer_name(layer),
        unit=UnitAddress(channel=query.channel, y=query.y, x=query.x),
        before=found.before,
        after=found.after,
        steps=found.steps,
        image=png_base64(found.pixels),
        pixels=found.pixels.tolist(),
    )
