"""From what the service found to the bodies of its answers."""

import base64
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from app.bundle import INT8_FILE, Bundle
from app.page_reading import Page, PageDigit, line_text
from app.predictions import BatchResult, InputSummary, Prediction
from app.preprocessing_report import PreparationReport, WithoutStage
from app.render import to_png
from app.web.schemas.predictions import (
    BoxAnswer,
    DigitAnswer,
    InputInfo,
    LineAnswer,
    Metrics,
    ModelDetails,
    ModelName,
    ModelSummary,
    PageAnswer,
    PlacementAnswer,
    PredictionAnswer,
    PreparationAnswer,
    StageAnswer,
    WithoutAnswer,
)

STAGE_SIDE = 320  # pixels; a stage is looked at on a screen beside others


def prediction_answer(prediction: Prediction, bundle: Bundle) -> PredictionAnswer:
    """Put a prediction into its answer."""
    upload, prepared = prediction.upload, prediction.prepared
    probabilities = _shortest(prediction.probabilities)
    return PredictionAnswer(
        digit=prediction.digit,
        confidence=probabilities[prediction.digit],
        probabilities=probabilities,
        runner_up=prediction.runner_up,
        verdict=prediction.verdict,
        model=_model_name(bundle.metadata.name, bundle.metadata.version),
        input=_input_info(
            upload.width,
            upload.height,
            upload.format,
            prepared.polarity,
            upload.warnings + prepared.warnings,
        ),
    )


def prediction_texts(found: BatchResult, bundle: Bundle) -> list[str]:
    """Write `prediction_answer` as JSON for each image that could be read.

    In a tenth of pydantic's time: no object is made for an image.
    """
    predictions = found.predictions
    if not predictions.digits:
        return []
    name, version = bundle.metadata.name, bundle.metadata.version
    origins = {form: _origin(name, version, form) for form in set(found.summaries)}
    columns = zip(
        predictions.digits,
        _numbers(predictions.confidences)[1:-1].split(","),
        _numbers(predictions.probabilities)[2:-2].split("],["),
        predictions.runners_up,
        predictions.verdicts,
        found.summaries,
        strict=True,
    )
    return [
        f'{{"digit":{digit},"confidence":{confidence},"probabilities":[{probabilities}],'
        f'"runner_up":{runner_up},"verdict":"{verdict}",{origins[form]}}}'
        for digit, confidence, probabilities, runner_up, verdict, form in columns
    ]


def _numbers(values: NDArray[np.float32]) -> str:
    """Write an array as JSON, each number in the fewest digits that tell it from all others."""
    return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def _shortest(values: NDArray[np.float32]) -> list[float]:
    """Return the numbers that `_numbers` writes."""
    numbers: list[float] = orjson.loads(_numbers(values))
    return numbers


@lru_cache(maxsize=64)
def _origin(name: str, version: int, form: InputSummary) -> str:
    model = _model_name(name, version)
    image = _input_info(form.width, form.height, form.format, form.polarity, form.warnings)
    return f'"model":{model.model_dump_json()},"input":{image.model_dump_json()}'


def page_answer(page: Page, bundle: Bundle) -> PageAnswer:
    """Put a page into its answer."""
    return PageAnswer(
        text=page.text,
        lines=[
            LineAnswer(text=line_text(line), digits=[_digit_answer(read) for read in line])
            for line in page.lines
        ],
        model=_model_name(bundle.metadata.name, bundle.metadata.version),
        input=_input_info(
            page.upload.width,
            page.upload.height,
            page.upload.format,
            page.polarity,
            page.upload.warnings,
        ),
    )


def _digit_answer(read: PageDigit) -> DigitAnswer:
    x, y, width, height = read.box
    probabilities = _shortest(read.probabilities)
    return DigitAnswer(
        digit=read.digit,
        confidence=probabilities[read.digit],
        verdict=read.verdict,
        probabilities=probabilities,
        box=BoxAnswer(x=x, y=y, width=width, height=height),
    )


# Most answers have the same; to make these parts anew took half of an answer's time.
@lru_cache(maxsize=64)
def _model_name(name: str, version: int) -> ModelName:
    return ModelName(name=name, version=version)


@lru_cache(maxsize=64)
def _input_info(
    width: int, height: int, kind: str, polarity: str, warnings: tuple[str, ...]
) -> InputInfo:
    return InputInfo(
        width=width, height=height, format=kind, polarity=polarity, warnings=list(warnings)
    )


def preparation_answer(explained: PreparationReport, bundle: Bundle) -> PreparationAnswer:
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


def _without_answer(full: Prediction, without: WithoutStage) -> WithoutAnswer:
    other = without.prediction
    if other is None:
        text = f"Without the stage {without.stage!r} no ink is found."
        return WithoutAnswer(
            stage=without.stage,
            digit=None,
            confidence=None,
            verdict=None,
            changed=True,
            text=text,
            image=None,
        )
    changed = (other.digit, other.verdict) != (full.digit, full.verdict)
    if other.digit != full.digit:
        text = f"Without the stage {without.stage!r} this {full.digit} becomes a {other.digit}."
    else:
        text = (
            f"Without the stage {without.stage!r} it is still read as {full.digit}, with"
            f" {100 * other.confidence:.1f} % instead of {100 * full.confidence:.1f} %."
        )
    return WithoutAnswer(
        stage=without.stage,
        digit=other.digit,
        confidence=other.confidence,
        verdict=other.verdict,
        changed=changed,
        text=text,
        image=_png_text(other.prepared.pixels),
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
        "precision": "int8" if bundle.has(INT8_FILE) else "float32",
        "test_error_rate": known.test.error_rate if known.test else None,
    }
