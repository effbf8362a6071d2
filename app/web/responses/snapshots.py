"""The answers about saved training epochs: their schemas, and how they are made."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.bundle import Bundle, EpochFigures
from app.inspection.activations import InspectedImage, Scale, make_sheet
from app.inspection.snapshots import Moment, saved_epochs
from app.network.network import Layer
from app.web.responses.inspection import layer_name, numbers, sheet_answer
from app.web.responses.predictions import prediction_answer
from app.web.schemas.inspection import LayerName, SheetAnswer
from app.web.schemas.predictions import ModelName, PredictionAnswer


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class TrainingAnswer(_Answer):
    """How a model's training went, epoch by epoch."""

    model: ModelName
    epochs: list[EpochFigures]
    published_epoch: int = Field(description="The epoch whose weights were chosen.")
    refitted: bool = Field(
        description="Whether these went on over all digits, the held-out ones too, to be served."
    )
    saved: list[int] = Field(description="Epochs of which the weights are kept.")


class MomentAnswer(_Answer):
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


class SnapshotsAnswer(_Answer):
    """One image in the course of training."""

    prediction: PredictionAnswer = Field(description="Of the published network.")
    layer: LayerName
    convolution: str | None = Field(description="The layer whose kernels are given.")
    moments: list[MomentAnswer]


def training_answer(bundle: Bundle) -> TrainingAnswer:
    """Put a model's training into its answer."""
    known = bundle.metadata
    return TrainingAnswer(
        model=ModelName(name=known.name, version=known.version),
        epochs=known.epochs,
        published_epoch=known.published_epoch,
        refitted=known.refitted,
        saved=saved_epochs(bundle),
    )


def snapshots_answer(
    inspected: InspectedImage,
    layer: Layer,
    convolution: str | None,
    moments: list[MomentAnswer],
) -> SnapshotsAnswer:
    """Put the course of training into its answer."""
    return SnapshotsAnswer(
        prediction=prediction_answer(inspected.prediction, inspected.model.bundle),
        layer=layer_name(layer),
        convolution=convolution,
        moments=moments,
    )


def moment_answer(moment: Moment, layer: Layer, channel: int | None, scale: Scale) -> MomentAnswer:
    """Put one epoch into its answer."""
    values = moment.values
    tiles = values.reshape(-1, values.shape[-1]) if layer.spatial else values.reshape(-1, 1)
    kernel = moment.kernel
    if kernel is not None and kernel.shape[2] > 1:
        kernel = None if channel is None else kernel[..., channel : channel + 1]
    return MomentAnswer(
        epoch=moment.epoch,
        digit=int(moment.probabilities.argmax()),
        probabilities=moment.probabilities.tolist(),
        min=numbers(tiles.min(axis=0)),
        max=numbers(tiles.max(axis=0)),
        sheet=sheet_answer(make_sheet(values, scale), layer),
        kernel=None if kernel is None else numbers(kernel),
    )
