"""`POST /predict` and `POST /predict/batch`: recognise one digit per image."""

from fastapi import APIRouter, Request, Response

from app.errors import DigitscopeError
from app.predictions import BatchResult
from app.web.dependencies import ImageQueryDep, ServiceDep
from app.web.http.disconnect import disconnected
from app.web.http.fast_routes import FastRoute
from app.web.http.problem_details import problem_members
from app.web.requests.body import check_wait
from app.web.requests.images import begin_many, read_one
from app.web.responses.openapi_errors import batch_error_responses, image_error_responses
from app.web.responses.openapi_requests import many_images_body, one_image_body
from app.web.responses.predictions import prediction_texts
from app.web.schemas.predictions import ItemError, PredictionAnswer
from app.web.schemas.problem import Problem

router = APIRouter(tags=["Recognise"], route_class=FastRoute)


@router.post(
    "/predict",
    operation_id="predict",
    summary="Recognise one digit",
    response_model=PredictionAnswer,
    responses=image_error_responses(),
    openapi_extra=one_image_body(),
)
async def predict(request: Request, query: ImageQueryDep, service: ServiceDep) -> Response:
    """Take one image; return the digit, the probabilities of all classes, and a verdict.

    The verdict says whether the prediction can be trusted: `digit`, `unsure` or `not-a-digit`.
    """
    model = await service.model(query.model)
    check_wait(request, service.prediction_pool)
    image = await read_one(request, service.limits)
    text = await service.recognise(
        image,
        model,
        service.options(query),
        disconnected=disconnected(request),
        client=request.scope.get("client"),
    )
    return Response(text, media_type="application/json")


@router.post(
    "/predict/batch",
    operation_id="predict_batch",
    summary="Recognise one digit in each of many images",
    response_model=list[PredictionAnswer | ItemError],
    responses=batch_error_responses(),
    openapi_extra=many_images_body(),
)
async def predict_batch(request: Request, query: ImageQueryDep, service: ServiceDep) -> Response:
    """Take many images; return a list with a prediction for each, in the same order.

    An image that cannot be read has `{"error": ...}` in the list; the others are not affected.
    """
    model = await service.model(query.model)
    check_wait(request, service.prediction_pool)
    images, arrivals = await begin_many(request, service.limits)

    def write(result: BatchResult) -> bytes:
        texts = prediction_texts(result, model.bundle)
        for index, error in result.errors.items():
            texts.insert(index, _error_text(request, error))
        return ",".join(texts).encode()

    options = service.options(query)
    parts = await service.recognise_many(
        images, model, options, write, disconnected=disconnected(request), arrivals=arrivals
    )
    return Response(b"[%b]" % b",".join(parts), media_type="application/json")


def _error_text(request: Request, error: DigitscopeError) -> str:
    return ItemError(error=Problem(**problem_members(request, error))).model_dump_json()
