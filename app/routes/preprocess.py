"""`POST /preprocess`: show how an image is prepared for the network."""

import io
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.imaging.stages import NetworkInput
from app.preprocessing_report import explain_preparation
from app.web.dependencies import ServiceDep
from app.web.http.disconnect import disconnected
from app.web.requests.images import read_one
from app.web.responses import content_negotiation
from app.web.responses.openapi_errors import image_error_responses
from app.web.responses.openapi_requests import one_image_body
from app.web.responses.preparation import preparation_answer
from app.web.schemas.preparation import PreparationAnswer
from app.web.schemas.query import ImageQuery
from app.web.service import kind_of_work, size_of

router = APIRouter(tags=["Recognise"])


class PreprocessQuery(ImageQuery):
    """The query parameters of every image route, and the format of the response."""

    format: Literal["json", "npz"] = Field(
        "json", description="Format of the response: JSON, or the stages as arrays in an npz file."
    )


@router.post(
    "/preprocess",
    operation_id="preprocess",
    summary="Show how an image is prepared",
    response_model=PreparationAnswer,
    responses={**image_error_responses(), **content_negotiation.responses("npz")},
    openapi_extra=one_image_body(),
)
async def preprocess(
    request: Request, query: Annotated[PreprocessQuery, Query()], service: ServiceDep
) -> Response | PreparationAnswer:
    """Take one image; return every stage of its preparation, and the prediction without each stage.

    With `format=npz` the response is a NumPy archive: an array for each stage, and `pixels`, the
    28x28 image that the network received.
    """
    model = await service.model(query.model)
    image = await read_one(request, service.limits)
    report = await service.inspection_pool.run_until(
        disconnected(request),
        kind_of_work("preprocess", model, size_of(image)),
        explain_preparation,
        image,
        model,
        service.options(query),
    )
    if query.format == "npz":
        content = _to_npz(report.prediction.prepared)
        return Response(content, media_type=content_negotiation.NPZ)
    return preparation_answer(report, model.bundle)


def _to_npz(prepared: NetworkInput) -> bytes:
    stream = io.BytesIO()
    arrays = {stage.name: stage.image for stage in prepared.stages}
    np.savez_compressed(stream, allow_pickle=False, pixels=prepared.pixels, **arrays)
    return stream.getvalue()
