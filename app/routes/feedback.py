"""`POST /feedback` and `DELETE /feedback/{id}`: corrections of answers, kept to learn from.

The routes exist only if a folder is set for corrections; an API key is then set, too, which the
middleware checks. The image is sent again, so the service keeps nothing of earlier requests.
"""

import math
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.errors import InvalidInputError, NotFoundError
from app.inference.model import Model
from app.recognise import ImageInput, Options, name_several, predict, read_image
from app.render import to_png
from app.web.dependencies import ServiceDep
from app.web.execution.correction_writer import CorrectionWriter
from app.web.http.disconnect import disconnected
from app.web.requests.body import check_wait
from app.web.requests.images import read_one
from app.web.responses.openapi_errors import error_responses, image_error_responses
from app.web.responses.openapi_requests import one_image_body
from app.web.schemas.feedback import NOT_A_DIGIT, FeedbackAnswer, FeedbackQuery
from app.web.schemas.predictions import ModelName
from app.web.service import Service, kind_of_work, size_of

PATH = "/feedback"
OFF = "Corrections are off: set DIGITSCOPE_FEEDBACK_DIR to enable them."
ONE_DIGIT = (
    "A correction is of one digit, so nothing was stored. Cut the digit out and send it alone."
)
_EXAMPLE = {
    "id": "5f0c9a3e8b7d4c21a6e4f0b1d2c3a495",
    "label": "7",
    "answer": "1",
    "verdict": "unsure",
    "model": {"name": "compact", "version": 8},
}


def feedback_router(*, is_on: bool) -> APIRouter:
    """Return the routes for corrections; if they are off, a route that says so in a 404."""
    router = APIRouter(tags=["Operate"])
    if not is_on:
        router.add_route(PATH, _refuse, methods=["POST"], include_in_schema=False)
        router.add_route(f"{PATH}/{{id}}", _refuse, methods=["DELETE"], include_in_schema=False)
        return router
    router.add_api_route(
        PATH,
        add_correction,
        methods=["POST"],
        status_code=201,
        operation_id="add_correction",
        summary="Correct an answer",
        responses={
            201: {"content": {"application/json": {"example": _EXAMPLE}}},
            **image_error_responses("unknown-label", "several-digits", "storage", "storage-full"),
        },
        openapi_extra=one_image_body(),
    )
    router.add_api_route(
        f"{PATH}/{{id}}",
        delete_correction,
        methods=["DELETE"],
        status_code=204,
        operation_id="delete_correction",
        summary="Delete a correction",
        responses=error_responses("unknown-correction", "storage", "busy", "late"),
    )
    return router


async def _refuse(request: Request) -> NoReturn:
    raise NotFoundError(OFF)


async def add_correction(
    request: Request, query: Annotated[FeedbackQuery, Query()], service: ServiceDep
) -> FeedbackAnswer:
    """Take an image that was read wrongly, and its right label; store both and the model's answer.

    Stored are the 28x28 that the network receives, the answer with all probabilities, the label,
    the time and `request_id`; not the image that was sent. `digitscope evaluate` and `digitscope
    adapt` read the folder. An image that seems to show several digits gets 422, unless the label is
    `not-a-digit`: its 28x28 would teach that all of them are one. A full folder gives 507.
    """
    if len(request.query_params.getlist("label")) > 1:
        raise InvalidInputError("The parameter 'label' was sent more than once; send one label.")
    model = await service.model(query.model)
    _check_label(query.label, model)
    check_wait(request, service.prediction_pool)
    image = await read_one(request, service.limits)
    picture, answer = await service.prediction_pool.run_until(
        disconnected(request),
        kind_of_work("image", model, size_of(image)),
        _read,
        image,
        model,
        service.options(query),
        query.label,
    )
    details = {
        **answer,
        "request_id": query.request_id,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    name = await _writer(service).add(picture, query.label, details)
    return FeedbackAnswer(
        id=name,
        label=query.label,
        answer=answer["answer"],
        verdict=answer["verdict"],
        model=ModelName(name=answer["model"], version=answer["version"]),
    )


async def delete_correction(id: str, service: ServiceDep) -> Response:
    """Delete a correction: its image and its line in the table of labels."""
    await _writer(service).remove(id)
    return Response(status_code=204)


def _check_label(label: str, model: Model) -> None:
    classes = model.bundle.metadata.classes
    if label not in (*classes, NOT_A_DIGIT):
        raise InvalidInputError(
            f"The model {model.bundle.metadata.name!r} has no class {label!r}; expected the name of"
            f" a class, or {NOT_A_DIGIT!r}.",
            valid=[*classes, NOT_A_DIGIT],
        )


def _read(
    image: ImageInput, model: Model, options: Options, label: str
) -> tuple[bytes, dict[str, Any]]:
    """Return the 28x28 as PNG, and what is stored of the answer; the upload is freed here.

    Raises:
        InvalidInputError: The label is a digit, and the image shows several.
    """
    prepared = read_image(image, options)
    if label != NOT_A_DIGIT and (several := name_several(prepared, model, options)):
        raise InvalidInputError(f"{several} {ONE_DIGIT}")
    prediction, metadata = predict([prepared], model)[0], model.bundle.metadata
    return to_png(prediction.prepared.pixels), {
        "answer": metadata.classes[prediction.digit],
        "verdict": prediction.verdict,
        "score": _finite(prediction.score, 4),
        "probabilities": [_finite(share, 6) for share in prediction.probabilities.tolist()],
        "model": metadata.name,
        "version": metadata.version,
    }


def _finite(value: float, decimals: int) -> float | None:
    """Return a number that JSON can hold; None for infinity and NaN."""
    return round(float(value), decimals) if math.isfinite(value) else None


def _writer(service: Service) -> CorrectionWriter:
    if service.corrections is None:
        raise NotFoundError(OFF)
    return service.corrections
