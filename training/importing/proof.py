"""Proves that the imported network answers as the file does, in every form that is served.

Compares four: the file's own network in Keras, the rebuilt network in Keras, the compiled model,
and the service's own arithmetic. Where two differ, the layer is named.
"""

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from app.inference.keras_runtime import KerasRuntime
from app.inference.runtime import Runtime
from app.network.graph import IMAGE
from app.network.network import Network
from training.data import Images
from training.importing.adapter import input_structure
from training.importing.network import Choice, Core
from training.importing.scale import log_probabilities

TOLERANCE = 1e-4  # largest difference of a probability
HALF_TOLERANCE = 2e-2  # for a file that computes in half precision
LAYER_TOLERANCE = 1e-3  # largest difference of a layer's output, relative to its largest value
MAX_PRODUCTS = 1e10  # multiplications for our arithmetic; about 2 s on one core
MIN_DIGITS = 10

Probabilities = NDArray[np.float32]  # [N, classes]


@dataclass(frozen=True)
class Agreement:
    """How two forms of a network agree.

    Attributes:
        digits: Number of digits that were compared.
        difference: Largest difference of a probability.
        layer: The first layer that differs, if any.
    """

    digits: int
    difference: float
    layer: str = ""

    @property
    def holds(self) -> bool:
        """Tell whether they agree; NaN does not."""
        return self.difference <= TOLERANCE

    @classmethod
    def of(cls, expected: Probabilities, actual: Probabilities) -> "Agreement":
        """Compare the answers of two forms; the layer stays open."""
        return cls(len(actual), float(np.abs(expected - actual).max()))


def compare_with_file(
    core: Core, choice: Choice, images: Images, answers: Probabilities
) -> Agreement:
    """Compare the rebuilt network's answers with the file's own network, in its precision."""
    pixels = images.astype(np.float32)[..., None]
    scale = choice.scale
    rows = []
    for part in core.inputs(pixels, choice.fit, scale.factor, scale.offset):
        values = keras.tree.pack_sequence_as(input_structure(core.original), [part])
        output = keras.tree.flatten(core.original(values, training=False))[core.output]
        rows.append(np.asarray(output, np.float32).reshape(len(part), core.classes))
    expected = _to_probabilities(np.concatenate(rows), core.kind)[:, list(choice.sources)]
    return Agreement.of(expected, answers)


def _to_probabilities(output: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Turn the file's own output into probabilities."""
    if kind in ("softmax", "probabilities"):
        return output
    if kind == "sigmoid":
        return np.asarray(output / np.maximum(output.sum(axis=1, keepdims=True), 1e-30))
    return np.asarray(np.exp(log_probabilities(output, "logits")))


def differing_from_file(
    core: Core, choice: Choice, network: keras.Model, images: Images, tolerance: float
) -> str:
    """Return the first layer whose output differs from that of the file's own network.

    Args:
        core: The network of the file.
        choice: What was decided about it.
        network: The rebuilt network.
        images: A few digits.
        tolerance: Largest difference, relative to the largest value of the layer.

    Returns:
        Name and kind of the layer; an empty text if none of those in both networks differs.
    """
    ours = KerasRuntime(network).inspect(images)
    layers = [
        layer
        for layer in core.original.layers
        if layer.name in ours
        and len(layer._inbound_nodes) == 1
        and isinstance(layer.output, keras.KerasTensor)
        and _activation(layer) == _activation(network.get_layer(layer.name))
    ]
    model = keras.Model(core.original.inputs, [layer.output for layer in layers])
    pixels = images.astype(np.float32)[..., None]
    (part,) = core.inputs(pixels, choice.fit, choice.scale.factor, choice.scale.offset)
    theirs = [np.asarray(each) for each in keras.tree.flatten(model([part], training=False))]
    for layer, values in zip(layers, theirs, strict=True):
        same = ours[layer.name].shape == values.shape  # channels may have moved
        if same and _differ(values, ours[layer.name], tolerance):
            return f"{layer.name} ({type(layer).__name__})"
    return ""


def _activation(layer: Any) -> str:
    return str(getattr(getattr(layer, "activation", None), "__name__", ""))


def compare_compiled(network: keras.Model, compiled: Runtime, images: Images) -> Agreement:
    """Run the compiled model and the rebuilt network, and compare them."""
    runtimes = KerasRuntime(network), compiled
    agreement = Agreement.of(*(runtime.predict(images).probabilities for runtime in runtimes))
    if agreement.holds:
        return agreement
    ours, theirs = (runtime.inspect(images[:5]) for runtime in runtimes)
    differing = (name for name in ours if _differ(ours[name], theirs[name]))
    return replace(agreement, layer=next(differing, "the last layer"))


def compare_arithmetic(
    network: Network, runtime: Runtime, images: Images, answers: Probabilities, products: int
) -> Agreement:
    """Compare the service's own arithmetic with the runtime that serves.

    Args:
        network: The layers; each must have an operation.
        runtime: The runtime.
        images: The digits; the first are used if the network is large.
        answers: What the runtime answers for them.
        products: Multiplications of the network for one image.
    """
    count = int(np.clip(MAX_PRODUCTS / max(1, products), MIN_DIGITS, len(images)))
    difference = 0.0
    for start in range(0, count, 50):
        part = images[start : min(start + 50, count)].astype(np.float32)[..., None]
        actual = network.forward(part)[network.output]
        rows = answers[start : start + len(part)]
        difference = max(difference, float(np.abs(actual - rows).max()))
        if np.isnan(actual).any():
            difference = float("nan")
            break
    if difference <= TOLERANCE:
        return Agreement(count, difference)
    return Agreement(count, difference, _differing_layer(network, runtime, images[:5]))


def _differing_layer(network: Network, runtime: Runtime, images: Images) -> str:
    """Compute each layer from the runtime's inputs of it; return the first that differs."""
    outputs = runtime.inspect(images)
    pixels = images.astype(np.float32)[..., None]
    for layer in network.layers:
        inputs = [
            pixels if at == IMAGE else outputs[network.layers[at].name] for at in layer.inputs
        ]
        if layer.operation and _differ(layer.operation.forward(inputs), outputs[layer.name]):
            return f"{layer.name} ({layer.kind})"
    return "the last layer"


def _differ(first: Any, second: Any, tolerance: float = LAYER_TOLERANCE) -> bool:
    scale = max(float(np.abs(first).max()), 1e-6)
    return not float(np.abs(np.asarray(first) - second).max()) <= tolerance * scale
