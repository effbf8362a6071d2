"""The bodies of answers, as the OpenAPI document shows them; one schema per concept."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.bundle import Evaluation, Metadata
from app.verdict import Verdict
from app.web.schemas.problem import Problem

Precision = Literal["float32", "int8"]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class ModelName(_Answer):
    """Which model answered."""

    name: str
    version: int


class InputInfo(_Answer):
    """What the image was found to be."""

    width: int = Field(description="Pixels, after EXIF orientation.")
    height: int = Field(description="Pixels, after EXIF orientation.")
    format: str = Field(description="File format, or `pixels` where the pixels themselves came.")
    polarity: str = Field(description="`dark-on-light` or `light-on-dark`, found or as told.")
    warnings: list[str]


class PredictionAnswer(_Answer):
    """What the network reads in an image."""

    digit: int = Field(ge=0, le=9)
    confidence: float = Field(
        ge=0, le=1, description="Probability of `digit`, calibrated on held-out digits."
    )
    probabilities: list[float] = Field(
        min_length=10, max_length=10, description="Of 0 to 9; sum 1."
    )
    runner_up: int = Field(ge=0, le=9, description="The second most probable digit.")
    verdict: Verdict
    model: ModelName
    input: InputInfo


class BoxAnswer(_Answer):
    """A rectangle in the upload's own pixels, from its top left corner."""

    x: int
    y: int
    width: int
    height: int


class DigitAnswer(_Answer):
    """One digit of a page."""

    digit: int = Field(ge=0, le=9)
    confidence: float = Field(ge=0, le=1)
    verdict: Verdict
    probabilities: list[float] = Field(min_length=10, max_length=10)
    box: BoxAnswer


class LineAnswer(_Answer):
    """One line of a page, from left to right."""

    text: str
    digits: list[DigitAnswer]


class PageAnswer(_Answer):
    """What stands on an image."""

    text: str = Field(
        description="The digits, a line feed between lines, `?` for what is no digit."
    )
    lines: list[LineAnswer]
    model: ModelName
    input: InputInfo


class StageAnswer(_Answer):
    """One step of the preparation."""

    name: str
    description: str
    image: str = Field(description="PNG, grey, as base64; its longer side at most 320 pixels.")
    parameters: dict[str, Any] = Field(description="What was measured and chosen.")


class WithoutAnswer(_Answer):
    """What is read when one stage is left out."""

    stage: str
    digit: int | None = Field(description="None where nothing is left to read.")
    confidence: float | None
    verdict: Verdict | None
    changed: bool = Field(description="Whether another digit or verdict comes out.")
    text: str = Field(description="The same in a sentence.")
    image: str | None = Field(
        description="The 28x28 that the network receives then, PNG, grey, as base64."
    )


class PlacementAnswer(_Answer):
    """Where the 28x28 lies on the upload.

    The centre of its pixel (y, x) is at `offset_y + scale_y * y`, `offset_x + scale_x * x` in the
    upload's own pixels.
    """

    scale_y: float
    scale_x: float
    offset_y: float
    offset_x: float


class PreparationAnswer(_Answer):
    """How an image was prepared."""

    prediction: PredictionAnswer
    passthrough: bool = Field(description="Whether the image was MNIST-shaped and left unchanged.")
    image: str = Field(description="The 28x28 that the network received: PNG as base64.")
    pixels: list[list[int]] = Field(description="The same as 28 rows of 28, 0..255, ink high.")
    placement: PlacementAnswer
    stages: list[StageAnswer]
    without: list[WithoutAnswer]


class ItemError(_Answer):
    """An item of a batch that could not be read; the other items are not affected."""

    error: Problem


class ModelSummary(_Answer):
    """A served model in short."""

    name: str
    version: int
    default: bool
    description: str
    sha256: str = Field(description="Of model.keras, the trained network.")
    parameters: int
    multiply_adds: int
    precision: Precision = Field(
        description="What predictions are computed in; what looks inside is always in float32."
    )
    test_error_rate: float | None = Field(description="On MNIST's test split, 0..1.")


class ModelList(_Answer):
    """Every model that is served."""

    default: str
    models: list[ModelSummary]


class Metrics(_Answer):
    """How good a model is, on the digits held out of training and on the official test split."""

    validation: Evaluation
    test: Evaluation | None


class ModelDetails(ModelSummary):
    """All that is known of a served model."""

    created: datetime
    metrics: Metrics
    recipe: dict[str, Any]
    metadata: Metadata


class Version(_Answer):
    """What is running."""

    version: str
    python: str
    libraries: dict[str, str]


class Health(_Answer):
    """A probe's answer."""

    status: str
