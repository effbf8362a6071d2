"""Builds the response bodies with predictions, for one digit, a batch or a page."""

from dataclasses import asdict
from functools import lru_cache

import numpy as np
import orjson
from numpy.typing import NDArray

from app.bundle import Bundle
from app.group_reading import PageDigit
from app.page_reading import Page, line_text
from app.predictions import BatchResult, InputSummary, Prediction
from app.render import png_base64
from app.web.schemas.predictions import (
    BoxAnswer,
    DigitAnswer,
    InputInfo,
    LineAnswer,
    ModelName,
    PageAnswer,
    PageFieldAnswer,
    PredictionAnswer,
)


def prediction_answer(prediction: Prediction, bundle: Bundle) -> PredictionAnswer:
    """Return the response body for one prediction."""
    upload, prepared = prediction.upload, prediction.prepared
    probabilities = _to_numbers(prediction.probabilities)
    return PredictionAnswer(
        digit=prediction.digit,
        label=bundle.metadata.classes[prediction.digit],
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


def prediction_texts(result: BatchResult, bundle: Bundle) -> list[str]:
    """Return the JSON of a `PredictionAnswer` for each readable image of a batch.

    Takes a tenth of pydantic's time, because it creates no object for an image.
    """
    predictions = result.predictions
    if not predictions.digits:
        return []
    name, version = bundle.metadata.name, bundle.metadata.version
    labels = _json_labels(tuple(bundle.metadata.classes))
    tails = {summary: _json_tail(name, version, summary) for summary in set(result.summaries)}
    columns = zip(
        predictions.digits,
        _to_json(predictions.confidences)[1:-1].split(","),
        _to_json(predictions.probabilities)[2:-2].split("],["),
        predictions.runners_up,
        predictions.verdicts,
        result.summaries,
        strict=True,
    )
    return [
        f'{{"digit":{digit},"label":{labels[digit]},"confidence":{confidence},"probabilities":[{probabilities}],'
        f'"runner_up":{runner_up},"verdict":"{verdict}",{tails[summary]}}}'
        for digit, confidence, probabilities, runner_up, verdict, summary in columns
    ]


@lru_cache(maxsize=64)
def _json_labels(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of classes as JSON."""
    return tuple(orjson.dumps(name).decode() for name in classes)


def _to_json(values: NDArray[np.float32]) -> str:
    """Return an array as JSON, each number with the fewest digits that identify the float32."""
    return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def _to_numbers(values: NDArray[np.float32]) -> list[float]:
    """Return the numbers that `_to_json` writes."""
    numbers: list[float] = orjson.loads(_to_json(values))
    return numbers


@lru_cache(maxsize=64)
def _json_tail(name: str, version: int, summary: InputSummary) -> str:
    """Return the last members of a `PredictionAnswer`, which most images of a batch share."""
    model = _model_name(name, version)
    image = _input_info(
        summary.width, summary.height, summary.format, summary.polarity, summary.warnings
    )
    return f'"model":{model.model_dump_json()},"input":{image.model_dump_json()}'


def page_answer(page: Page, bundle: Bundle, *, images: bool = False) -> PageAnswer:
    """Return the response body for a page, on request with the 28x28 of each digit."""
    return PageAnswer(
        text=page.text,
        lines=[
            LineAnswer(
                text=line_text(line), digits=[_digit_answer(digit, images=images) for digit in line]
            )
            for line in page.lines
        ],
        fields=[
            PageFieldAnswer(box=BoxAnswer(**asdict(field.box)), text=field.text)
            for field in page.fields
        ],
        model=_model_name(bundle.metadata.name, bundle.metadata.version),
        input=_input_info(
            page.upload.width,
            page.upload.height,
            page.upload.format,
            page.polarity,
            page.upload.warnings + page.warnings,
        ),
    )


def _digit_answer(digit: PageDigit, *, images: bool) -> DigitAnswer:
    probabilities = _to_numbers(digit.probabilities)
    return DigitAnswer(
        digit=digit.digit,
        label=digit.label,
        confidence=probabilities[digit.digit],
        verdict=digit.verdict,
        probabilities=probabilities,
        box=BoxAnswer(**asdict(digit.box)),
        image=png_base64(digit.pixels) if images else None,
    )


# Cached because most responses share these parts; building them took half of a response's time.
@lru_cache(maxsize=64)
def _model_name(name: str, version: int) -> ModelName:
    return ModelName(name=name, version=version)


@lru_cache(maxsize=64)
def _input_info(
    width: int, height: int, file_format: str, polarity: str, warnings: tuple[str, ...]
) -> InputInfo:
    return InputInfo(
        width=width, height=height, format=file_format, polarity=polarity, warnings=list(warnings)
    )
