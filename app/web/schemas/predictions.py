"""Response bodies with predictions, for one digit, a batch or a page."""

from pydantic import Field

from app.verdict import Verdict
from app.web.schemas.base import ResponseBody
from app.web.schemas.problem import Problem


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

    digit: int = Field(ge=0, le=9, description="The most probable digit.")
    confidence: float = Field(
        ge=0, le=1, description="Probability of `digit`, calibrated on held-out digits."
    )
    probabilities: list[float] = Field(
        min_length=10, max_length=10, description="Probabilities of the digits 0 to 9; sum 1."
    )
    runner_up: int = Field(ge=0, le=9, description="The second most probable digit.")
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

    digit: int = Field(ge=0, le=9, description="The most probable digit.")
    confidence: float = Field(ge=0, le=1, description="Probability of `digit`.")
    verdict: Verdict = Field(description="Whether the prediction can be trusted.")
    probabilities: list[float] = Field(
        min_length=10, max_length=10, description="Probabilities of the digits 0 to 9; sum 1."
    )
    box: BoxAnswer


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
