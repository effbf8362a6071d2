"""Response bodies with predictions, for one digit, a batch or a page."""

from pydantic import Field

from app.bundle import MAX_CLASSES
from app.verdict import Verdict
from app.web.schemas.base import ResponseBody
from app.web.schemas.problem import Problem

DIGIT = "The most probable digit; in a model with other classes, the number of the class from 0."
LABEL = "Name of that class. In a model of digits, the digit as text."
PROBABILITIES = "Probabilities of the classes, such as the digits 0 to 9; sum 1."


class ModelName(ResponseBody):
    """The model that made the prediction."""

    name: str
    version: int


class InputInfo(ResponseBody):
    """Properties of the uploaded image."""

    width: int = Field(description="Width in pixels, after EXIF orientation.")
    height: int = Field(description="Height in pixels, after EXIF orientation.")
    format: str = Field(
        description="File format in lower case, such as `png`, or `pixels` for an array of numbers."
    )
    polarity: str = Field(
        description=(
            "`dark-on-light` or `light-on-dark`: the value of the query parameter, or what was"
            " detected."
        )
    )
    warnings: list[str] = Field(
        description="What is unusual about the image, or may make the prediction wrong."
    )


class PredictionAnswer(ResponseBody):
    """The prediction for one image."""

    digit: int = Field(ge=0, lt=MAX_CLASSES, description=DIGIT)
    label: str = Field(description=LABEL)
    confidence: float = Field(
        ge=0, le=1, description="Probability of `digit`, calibrated on held-out digits."
    )
    probabilities: list[float] = Field(
        min_length=2, max_length=MAX_CLASSES, description=PROBABILITIES
    )
    runner_up: int = Field(ge=0, lt=MAX_CLASSES, description="The second most probable class.")
    verdict: Verdict = Field(description="Whether the prediction can be trusted.")
    model: ModelName
    input: InputInfo


class ItemError(ResponseBody):
    """The error of one item of a batch. The other items are not affected."""

    error: Problem


class BoxAnswer(ResponseBody):
    """A rectangle on the uploaded image, in pixels."""

    x: int = Field(description="First column, from 0 at the left.")
    y: int = Field(description="First row, from 0 at the top.")
    width: int
    height: int


class DigitAnswer(ResponseBody):
    """One digit on a page."""

    digit: int = Field(ge=0, lt=MAX_CLASSES, description=DIGIT)
    label: str = Field(description=LABEL)
    confidence: float = Field(ge=0, le=1, description="Probability of `digit`.")
    verdict: Verdict = Field(description="Whether the prediction can be trusted.")
    probabilities: list[float] = Field(
        min_length=2, max_length=MAX_CLASSES, description=PROBABILITIES
    )
    box: BoxAnswer
    image: str | None = Field(
        description=(
            "The 28x28 image that the network received: grey PNG as base64. Null without"
            " `include=images`."
        )
    )


class LineAnswer(ResponseBody):
    """One line on a page."""

    text: str = Field(description="The digits as text, `?` for a mark that is not a digit.")
    digits: list[DigitAnswer] = Field(description="The digits from left to right.")


class PageFieldAnswer(ResponseBody):
    """A printed frame on a page: a box, a field, a comb of cells or a table."""

    box: BoxAnswer
    text: str = Field(description="The text in it; rows of cells are separated by line feeds.")


class PageAnswer(ResponseBody):
    """All digits on an image."""

    text: str = Field(
        description=(
            "The digits as text, `?` for a mark that is not a digit; lines are separated by line"
            " feeds."
        )
    )
    lines: list[LineAnswer] = Field(description="The lines from top to bottom.")
    fields: list[PageFieldAnswer] = Field(
        description="The printed frames around digits, with the text in each."
    )
    model: ModelName
    input: InputInfo
