"""Build the response bodies about a model's training and its saved epochs."""

from app.bundle import Bundle
from app.inspection.activations import InspectedImage, Scale, make_sheet
from app.inspection.snapshots import Moment, saved_epochs
from app.network.network import Layer
from app.web.responses.inspection import sheet_answer
from app.web.responses.json_arrays import rounded_list
from app.web.responses.layers import layer_name
from app.web.responses.predictions import prediction_answer
from app.web.schemas.predictions import ModelName
from app.web.schemas.snapshots import MomentAnswer, SnapshotsAnswer, TrainingAnswer


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
        min=rounded_list(tiles.min(axis=0)),
        max=rounded_list(tiles.max(axis=0)),
        sheet=sheet_answer(make_sheet(values, scale), layer),
        kernel=None if kernel is None else rounded_list(kernel),
    )
