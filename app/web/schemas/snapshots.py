"""Response bodies about a model's training and its saved epochs."""

from typing import Any

from pydantic import Field

from app.bundle import MAX_CLASSES, EpochFigures
from app.web.schemas.base import ResponseBody
from app.web.schemas.inspection import SheetAnswer
from app.web.schemas.layers import LayerName
from app.web.schemas.predictions import ModelName, PredictionAnswer


class TrainingAnswer(ResponseBody):
    """A model's training, epoch by epoch."""

    model: ModelName
    epochs: list[EpochFigures]
    published_epoch: int = Field(description="The epoch whose weights were chosen.")
    refitted: bool = Field(
        description=(
            "Whether these weights were then trained on all digits, including the held-out ones,"
            " before they were published."
        )
    )
    saved: list[int] = Field(description="Epochs whose weights are kept.")


class MomentAnswer(ResponseBody):
    """What the network computed for the image after one epoch."""

    epoch: int = Field(description="The epoch, counted from 1.")
    digit: int = Field(description="The predicted digit.")
    label: str = Field(description="Name of the predicted class.")
    probabilities: list[float] = Field(
        min_length=2,
        max_length=MAX_CLASSES,
        description="Of each class, without the temperature of the published network.",
    )
    min: list[float] = Field(
        description="Smallest value of each channel; one value if the layer has no rows."
    )
    max: list[float] = Field(
        description="Largest value of each channel; one value if the layer has no rows."
    )
    sheet: SheetAnswer = Field(description="Picture of the watched layer.")
    kernel: list[Any] | None = Field(
        description=(
            "Kernel of `convolution`: rows, columns, input channels, output channels. It is whole"
            " if there is one input channel, else only the part for the output channel `channel`;"
            " null without that parameter, or without such a convolution."
        )
    )


class SnapshotsAnswer(ResponseBody):
    """One image in the networks of all saved epochs."""

    prediction: PredictionAnswer = Field(description="Of the published network.")
    layer: LayerName = Field(description="The watched layer.")
    convolution: str | None = Field(
        description="The layer whose kernels make the watched layer's channels, or null."
    )
    moments: list[MomentAnswer] = Field(description="One entry for each saved epoch.")
