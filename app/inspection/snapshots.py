"""Run a model with the weights that it had after earlier epochs of its training.

A bundle keeps the weights of some epochs. Large tensors are int8, with a scale for each output
channel under `<name>:scale`. To show an epoch, its weights replace those of the published network.

Two differences from the published network remain:
- The temperature of the published logits is not part of the snapshots, so even the last epoch's
  probabilities are a little sharper.
- The snapshots of a refitted model are from its training before the refit.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from app.archives import read_npz
from app.bundle import Bundle
from app.cancellation import check_cancelled
from app.errors import BundleError, NotFoundError
from app.inference.model import Model
from app.inspection.activations import InspectedImage
from app.network.functions import Array
from app.network.graph import Step
from app.network.kinds import build_operation
from app.network.network import Layer, Network
from app.network.operation import Operation

_SNAPSHOT_FILE = re.compile(r"snapshots/epoch-(\d+)\.npz")
_SCALE_SUFFIX = ":scale"
_FULL_SIZE = 3  # an array and its scale may be float64, and a scale is no larger than its array
_HEADER_BYTES = 1024  # of an array and its scale in the file


@dataclass(frozen=True)
class EpochResult:
    """What the network computed for an image after one epoch.

    Attributes:
        epoch: The epoch, counted from 1.
        probabilities: float32 `[classes]`, sum 1.
        values: Output of the watched layer, without the batch axis.
        kernel: Kernel of the convolution that makes the watched layer's channels,
            `[kh, kw, C_in, C_out]`; None if there is no such convolution.
    """

    epoch: int
    probabilities: Array
    values: Array
    kernel: Array | None


def saved_epochs(bundle: Bundle) -> list[int]:
    """Return the epochs whose weights a bundle keeps, ascending."""
    matches = (_SNAPSHOT_FILE.fullmatch(name) for name in bundle.metadata.files)
    return sorted(int(match[1]) for match in matches if match)


def network_at(model: Model, epoch: int) -> Network:
    """Return a model's network with the weights that it had after an epoch.

    Raises:
        NotFoundError: The bundle does not keep that epoch.
        BundleError: The snapshot's weights do not match the network.
    """
    epochs = saved_epochs(model.bundle)
    if epoch not in epochs:
        name = model.bundle.metadata.name
        raise NotFoundError(
            f"The model {name!r} has no snapshot of epoch {epoch}.", valid=[str(e) for e in epochs]
        )
    arrays = _read_snapshot(model, epoch)
    layers = tuple(_with_weights(layer, arrays, epoch) for layer in model.network.layers)
    return replace(model.network, layers=layers)


def run_epochs(inspected: InspectedImage, layer: Layer) -> Iterator[EpochResult]:
    """Run an image through the network of every saved epoch, first epoch first.

    Args:
        inspected: The image and its model.
        layer: The layer to watch, from the model's own network.

    Raises:
        UnsupportedLayerError: The arithmetic of a layer is not supported.
        BundleError: A snapshot's weights do not match the network.
    """
    convolution = inspected.model.network.convolution_of(layer)
    for epoch in saved_epochs(inspected.model.bundle):
        check_cancelled()
        network = network_at(inspected.model, epoch)
        outputs = network.forward(inspected.image[None])
        yield EpochResult(
            epoch,
            probabilities=outputs[network.output][0],
            values=outputs[layer.index][0],
            kernel=network.layers[convolution.index].weights["kernel"] if convolution else None,
        )


def _read_snapshot(model: Model, epoch: int) -> Mapping[str, Array]:
    """Read the arrays of a snapshot that the network needs; they are no larger than its weights."""
    weights = {
        f"{layer.name}/{name}": values
        for layer in model.network.layers
        for name, values in layer.weights.items()
    }
    limit = sum(_FULL_SIZE * values.nbytes + _HEADER_BYTES for values in weights.values())
    file = f"snapshots/epoch-{epoch:03}.npz"
    try:
        return read_npz(
            model.bundle.read(file),
            {each for path in weights for each in (path, path + _SCALE_SUFFIX)},
            max_bytes=limit,
        )
    except ValueError as error:
        raise BundleError(f"{model.bundle.folder / file} cannot be read: {error}.") from error


def _with_weights(layer: Layer, arrays: Mapping[str, Array], epoch: int) -> Layer:
    """Return a layer with the weights of a snapshot.

    Args:
        layer: The published layer.
        arrays: The snapshot's arrays, by `<layer>/<weight>`.
        epoch: The snapshot's epoch, for error messages.
    """
    if not layer.weights:
        return layer
    weights = {}
    for name, published in layer.weights.items():
        path = f"{layer.name}/{name}"
        if path not in arrays:
            raise BundleError(f"The snapshot of epoch {epoch} lacks the array {path!r}.")
        if arrays[path].shape != published.shape:
            raise BundleError(
                f"The array {path!r} in the snapshot of epoch {epoch} has the shape"
                f" {list(arrays[path].shape)}; expected {list(published.shape)}."
            )
        values = arrays[path].astype(np.float32)
        scale = arrays.get(path + _SCALE_SUFFIX)
        weights[name] = values if scale is None else values * scale
    step = Step(layer.name, layer.kind, layer.config, layer.inputs, store="")
    built = build_operation(step, weights, layer.shapes)
    operation = built if isinstance(built, Operation) else None
    return replace(layer, weights=weights, operation=operation)
