"""Builds the response body of `POST /preprocess`."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from app.bundle import Bundle
from app.predictions import Prediction
from app.preprocessing_report import PreparationReport, WithoutStage
from app.render import png_base64
from app.web.responses.predictions import prediction_answer
from app.web.schemas.preparation import (
    PlacementAnswer,
    PreparationAnswer,
    StageAnswer,
    WithoutAnswer,
)

MAX_STAGE_SIDE = 320  # pixels; the page shows several stages side by side


def preparation_answer(report: PreparationReport, bundle: Bundle) -> PreparationAnswer:
    """Return the response body for the report on an image's preparation."""
    prediction = report.prediction
    prepared = prediction.prepared
    return PreparationAnswer(
        prediction=prediction_answer(prediction, bundle),
        passthrough=prepared.passthrough,
        image=_png_base64(prepared.pixels),
        pixels=prepared.pixels.tolist(),
        placement=PlacementAnswer(**asdict(prepared.placement)),
        stages=[
            StageAnswer(
                name=stage.name,
                description=stage.description,
                image=_png_base64(stage.image),
                parameters=dict(stage.parameters),
            )
            for stage in prepared.stages
        ],
        without=[
            _without_answer(prediction, without, bundle.metadata.classes)
            for without in report.without
        ],
    )


def _png_base64(pixels: NDArray[np.uint8]) -> str:
    return png_base64(pixels, max_side=MAX_STAGE_SIDE)


def _without_answer(
    full: Prediction, without: WithoutStage, classes: Sequence[str]
) -> WithoutAnswer:
    """Compare the prediction without a stage to the prediction with all stages, `full`."""
    other = without.prediction
    if other is None:
        text = f"Without the stage {without.stage!r} no ink is found."
        return WithoutAnswer(
            stage=without.stage,
            digit=None,
            label=None,
            confidence=None,
            verdict=None,
            changed=True,
            text=text,
            image=None,
        )
    was = classes[full.digit]
    if other.digit != full.digit:
        text = f"Without the stage {without.stage!r} this {was} becomes a {classes[other.digit]}."
    elif other.verdict == "not-a-digit" != full.verdict:
        text = f"Without the stage {without.stage!r} this {was} is refused as not a digit."
    else:
        text = (
            f"Without the stage {without.stage!r} it is still read as {was}, with"
            f" {100 * other.confidence:.1f} % instead of {100 * full.confidence:.1f} %."
        )
    return WithoutAnswer(
        stage=without.stage,
        digit=other.digit,
        label=classes[other.digit],
        confidence=other.confidence,
        verdict=other.verdict,
        changed=(other.digit, other.verdict) != (full.digit, full.verdict),
        text=text,
        image=_png_base64(other.prepared.pixels),
    )
