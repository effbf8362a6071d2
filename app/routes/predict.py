"""`POST /predict` and `POST /predict/batch`: which digit an image shows."""

from fastapi import APIRouter, Request

from app.errors import DigitscopeError
from app.web import openapi
from app.web.answers import prediction_answer
from app.web.body import read_many, read_one
from app.web.deps import ImageQueryDep, ServiceDep
from app.web.problems import Problem, problem
from app.web.quick import QuickRoute
from app.web.schemas import ItemError, PredictionAnswer

router = APIRouter(tags=["Recognise"], route_class=QuickRoute)


@router.post(
    "/predict",
    operation_id="predict",
    summary="Read one digit",
    responses=openapi.image_errors(),
    openapi_extra=openapi.one_image_body(),
)
async def predict(request: Request, query: ImageQueryDep, service: ServiceDep) -> PredictionAnswer:
    """Say which digit an image shows, how sure that is, and whether it is a digit at all."""
    model = await service.model(query.model)
    image = await read_one(request, service.limits)
    prediction = await service.recognise(request, image, model, service.options(query))
    return prediction_answer(prediction, model.bundle)


@router.post(
    "/predict/batch",
    operation_id="predict_batch",
    summary="Read many digits, one per image",
    responses=openapi.batch_errors(),
    openapi_extra=openapi.many_images_body(),
)
async def predict_batch(
    request: Request, query: ImageQueryDep, service: ServiceDep
) -> list[PredictionAnswer | ItemError]:
    """Read every image of a batch, in order; a bad item gives its own error."""
    model = await service.model(query.model)
    images = await read_many(request, service.limits)
    results = await service.recognise_many(request, images, model, service.options(query))
    return [
        (
            ItemError(error=Problem(**problem(request, result)))
            if isinstance(result, DigitscopeError)
            else prediction_answer(result, model.bundle)
        )
        for result in results
    ]
