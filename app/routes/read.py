"""`POST /read`: read all digits on an image."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field

from app.page_reading import read_page
from app.web.dependencies import ServiceDep
from app.web.http.disconnect import disconnected
from app.web.requests.body import check_wait
from app.web.requests.images import read_one
from app.web.responses.openapi_errors import image_error_responses
from app.web.responses.openapi_requests import one_image_body
from app.web.responses.predictions import page_answer
from app.web.schemas.predictions import PageAnswer
from app.web.schemas.query import ImageQuery
from app.web.service import kind_of_work, size_of

router = APIRouter(tags=["Recognise"])


class ReadQuery(ImageQuery):
    """The parameters of every image route, and what to add to the digits."""

    include: Literal["images"] | None = Field(
        None, description="`images` adds the 28x28 image of each digit."
    )


@router.post(
    "/read",
    operation_id="read",
    summary="Read all digits on an image",
    responses=image_error_responses(),
    openapi_extra=one_image_body(),
)
async def read(
    request: Request, query: Annotated[ReadQuery, Query()], service: ServiceDep
) -> PageAnswer:
    """Take one image; return its text line by line, and every digit with its box.

    Boxes, fields, combs and tables printed around digits are no ink; each comes with its text.

    A mark that is not a digit has the verdict `not-a-digit` and is `?` in the text. The image is
    always prepared: `preprocess=none` gives 422.
    """
    model = await service.model(query.model)
    check_wait(request, service.inspection_pool)
    image = await read_one(request, service.limits)
    page = await service.inspection_pool.run_until(
        disconnected(request),
        kind_of_work("read", model, size_of(image)),
        read_page,
        image,
        model,
        service.options(query),
    )
    digits = [digit for line in page.lines for digit in line]
    verdicts = [digit.verdict for digit in digits]
    confidences = [digit.confidence for digit in digits]
    service.metrics.count_verdicts(verdicts, confidences, model)
    service.metrics.count_page(len(digits))
    return page_answer(page, model.bundle, images=query.include == "images")
