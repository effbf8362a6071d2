"""`POST /preprocess`: each stage from the upload to the 28x28 that the network received."""

import io
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from app.preprocessing_report import PreparationReport, explain_preparation
from app.web.dependencies import ServiceDep
from app.web.http.disconnect import disconnected
from app.web.requests.images import read_one
from app.web.responses.openapi_errors import image_error_responses
from app.web.responses.openapi_requests import one_image_body
from app.web.responses.predictions import preparation_answer
from app.web.schemas.predictions import PreparationAnswer
from app.web.schemas.query import ImageQuery

router = APIRouter(tags=["Recognise"])
NPZ = "application/x-npz"


class PreprocessQuery(ImageQuery):
    """The parameters of every image route, and the form of the answer."""

    format: Literal["json", "npz"] = "json"


@router.post(
    "/preprocess",
    operation_id="preprocess",
    summary="Show how an image is prepared",
    response_model=PreparationAnswer,
    responses={
        **image_error_responses(),
        200: {"content": {NPZ: {"schema": {"type": "string", "format": "binary"}}}},
    },
    openapi_extra=one_image_body(),
)
async def preprocess(
    request: Request, query: Annotated[PreprocessQuery, Query()], service: ServiceDep
) -> Response | PreparationAnswer:
    """Give every stage with its parameters, and what would have been read without it.

    With `format=npz` the stages come as exact arrays, one for each stage, and `pixels`.
    """
    model = await service.model(query.model)
    image = await read_one(request, service.limits)
    explained = await service.inspection_pool.run_until(
        disconnected(request), explain_preparation, image, model, service.options(query)
    )
    if query.format == "npz":
        return Response(_as_npz(explained), media_type=NPZ)
    return preparation_answer(explained, model.bundle)


def _as_npz(explained: PreparationReport) -> bytes:
    prepared = explained.prediction.prepared
    stream = io.BytesIO()
    arrays = {stage.name: stage.image for stage in prepared.stages}
    np.savez_compressed(stream, allow_pickle=False, pixels=prepared.pixels, **arrays)
    return stream.getvalue()
