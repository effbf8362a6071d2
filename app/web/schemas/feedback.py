"""The query and the response body of corrections."""

from pydantic import Field

from app.verdict import Verdict
from app.web.schemas.base import ResponseBody
from app.web.schemas.predictions import ModelName
from app.web.schemas.query import ImageQuery

MAX_LABEL_CHARS = 40  # as many as the name of a class has
NOT_A_DIGIT = "not-a-digit"  # the label of an image that shows none of the model's classes


class FeedbackQuery(ImageQuery):
    """The query parameters of every image route, the right label, and the answer it corrects."""

    label: str = Field(
        min_length=1,
        max_length=MAX_LABEL_CHARS,
        examples=["7"],
        description=(
            "The right label: the name of one of the model's classes, or `not-a-digit` if the image"
            " shows none of them."
        ),
    )
    request_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="Header `X-Request-ID` of the response that was wrong; stored as it is.",
    )


class FeedbackAnswer(ResponseBody):
    """A correction that was stored."""

    id: str = Field(description="Id of the correction, with which it can be deleted.")
    label: str = Field(description="The right label.")
    answer: str = Field(description="Name of the class that the model reads now.")
    verdict: Verdict = Field(description="Whether the model trusts that.")
    model: ModelName
