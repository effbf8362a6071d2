"""`GET /models/{model}/training` and `POST /snapshots`: how a network learned."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from app.errors import NotFoundError
from app.inspection.activations import Scale, inspect_image
from app.inspection.snapshots import run_epochs, saved_epochs
from app.web.dependencies import ServiceDep
from app.web.http.disconnect import disconnected
from app.web.requests.images import read_one
from app.web.responses.openapi_errors import error_responses, image_error_responses
from app.web.responses.openapi_requests import one_image_body
from app.web.responses.snapshots import epoch_answer, snapshots_answer, training_answer
from app.web.schemas.query import ImageQuery
from app.web.schemas.snapshots import SnapshotsAnswer, TrainingAnswer
from app.web.service import kind_of_work, size_of

router = APIRouter(tags=["Inspect"])


class SnapshotsQuery(ImageQuery):
    """The parameters of every image route, and the layer to watch."""

    layer: str = Field(description="Name or index of the layer to watch.")
    channel: int | None = Field(
        None,
        ge=0,
        description="Output channel whose kernel to send, for kernels of several input channels.",
    )
    scale: Scale = Field(
        "layer", description="One range of values for all tiles, or one for each channel."
    )


@router.get(
    "/models/{model}/training",
    operation_id="describe_training",
    summary="Show how training went",
    responses=error_responses("unknown-model", "not-ready"),
)
async def describe_training(model: str, service: ServiceDep) -> TrainingAnswer:
    """Return the loss and accuracy of every epoch, and the epochs whose weights are kept."""
    return training_answer(service.registry.find_bundle(model))


@router.post(
    "/snapshots",
    operation_id="snapshots",
    summary="Watch the network learn",
    responses=image_error_responses("unknown-layer", "unsupported-layer", "damaged-bundle"),
    openapi_extra=one_image_body(),
)
async def snapshots(
    request: Request, query: Annotated[SnapshotsQuery, Query()], service: ServiceDep
) -> SnapshotsAnswer:
    """Run one image with the weights of every saved epoch; return each prediction and one layer."""
    model = await service.model(query.model)
    layer = model.network.find(query.layer)
    if not saved_epochs(model.bundle):
        raise NotFoundError(
            f"The model {model.bundle.metadata.name!r} has no snapshots of its training.",
            valid=[
                name for name, bundle in service.registry.bundles.items() if saved_epochs(bundle)
            ],
        )
    if query.channel is not None:
        layer.check_channels([query.channel])
    image = await read_one(request, service.limits)

    def work() -> SnapshotsAnswer:
        inspected = inspect_image(image, model, service.options(query))
        convolution = model.network.convolution_of(layer)
        epochs = [
            epoch_answer(result, layer, query.channel, query.scale, model.bundle.metadata.classes)
            for result in run_epochs(inspected, layer)
        ]
        name = None if convolution is None else convolution.name
        return snapshots_answer(inspected, layer, name, epochs)

    return await service.inspection_pool.run_until(
        disconnected(request), kind_of_work("snapshots", model, size_of(image)), work
    )
