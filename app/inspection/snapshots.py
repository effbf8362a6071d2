"""A model as it was after some epochs of its training: what it read then, and how it saw.

The bundle keeps the weights of some epochs, large tensors as int8 with a scale for each output
channel (`<name>:scale`); the published network is run with these weights in its layers' places. The
temperature of the published logits is not in them, so that even the last epoch's probabilities are
a little sharper than the published ones. Of a refitted model they are of the training before that.
"""

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from app.bundle import Bundle
from app.cancellation import check_cancelled
from app.errors import BundleError, NotFoundError
from app.inference.model import Model
from app.inspection.activations import InspectedImage
from app.network.functions import Array
from app.network.graph import Step
from app.network.kinds import build_operation
from app.network.network import Layer, Network

_FILE = re.compile(r"snapshots/epoch-(\d+)\.npz")
_SCALE = ":scale"


@dataclass(frozen=True)
class Moment:
    """One image, as the network saw it after one epoch.

    Attributes:
        epoch: The epoch, counted from 1.
        probabilities: float32 `[10]`, sum 1.
        values: The watched layer's output without the batch.
        kernel: Of the convolution behind the watched layer, `[kh, kw, C_in, C_out]`, or None.
    """

    epoch: int
    probabilities: Array
    values: Array
    kernel: Array | None


def saved_epochs(bundle: Bundle) -> list[int]:
    """Return the epochs of which a bundle keeps the weights, in order."""
    found = (_FILE.fullmatch(name) for name in bundle.metadata.files)
    return sorted(int(match[1]) for match in found if match)


def network_at(model: Model, epoch: int) -> Network:
    """Return a model's network with the weights that it had after an epoch.

    Raises:
        NotFoundError: The bundle does not keep that epoch.
        BundleError: The snapshot lacks weights of the network.
    """
    epochs = saved_epochs(model.bundle)
    if epoch not in epochs:
        name = model.bundle.metadata.name
        raise NotFoundError(
            f"The model {name!r} has no snapshot of epoch {epoch}.", valid=[str(e) for e in epochs]
        )
    with np.load(
        io.BytesIO(model.bundle.read(f"snapshots/epoch-{epoch:03}.npz")), allow_pickle=False
    ) as stored:
        arrays = {name: np.asarray(stored[name]) for name in stored}
    layers = tuple(_at(layer, arrays, epoch) for layer in model.network.layers)
    return replace(model.network, layers=layers)


def follow(inspected: InspectedImage, layer: Layer) -> Iterator[Moment]:
    """Show an image to the network of every saved epoch, the first epoch first.

    Args:
        inspected: The image, and the model.
        layer: The layer to watch, of the model's own network.

    Raises:
        UnsupportedLayerError: The arithmetic of some layer is not known.
        BundleError: A snapshot lacks weights of the network.
    """
    convolution = inspected.model.network.convolution_of(layer)
    for epoch in saved_epochs(inspected.model.bundle):
        check_cancelled()
        network = network_at(inspected.model, epoch)
        outputs = network.forward(inspected.image[None])
        yield Moment(
            epoch,
            outputs[network.output][0],
            outputs[layer.index][0],
            None if convolution is None else network.layers[convolution.index].weights["kernel"],
        )


def _at(layer: Layer, arrays: Mapping[str, Array], epoch: int) -> Layer:
    if not layer.weights:
        return layer
    weights = {}
    for name, published in layer.weights.items():
        path = f"{layer.name}/{name}"
        if path not in arrays or arrays[path].shape != published.shape:
            raise BundleError(f"The snapshot of epoch {epoch} does not hold {path} as published.")
        values = arrays[path].astype(np.float32)
        weights[name] = values * arrays[path + _SCALE] if path + _SCALE in arrays else values
    step = Step(layer.name, layer.kind, layer.config, layer.inputs, store="")
    operation = build_operation(step, weights, layer.shapes)
    return replace(layer, weights=weights, operation=operation)
