"""The registry of layer kinds: from a layer in a `.keras` file to its operation.

A layer of an unknown class, or with unsupported options, has no operation. Its activations can
still be shown; equations, ablations and explanations raise an error that names it.
"""

from collections.abc import Mapping
from dataclasses import replace

from app.network.graph import Step
from app.network.layers import (
    affine,
    attention,
    batch_normalization,
    convolution,
    cropping,
    dense,
    elementwise,
    merge,
    normalization,
    operators,
    padding,
    passthrough,
    pooling,
    recurrent,
    reshape,
    resizing,
    separable,
    softmax,
    transposed,
)
from app.network.layers.activated import SoftmaxActivated
from app.network.layers.time_distributed import INNER, TimeDistributed
from app.network.operation import (
    Config,
    LayerKind,
    Operation,
    SavedLayer,
    Shapes,
    Unsupported,
    Weights,
    unsupported,
)


def _time_distributed(saved: SavedLayer) -> Operation | Unsupported:
    """Make the operation of a layer that is applied to each row."""
    inner, (shape, *_) = saved.config["layer"], saved.shapes.inputs
    weights = {name.removeprefix(INNER): values for name, values in saved.weights.items()}
    step = Step(inner["config"]["name"], inner["class_name"], inner["config"], (), "")
    built = build_operation(step, weights, Shapes((shape[1:],), saved.shapes.output[1:]))
    return TimeDistributed(built) if isinstance(built, Operation) else built


def _inner_weight_names(config: Config) -> tuple[str, ...]:
    """Return the names of a wrapped layer's weights."""
    kind = KINDS.get(config["layer"]["class_name"])
    names = kind.weight_names(config["layer"]["config"]) if kind else ()
    return tuple(f"{INNER}{name}" for name in names)


KINDS: Mapping[str, LayerKind] = {
    **affine.KINDS,
    **attention.KINDS,
    **batch_normalization.KINDS,
    **convolution.KINDS,
    **cropping.KINDS,
    **dense.KINDS,
    **elementwise.KINDS,
    **merge.KINDS,
    **normalization.KINDS,
    **padding.KINDS,
    **passthrough.KINDS,
    **pooling.KINDS,
    **recurrent.KINDS,
    **reshape.KINDS,
    **resizing.KINDS,
    **separable.KINDS,
    **softmax.KINDS,
    **transposed.KINDS,
    "TimeDistributed": LayerKind(
        _time_distributed, _inner_weight_names, "a layer of this list, not a model"
    ),
}


def _kind(step: Step) -> LayerKind | None:
    if step.operands is not None:
        return operators.KINDS.get(step.kind)
    return KINDS.get(step.kind)


def weight_names(step: Step) -> tuple[str, ...]:
    """Return the names of a layer's weights in the order in which Keras stores them.

    Returns:
        The names; empty for a layer without weights and for an unknown class. A name with a path,
        such as `cell/kernel`, is that of a layer inside the layer.
    """
    kind = _kind(step)
    return kind.weight_names(step.config) if kind else ()


def build_operation(step: Step, weights: Weights, shapes: Shapes) -> Operation | Unsupported:
    """Make a layer's operation.

    Args:
        step: The layer.
        weights: Its weights by name, float32.
        shapes: Shapes of its inputs and output.

    Returns:
        The operation, or why the service cannot compute the layer.
    """
    kind, saved = _kind(step), SavedLayer(step.config, weights, shapes, step.operands)
    if kind is None:
        return unsupported("the service does not know the arithmetic of this class", saved)
    if step.output:
        return unsupported("it is a further output of the layer", saved)
    if step.config.get("data_format") == "channels_first":
        return unsupported("its data_format is channels_first", saved)
    if step.config.get("activation") == "softmax" and step.kind not in elementwise.KINDS:
        linear = kind.build(replace(saved, config={**step.config, "activation": "linear"}))
        return SoftmaxActivated(linear) if isinstance(linear, Operation) else linear
    return kind.build(saved)
