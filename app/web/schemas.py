"""The bodies of answers, as the OpenAPI document shows them; one schema per concept."""

import base64
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from app.bundle import Bundle, Evaluation, Metadata
from app.imaging.decode import Upload
from app.preprocessing import Explained, Without
from app.reading import DigitRead, Page, line_text
from app.recognise import Prediction
from app.render import to_png
from app.verdict import Verdict
from app.web.problems import Problem

STAGE_SIDE = 320  # pixels; a stage is looked at on a screen beside others


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


def prediction_answer(prediction: Prediction, bundle: Bundle) -> PredictionAnswer:
    """Put a prediction into its answer."""
    upload, prepared = prediction.upload, prediction.prepared
    return PredictionAnswer(
        digit=prediction.digit,
        confidence=prediction.confidence,
        probabilities=prediction.probabilities.tolist(),
        runner_up=prediction.runner_up,
        verdict=prediction.verdict,
        model=ModelName(name=bundle.metadata.name, version=bundle.metadata.version),
        input=_input_info(upload, prepared.polarity, [*upload.warnings, *prepared.warnings]),
    )


def page_answer(page: Page, bundle: Bundle) -> PageAnswer:
    """Put a page into its answer."""
    return PageAnswer(
        text=page.text,
        lines=[
            LineAnswer(text=line_text(line), digits=[_digit_answer(read) for read in line])
            for line in page.lines
        ],
        model=ModelName(name=bundle.metadata.name, version=bundle.metadata.version),
        input=_input_info(page.upload, page.polarity, page.upload.warnings),
    )


def _digit_answer(read: DigitRead) -> DigitAnswer:
    x, y, width, height = read.box
    return DigitAnswer(
        digit=read.digit,
        confidence=read.confidence,
        verdict=read.verdict,
        probabilities=read.probabilities.tolist(),
        box=BoxAnswer(x=x, y=y, width=width, height=height),
    )


def _input_info(upload: Upload, polarity: str, warnings: Sequence[str]) -> InputInfo:
    return InputInfo(
        width=upload.width,
        height=upload.height,
        format=upload.format,
        polarity=polarity,
        warnings=list(warnings),
    )


def preparation_answer(explained: Explained, bundle: Bundle) -> PreparationAnswer:
    """Put a preparation into its answer."""
    prediction = explained.prediction
    prepared = prediction.prepared
    return PreparationAnswer(
        prediction=prediction_answer(prediction, bundle),
        passthrough=prepared.passthrough,
        image=_png_text(prepared.pixels),
        pixels=prepared.pixels.tolist(),
        placement=PlacementAnswer(**asdict(prepared.placement)),
        stages=[
            StageAnswer(
                name=stage.name,
                description=stage.description,
                image=_png_text(stage.image),
                parameters=dict(stage.parameters),
            )
            for stage in prepared.stages
        ],
        without=[_without_answer(prediction, without) for without in explained.without],
    )


def _png_text(pixels: NDArray[np.uint8]) -> str:
    return base64.b64encode(to_png(pixels, longest=STAGE_SIDE)).decode()


def _without_answer(full: Prediction, without: Without) -> WithoutAnswer:
    other = without.prediction
    if other is None:
        text = f"Without the stage {without.stage!r} no ink is found."
        return WithoutAnswer(
            stage=without.stage, digit=None, confidence=None, verdict=None, changed=True, text=text
        )
    changed = (other.digit, other.verdict) != (full.digit, full.verdict)
    if other.digit != full.digit:
        text = f"Without the stage {without.stage!r} this {full.digit} becomes a {other.digit}."
    else:
        text = (
            f"Without the stage {without.stage!r} it is still read as {full.digit}, with "
            f"{100 * other.confidence:.1f} % instead of {100 * full.confidence:.1f} %."
        )
    return WithoutAnswer(
        stage=without.stage,
        digit=other.digit,
        confidence=other.confidence,
        verdict=other.verdict,
        changed=changed,
        text=text,
    )


def model_summary(bundle: Bundle, *, default: bool) -> ModelSummary:
    """Put a bundle into its summary."""
    return ModelSummary(**_summary_fields(bundle, default=default))


def model_details(bundle: Bundle, *, default: bool) -> ModelDetails:
    """Put a bundle into its full description."""
    known = bundle.metadata
    return ModelDetails(
        **_summary_fields(bundle, default=default),
        created=known.created,
        metrics=Metrics(validation=known.validation, test=known.test),
        recipe=known.recipe,
        metadata=known,
    )


def _summary_fields(bundle: Bundle, *, default: bool) -> dict[str, Any]:
    known = bundle.metadata
    return {
        "name": known.name,
        "version": known.version,
        "default": default,
        "description": known.description,
        "sha256": known.files["model.keras"],
        "parameters": known.parameters,
        "multiply_adds": known.multiply_adds,
        "test_error_rate": known.test.error_rate if known.test else None,
    }
