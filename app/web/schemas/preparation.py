"""Response body of `POST /preprocess`: how an image was prepared."""

from typing import Any

from pydantic import Field

from app.verdict import Verdict
from app.web.schemas.base import ResponseBody
from app.web.schemas.predictions import PredictionAnswer


class StageAnswer(ResponseBody):
    """One stage of the preparation."""

    name: str
    description: str
    image: str = Field(
        description="The image after the stage: grey PNG as base64, at most 320 pixels a side."
    )
    parameters: dict[str, Any] = Field(description="Values that the stage measured and chose.")


class WithoutAnswer(ResponseBody):
    """The prediction when one stage is left out."""

    stage: str = Field(description="Name of the stage.")
    digit: int | None = Field(
        description="The most probable digit; null if no ink is found without the stage."
    )
    label: str | None = Field(description="Name of that class.")
    confidence: float | None = Field(description="Probability of `digit`.")
    verdict: Verdict | None = Field(description="Whether the prediction can be trusted.")
    changed: bool = Field(description="Whether the digit or the verdict changes.")
    text: str = Field(description="The effect of the stage, as a sentence.")
    image: str | None = Field(
        description="The 28x28 image that the network then receives: grey PNG as base64."
    )


class PlacementAnswer(ResponseBody):
    """Where the 28x28 image lies on the uploaded image.

    The centre of its pixel (y, x) is at row `offset_y + scale_y * y + shear_y * x` and column
    `offset_x + scale_x * x + shear_x * y` of the upload, in pixels.
    """

    scale_y: float
    scale_x: float
    offset_y: float
    offset_x: float
    shear_y: float = Field(description="0 unless the digit was turned.")
    shear_x: float = Field(description="0 unless the digit was turned or sheared upright.")


class PreparationAnswer(ResponseBody):
    """How an image was prepared."""

    prediction: PredictionAnswer
    passthrough: bool = Field(
        description="Whether the image was already MNIST-shaped and therefore left unchanged."
    )
    image: str = Field(description="The 28x28 image that the network received: grey PNG as base64.")
    pixels: list[list[int]] = Field(
        description="The same image as 28 rows of 28 numbers, 0..255, ink high."
    )
    placement: PlacementAnswer
    stages: list[StageAnswer] = Field(description="The stages in order.")
    without: list[WithoutAnswer] = Field(
        description="The predictions without each stage that can be left out."
    )
