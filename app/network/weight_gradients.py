"""The gradients of a network's weights, and the same network with other weights.

Calls of one layer share its weights: their gradients are added up. Knows layers; knows nothing of
losses or of learning.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from app.errors import UnsupportedLayerError
from app.network.functions import Array
from app.network.graph import IMAGE, Step
from app.network.kinds import build_operation
from app.network.network import Layer, Network, operation_of
from app.network.operation import Operation, Weights

Store = str  # path of a layer's weights in the file, see `Layer.store`


def calls_by_store(network: Network) -> dict[Store, list[Layer]]:
    """Return the layers with weights that training changes, all calls of one layer together.

    Raises:
        UnsupportedLayerError: The service cannot compute a layer with weights.
    """
    calls: dict[Store, list[Layer]] = {}
    for layer in network.layers:
        if layer.weights and learned_weights(layer):
            calls.setdefault(layer.store, []).append(layer)
    return calls


def learned_weights(layer: Layer) -> dict[str, Array]:
    """Return the weights that training changes: all but measured means and variances.

    Raises:
        UnsupportedLayerError: The service cannot compute the layer.
    """
    fixed = operation_of(layer).fixed_weights
    return {name: values for name, values in layer.weights.items() if name not in fixed}


def weight_gradients(
    calls: Iterable[Layer], images: Array, outputs: Sequence[Array], grads: Mapping[int, Array]
) -> dict[str, Array]:
    """Return the gradient of each weight of a layer that training changes.

    Args:
        calls: All calls of the layer.
        images: `[N, 28, 28, 1]`, 0..255.
        outputs: The outputs of all layers for them.
        grads: Gradients of layers' outputs by index; calls that are missing add nothing.

    Returns:
        By name, in the shapes of the weights, summed over the calls and the batch; zeros if no call
        has a gradient.

    Raises:
        UnsupportedLayerError: The gradient of a weight is not known.
    """
    total: dict[str, Array] = {}
    for layer in calls:
        wanted = learned_weights(layer)
        total = total or {name: np.zeros_like(values) for name, values in wanted.items()}
        if layer.index not in grads:
            continue
        inputs = [images if at == IMAGE else outputs[at] for at in layer.inputs]
        found = operation_of(layer).weight_gradients(
            inputs, outputs[layer.index], grads[layer.index]
        )
        _check_known(layer, set(wanted) - set(found))
        for name, values in wanted.items():
            total[name] += found[name].reshape(values.shape)
    return total


def _check_known(layer: Layer, missing: set[str]) -> None:
    if missing:
        raise UnsupportedLayerError(
            f"The service does not know the gradient of the weights {', '.join(sorted(missing))} of"
            f" the layer {layer.name!r} ({layer.kind}).",
            layer=layer.name,
        )


def with_weights(network: Network, weights: Mapping[Store, Weights]) -> Network:
    """Return the network with other weights.

    Args:
        network: The network; it stays as it is.
        weights: All weights of a layer by name, in their shapes; layers that are missing keep
            theirs.
    """
    layers = tuple(
        _with_weights(layer, weights[layer.store])
        if layer.weights and layer.store in weights
        else layer
        for layer in network.layers
    )
    return replace(network, layers=layers)


def _with_weights(layer: Layer, weights: Weights) -> Layer:
    step = Step(layer.name, layer.kind, layer.config, layer.inputs, layer.store)
    built = build_operation(step, weights, layer.shapes)
    # The options of the layer were supported, so they still are.
    operation = built if isinstance(built, Operation) else layer.operation
    return replace(layer, weights=weights, operation=operation)


def in_float64(network: Network) -> Network:
    """Return a network with copies of the weights in float64, which computes in float64."""
    stores = {layer.store: layer.weights for layer in network.layers if layer.operation}
    return with_weights(
        network,
        {
            store: {name: values.astype(np.float64) for name, values in weights.items()}
            for store, weights in stores.items()
            if weights
        },
    )
