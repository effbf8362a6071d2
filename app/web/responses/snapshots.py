"""Build the response bodies about a model's training and its saved epochs."""

from collections.abc import Sequence

from app.bundle import Bundle
from app.inspection.activations import InspectedImage, Scale, make_sheet
from app.inspection.snapshots import EpochResult, saved_epochs
from app.network.network import Layer
from app.web.responses.inspection import sheet_answer
from app.web.responses.json_arrays import rounded_list
from app.web.responses.layers import layer_name
from app.web.responses.predictions import prediction_answer
from app.web.schemas.predictions import ModelName
from app.web.schemas.snapshots import MomentAnswer, SnapshotsAnswer, TrainingAnswer


def training_answer(bundle: Bundle) -> TrainingAnswer:
    """Build the body of `GET /models/{model}/training`."""
    metadata = bundle.metadata
    return TrainingAnswer(
        model=ModelName(name=metadata.name, version=metadata.version),
        epochs=metadata.epochs,
        published_epoch=metadata.published_epoch,
        refitted=metadata.refitted,
        saved=saved_epochs(bundle),
    )


def snapshots_answer(
    inspected: InspectedImage,
    layer: Layer,
    convolution: str | None,
    epochs: list[MomentAnswer],
) -> SnapshotsAnswer:
    """Build the body of `POST /snapshots`.

    Args:
        inspected: The image in the published network.
        layer: The watched layer.
        convolution: Name of the convolution that makes its channels, or None.
        epochs: The results of the saved epochs.
    """
    return SnapshotsAnswer(
        prediction=prediction_answer(inspected.prediction, inspected.model.bundle),
        layer=layer_name(layer),
        convolution=convolution,
        moments=epochs,
    )


def epoch_answer(
    result: EpochResult,
    layer: Layer,
    channel: int | None,
    scale: Scale,
    classes: Sequence[str],
) -> MomentAnswer:
    """Build one entry of `moments`.

    A kernel of one input channel is sent whole; of a larger one, only the part for `channel`.
    """
    values, kernel = result.values, result.kernel
    channels = values.reshape(-1, values.shape[-1]) if layer.spatial else values.reshape(-1, 1)
    if kernel is not None and kernel.shape[2] > 1:
        kernel = None if channel is None else kernel[..., channel : channel + 1]
    digit = int(result.probabilities.argmax())
    return MomentAnswer(
        epoch=result.epoch,
        digit=digit,
        label=classes[digit],
        probabilities=result.probabilities.tolist(),
        min=rounded_list(channels.min(axis=0)),
        max=rounded_list(channels.max(axis=0)),
        sheet=sheet_answer(make_sheet(values, scale), layer),
        kernel=None if kernel is None else rounded_list(kernel),
    )
