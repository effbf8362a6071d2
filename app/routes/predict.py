"""`POST /predict` and `POST /predict/batch`: which digit an image shows."""

from fastapi import APIRouter, Request, Response

from app.errors import DigitscopeError
from app.predictions import BatchResult
from app.web.dependencies import ImageQueryDep, ServiceDep
from app.web.http.disconnect import disconnected
from app.web.http.fast_routes import FastRoute
from app.web.http.problem_details import problem
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
    summary="Read one digit",
    response_model=PredictionAnswer,
    responses=image_error_responses(),
    openapi_extra=one_image_body(),
)
async def predict(request: Request, query: ImageQueryDep, service: ServiceDep) -> Response:
    """Say which digit an image shows, how sure that is, and whether it is a digit at all."""
    model = await service.model(query.model)
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
    summary="Read many digits, one per image",
    response_model=list[PredictionAnswer | ItemError],
    responses=batch_error_responses(),
    openapi_extra=many_images_body(),
)
async def predict_batch(request: Request, query: ImageQueryDep, service: ServiceDep) -> Response:
    """Read every image of a batch, in order; a bad item gives its own error."""
    model = await service.model(query.model)
    images, arrivals = await begin_many(request, service.limits)

    def write(found: BatchResult) -> bytes:
        texts = prediction_texts(found, model.bundle)
        for place, error in found.errors.items():
            texts.insert(place, _error_text(request, error))
        return ",".join(texts).encode()

    options = service.options(query)
    parts = await service.recognise_many(
        images, model, options, write, disconnected=disconnected(request), arrivals=arrivals
    )
    return Response(b"[%b]" % b",".join(parts), media_type="application/json")


def _error_text(request: Request, error: DigitscopeError) -> str:
    return ItemError(error=Problem(**problem(request, error))).model_dump_json()
