"""Predict with some channels of a layer switched off.

The layer's output is multiplied by a mask, and the layers after it are computed again; weights are
never changed. Many variants are computed as one batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.cancellation import check_cancelled
from app.errors import InvalidInputError
from app.inspection.activations import InspectedImage
from app.inspection.score import logits_of
from app.network.functions import Array, softmax
from app.network.network import Layer


@dataclass(frozen=True)
class Ablation:
    """A prediction without some channels.

    Attributes:
        channels: The channels that were off.
        probabilities: float32 `[classes]`.
        logits: float32 `[classes]`.
    """

    channels: tuple[int, ...]
    probabilities: NDArray[np.float32]
    logits: NDArray[np.float32]


def ablate(
    inspected: InspectedImage, layer: Layer, variants: Sequence[Sequence[int]]
) -> list[Ablation]:
    """Predict with several sets of channels switched off.

    Args:
        inspected: The image and every layer's output.
        layer: The layer; the channels of a layer without rows and columns are its units.
        variants: For each prediction, the channels to switch off; empty for all channels on.

    Returns:
        One prediction for each variant, in the same order.

    Raises:
        InvalidInputError: The logits do not depend on the layer.
        NotFoundError: The layer has no such channel.
        UnsupportedLayerError: The arithmetic of a later layer is not supported.
    """
    if not inspected.model.network.feeds_scores(layer):
        raise InvalidInputError(
            f"The logits do not depend on the layer {layer.name!r}; choose an earlier layer."
        )
    layer.check_channels(at for channels in variants for at in channels)
    batches, size = [], inspected.model.network.batch_size
    for start in range(0, len(variants), size):
        check_cancelled()
        batches.append(_masked_logits(inspected, layer, variants[start : start + size]))
    logits = np.concatenate(batches)
    return [
        Ablation(tuple(channels), probabilities, row)
        for channels, probabilities, row in zip(variants, softmax(logits), logits, strict=True)
    ]


def _masked_logits(
    inspected: InspectedImage, layer: Layer, variants: Sequence[Sequence[int]]
) -> Array:
    """Return the logits of each variant, float32 `[N, classes]`."""
    network, count = inspected.model.network, len(variants)
    masks = np.ones((count, *[1] * (len(layer.shape) - 1), layer.channels), np.float32)
    for mask, channels in zip(masks, variants, strict=True):
        mask[..., list(channels)] = 0
    # Only layers that depend on this one are computed again; the others keep their outputs.
    dependent = network.downstream(layer)
    known = {
        other.index: np.broadcast_to(inspected.of(other)[None], (count, *other.shape))
        for other in network.layers
        if other.index not in dependent
    }
    images = np.broadcast_to(inspected.image[None], (count, *inspected.image.shape))
    outputs = network.resume(images, known, {layer.index: masks}, last=network.scores)
    return np.asarray(logits_of(network, outputs), np.float32)
