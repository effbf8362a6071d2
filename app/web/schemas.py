"""The bodies of answers, as the OpenAPI document shows them; one schema per concept."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.bundle import Bundle, Evaluation, Metadata
from app.recognise import Prediction
from app.verdict import Verdict
from app.web.problems import Problem


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
        input=InputInfo(
            width=upload.width,
            height=upload.height,
            format=upload.format,
            polarity=prepared.polarity,
            warnings=[*upload.warnings, *prepared.warnings],
        ),
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
