"""Describes each layer of a network: a sentence, a formula, costs, and how it treats channels.

The facts come from the layers' operations (`app.network.layers`), not from names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.inspection.receptive_field import receptive_fields
from app.network.geometry import ReceptiveField
from app.network.network import Layer, Network

_TRAINING_OPTIONS = ("initializer", "regularizer", "constraint")  # ends of their names
_OTHER_OPTIONS = ("dtype", "trainable", "quantization_config", "name")


@dataclass(frozen=True)
class Description:
    """What the service says about a layer.

    Attributes:
        layer: The layer.
        sentence: What it does, in plain words.
        formula: What it computes for one unit.
        parameters: Number of weights, learned and fixed.
        multiply_adds: Multiplications, most with an addition, for one image; those inside functions
            and means are not counted.
        receptive_field: The part of the image that its units see.
        active_at_inference: Whether it does anything outside training.
        changes_values: Whether it computes new values; False if it only passes on or moves them.
        keeps_channels: Whether its channel c depends on channel c of its only input and no other.
        convolution: Name of the convolution that makes its channels (see
            `Network.convolution_of`), or None.
        activation: Keras name of the activation function that makes its output, or None.
        ablatable: Whether its channels can be switched off: the logits depend on it, through
            layers that the service can compute.
    """

    layer: Layer
    sentence: str
    formula: str
    parameters: int
    multiply_adds: int
    receptive_field: ReceptiveField
    active_at_inference: bool
    changes_values: bool
    keeps_channels: bool
    convolution: str | None
    activation: str | None
    ablatable: bool


def describe_layers(network: Network) -> list[Description]:
    """Describe every layer."""
    fields = receptive_fields(network)
    return [
        _describe(network, layer, field)
        for layer, field in zip(network.layers, fields, strict=True)
    ]


def _describe(network: Network, layer: Layer, field: ReceptiveField) -> Description:
    operation = layer.operation
    convolution = network.convolution_of(layer)
    return Description(
        layer=layer,
        sentence=_sentence(layer),
        formula=formula(layer),
        parameters=sum(values.size for values in layer.weights.values()),
        multiply_adds=layer.multiply_adds,
        receptive_field=field,
        active_at_inference=operation is None or operation.active_at_inference,
        changes_values=operation is None or operation.changes_values,
        keeps_channels=operation is not None and operation.keeps_channels,
        convolution=convolution.name if convolution else None,
        activation=operation.activation_name if operation else None,
        ablatable=network.ablatable(layer),
    )


def _sentence(layer: Layer) -> str:
    if layer.operation:
        return layer.operation.sentence(layer.shapes)
    return layer.unsupported.sentence if layer.unsupported else f"A {layer.kind} layer."


def formula(layer: Layer) -> str:
    """Return what a layer computes for one unit."""
    if layer.operation:
        return layer.operation.formula
    reason = f": {layer.unsupported.reason}" if layer.unsupported else ""
    return f"not computed by the service{reason}"


def plain_config(layer: Layer) -> Mapping[str, Any]:
    """Return the options of a layer that matter once it is trained."""
    return {
        key: value
        for key, value in layer.config.items()
        if key not in _OTHER_OPTIONS and not key.endswith(_TRAINING_OPTIONS)
    }
