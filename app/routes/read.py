"""`POST /read`: all digits of an image, in reading order."""

from fastapi import APIRouter, Request

from app.page_reading import read_page
from app.web.dependencies import ImageQueryDep, ServiceDep
from app.web.http.disconnect import disconnected
from app.web.requests.images import read_one
from app.web.responses.openapi_errors import image_error_responses
from app.web.responses.openapi_requests import one_image_body
from app.web.responses.predictions import page_answer
from app.web.schemas.predictions import PageAnswer

router = APIRouter(tags=["Recognise"])


@router.post(
    "/read",
    operation_id="read",
    summary="Read several digits",
    responses=image_error_responses(),
    openapi_extra=one_image_body(),
)
async def read(request: Request, query: ImageQueryDep, service: ServiceDep) -> PageAnswer:
    """Find the digits of an image and read them, line by line, each with its box.

    Marks that are no digit are listed with that verdict and stand as `?` in the text. Images are
    always prepared here, so `preprocess=none` is refused.
    """
    model = await service.model(query.model)
    image = await read_one(request, service.limits)
    page = await service.inspection_pool.run_until(
        disconnected(request), read_page, image, model, service.options(query)
    )
    digits = [digit for line in page.lines for digit in line]
    verdicts, confidences = [one.verdict for one in digits], [one.confidence for one in digits]
    service.metrics.judged(verdicts, confidences, model)
    return page_answer(page, model.bundle)
