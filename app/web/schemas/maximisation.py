"""Response body of `POST /layers/{layer}/maximise`: what a channel looks for."""

from pydantic import Field

from app.web.schemas.base import ResponseBody
from app.web.schemas.inspection import UnitAddress
from app.web.schemas.layers import LayerName
from app.web.schemas.predictions import ModelName


class MaximisationAnswer(ResponseBody):
    """A picture that a channel answers strongly, made by gradient ascent."""

    model: ModelName
    layer: LayerName
    unit: UnitAddress = Field(
        description="Whose activation was raised; without row and column the mean of the channel."
    )
    before: float = Field(
        description="Activation for the noise that the ascent started from, before any step."
    )
    after: float = Field(description="Activation for the picture.")
    steps: int = Field(description="Steps of the ascent; large networks get fewer than asked for.")
    image: str = Field(description="The 28x28 picture, ink high: grey PNG as base64.")
    pixels: list[list[int]] = Field(description="The same picture as rows of numbers, 0..255.")
