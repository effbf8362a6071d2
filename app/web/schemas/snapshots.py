"""Response bodies about a model's training and its saved epochs."""

from typing import Any

from pydantic import Field

from app.bundle import EpochFigures
from app.web.schemas.base import ResponseBody
from app.web.schemas.inspection import SheetAnswer
from app.web.schemas.layers import LayerName
from app.web.schemas.predictions import ModelName, PredictionAnswer


class TrainingAnswer(ResponseBody):
    """How a model's training went, epoch by epoch."""

    model: ModelName
    epochs: list[EpochFigures]
    published_epoch: int = Field(description="The epoch whose weights were chosen.")
    refitted: bool = Field(
        description="Whether these went on over all digits, the held-out ones too, to be served."
    )
    saved: list[int] = Field(description="Epochs of which the weights are kept.")


class MomentAnswer(ResponseBody):
    """One image, as the network saw it after one epoch."""

    epoch: int
    digit: int
    probabilities: list[float] = Field(
        min_length=10, max_length=10, description="Without the published temperature."
    )
    min: list[float] = Field(description="Smallest value of each channel; of the whole, if dense.")
    max: list[float]
    sheet: SheetAnswer = Field(description="The watched layer.")
    kernel: list[Any] | None = Field(
        description=(
            "Of the convolution that gives the layer its channels: rows, columns, input channels,"
            " output channels. All of them for a convolution of one input channel; else only"
            " `channel`'s; null without either."
        )
    )


class SnapshotsAnswer(ResponseBody):
    """One image in the course of training."""

    prediction: PredictionAnswer = Field(description="Of the published network.")
    layer: LayerName
    convolution: str | None = Field(description="The layer whose kernels are given.")
    moments: list[MomentAnswer]
