"""The registry of layer kinds: from a layer in a `.keras` file to its operation.

A layer of an unknown class, or with unsupported options, has no operation. Its activations can
still be shown; equations, ablations and explanations raise an error that names it.
"""

from collections.abc import Mapping

from app.network.graph import Step
from app.network.layers import (
    affine,
    convolution,
    cropping,
    dense,
    elementwise,
    merge,
    padding,
    passthrough,
    pooling,
    reshape,
    softmax,
)
from app.network.operation import LayerKind, Operation, SavedLayer, Shapes, Weights

KINDS: Mapping[str, LayerKind] = {
    **affine.KINDS,
    **convolution.KINDS,
    **cropping.KINDS,
    **dense.KINDS,
    **elementwise.KINDS,
    **merge.KINDS,
    **padding.KINDS,
    **passthrough.KINDS,
    **pooling.KINDS,
    **reshape.KINDS,
    **softmax.KINDS,
}


def weight_names(step: Step) -> tuple[str, ...]:
    """Return the names of a layer's weights in the order in which Keras stores them.

    Returns:
        The names; empty for a layer without weights and for an unknown class.
    """
    kind = KINDS.get(step.kind)
    return kind.weight_names(step.config) if kind else ()


def build_operation(step: Step, weights: Weights, shapes: Shapes) -> Operation | None:
    """Make a layer's operation.

    Args:
        step: The layer.
        weights: Its weights by name, float32.
        shapes: Shapes of its inputs and output.

    Returns:
        The operation, or None for an unknown class or unsupported options.
    """
    kind = KINDS.get(step.kind)
    if kind is None or step.config.get("data_format", "channels_last") != "channels_last":
        return None
    return kind.build(SavedLayer(step.config, weights, shapes))
