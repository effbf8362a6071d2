"""What if some channels of a layer were silent: the prediction without them.

The layer's output is multiplied by a mask and the layers behind it are computed anew; weights are
never touched. All channels in turn are one batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.cancellation import check_cancelled
from app.errors import InvalidInputError, NotFoundError
from app.inspection.activations import InspectedImage
from app.inspection.attribution import logits_of
from app.network.functions import Array, softmax
from app.network.network import Layer

CHUNK = 16  # variants that are computed at once: some 2 MB of each


@dataclass(frozen=True)
class Ablation:
    """What a network says without some channels.

    Attributes:
        channels: Those that were silent.
        probabilities: float32 `[10]`.
        logits: float32 `[10]`.
    """

    channels: tuple[int, ...]
    probabilities: NDArray[np.float32]
    logits: NDArray[np.float32]


def ablate(look: InspectedImage, layer: Layer, silent: Sequence[Sequence[int]]) -> list[Ablation]:
    """Predict with sets of channels switched off.

    Args:
        look: What every layer holds.
        layer: The layer; one without places has its units as channels.
        silent: For each variant, the channels that are off; none for the network as it is.

    Raises:
        InvalidInputError: The layer lies behind the logits.
        NotFoundError: The layer has no such channel.
        UnsupportedLayerError: The arithmetic of a layer behind it is not known.
    """
    if not look.model.network.feeds_scores(layer):
        raise InvalidInputError(
            f"The logits do not depend on the layer {layer.name!r}; there is nothing to switch off."
        )
    unknown = sorted({at for row in silent for at in row if not 0 <= at < layer.channels})
    if unknown:
        raise NotFoundError(
            f"The layer {layer.name!r} has no channel {', '.join(map(str, unknown))}.",
            valid=[f"channel 0..{layer.channels - 1}"],
        )
    parts = []
    for start in range(0, len(silent), CHUNK):
        check_cancelled()
        parts.append(_logits(look, layer, silent[start : start + CHUNK]))
    rows = np.concatenate(parts)
    shares = softmax(rows)
    return [
        Ablation(tuple(channels), share, logits)
        for channels, share, logits in zip(silent, shares, rows, strict=True)
    ]


def _logits(look: InspectedImage, layer: Layer, silent: Sequence[Sequence[int]]) -> Array:
    network = look.model.network
    masks = np.ones((len(silent), *[1] * (len(layer.shape) - 1), layer.channels), np.float32)
    for mask, channels in zip(masks, silent, strict=True):
        mask[..., list(channels)] = 0
    # Only what lies behind the layer is computed; all else is taken as the twin gave it.
    behind = network.downstream(layer)
    known = {
        one.index: np.broadcast_to(look.of(one)[None], (len(silent), *one.shape))
        for one in network.layers
        if one.index not in behind
    }
    images = np.broadcast_to(look.image[None], (len(silent), *look.image.shape))
    outputs = network.resume(images, known, {layer.index: masks}, last=network.scores)
    return np.asarray(logits_of(network, outputs), np.float32)
