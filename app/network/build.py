"""From a layer's class, configuration and weights to its arithmetic.

A layer whose class or options are not known here gets none: it can be looked at, and what needs
its arithmetic says so by name.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from app.network.functions import Array, elu, named, relu
from app.network.functions import Function as Activation
from app.network.graph import Step
from app.network.operations import (
    Affine,
    Convolution,
    Dense,
    Elementwise,
    GlobalPooling,
    Identity,
    Merge,
    Operation,
    Pad,
    Pooling,
    Reshape,
    Softmax,
    Window,
)

Weights = Mapping[str, Array]
Config = Mapping[str, Any]
Shape = tuple[int, ...]
_EPSILON = 1e-7  # Keras's, below which Normalization takes no standard deviation

INACTIVE = (
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "ActivityRegularization",
)
MERGES: dict[str, Literal["add", "average", "multiply", "subtract", "maximum", "minimum"]] = {
    "Add": "add",
    "Average": "average",
    "Multiply": "multiply",
    "Subtract": "subtract",
    "Maximum": "maximum",
    "Minimum": "minimum",
}


def weight_names(step: Step) -> tuple[str, ...]:
    """Return the names of a layer's weights in the order in which Keras stores them."""
    config = step.config
    bias = ("bias",) if config.get("use_bias") else ()
    if step.kind in ("Conv2D", "Dense", "DepthwiseConv2D"):
        return ("kernel", *bias)
    if step.kind == "SeparableConv2D":
        return ("depthwise_kernel", "pointwise_kernel", *bias)
    if step.kind == "BatchNormalization":
        learned = [
            name for name, used in (("gamma", "scale"), ("beta", "center")) if config.get(used)
        ]
        return (*learned, "moving_mean", "moving_variance")
    if step.kind == "Normalization" and config.get("mean") is None:
        return ("mean", "variance", "count")
    return ("alpha",) if step.kind == "PReLU" else ()


def build(step: Step, weights: Weights, output: Shape, inputs: Sequence[Shape]) -> Operation | None:
    """Make a layer's arithmetic.

    Args:
        step: The layer.
        weights: Its weights by name.
        output: Shape of its output, without the batch.
        inputs: Shapes of its inputs, likewise.

    Returns:
        The operation, or None for a kind or an option that is not known.
    """
    config = step.config
    if config.get("data_format", "channels_last") != "channels_last":
        return None
    if step.kind in INACTIVE or step.kind == "Identity":
        return Identity()
    if step.kind in MERGES:
        same = len(set(inputs)) == 1
        return Merge(MERGES[step.kind]) if same else None
    if step.kind == "Concatenate":
        last = config.get("axis", -1) in (-1, len(output))
        return Merge("concatenate") if last else None
    if step.kind in ("Flatten", "Reshape"):
        return Reshape(output)
    maker = _MAKERS.get(step.kind)
    return maker(config, weights) if maker else None


def _convolution(config: Config, weights: Weights) -> Operation | None:
    activation = named(config["activation"])
    if activation is None:
        return None
    window = _window(config, config["kernel_size"])
    groups = int(config.get("groups", 1))
    return Convolution(weights["kernel"], weights.get("bias"), window, groups, activation)


def _depthwise(config: Config, weights: Weights) -> Operation | None:
    activation = named(config["activation"])
    if activation is None:
        return None
    kernel = weights["kernel"]
    kh, kw, channels, multiplier = kernel.shape
    # A grouped convolution with one input channel in each group.
    grouped = kernel.reshape(kh, kw, 1, channels * multiplier)
    window = _window(config, config["kernel_size"])
    return Convolution(grouped, weights.get("bias"), window, channels, activation)


def _dense(config: Config, weights: Weights) -> Operation | None:
    activation = named(config["activation"])
    return Dense(weights["kernel"], weights.get("bias"), activation) if activation else None


def _pooling(how: Literal["max", "average"]) -> Callable[[Config, Weights], Operation | None]:
    return lambda config, _: Pooling(_window(config, config["pool_size"]), how)


def _global(how: Literal["max", "average"]) -> Callable[[Config, Weights], Operation | None]:
    return lambda config, _: GlobalPooling(how, bool(config.get("keepdims")))


def _window(config: Config, size: object) -> Window:
    return Window(
        _pair(size),
        _pair(config.get("strides") or size),
        config["padding"],
        _pair(config.get("dilation_rate", 1)),
    )


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _zero_padding(config: Config, _: Weights) -> Operation | None:
    padding = config["padding"]
    if isinstance(padding, int):
        padding = (padding, padding)
    rows, columns = (_pair(part) for part in padding)
    return Pad(rows, columns)


def _normalization(config: Config, weights: Weights) -> Operation | None:
    if config.get("axis", [-1]) not in ([-1], -1, [3], 3, []):
        return None
    mean, variance = _mean_and_variance(config, weights)
    deviation = np.maximum(np.sqrt(variance), _EPSILON)
    if config.get("invert"):
        return Affine(_narrow(deviation), _narrow(mean))
    return Affine(_narrow(1 / deviation), _narrow(-mean / deviation))


def _mean_and_variance(config: Config, weights: Weights) -> tuple[Array, Array]:
    known = weights if "mean" in weights else config
    mean = np.asarray(known["mean"], np.float64).reshape(-1)
    return mean, np.asarray(known["variance"], np.float64).reshape(-1)


def _rescaling(config: Config, _: Weights) -> Operation | None:
    return Affine(
        np.asarray(config["scale"], np.float32).reshape(-1),
        np.asarray(config["offset"], np.float32).reshape(-1),
    )


def _batch_normalization(config: Config, weights: Weights) -> Operation | None:
    mean = weights["moving_mean"].astype(np.float64)
    if config["axis"] not in (-1, [-1], 3, [3]):
        return None
    root = np.sqrt(weights["moving_variance"].astype(np.float64) + config["epsilon"])
    scale = weights.get("gamma", np.ones_like(mean)) / root
    return Affine(_narrow(scale), _narrow(weights.get("beta", np.zeros_like(mean)) - mean * scale))


def _narrow(values: Array) -> Array:
    return np.asarray(values, np.float32)


def _activation(config: Config, _: Weights) -> Operation | None:
    if config["activation"] == "softmax":
        return Softmax()
    function = named(config["activation"])
    return Elementwise(function) if function else None


def _relu(config: Config, _: Weights) -> Operation | None:
    options = {name: config.get(name) for name in ("max_value", "negative_slope", "threshold")}
    return Elementwise(
        relu(options["max_value"], options["negative_slope"] or 0.0, options["threshold"] or 0.0)
    )


def _leaky_relu(config: Config, _: Weights) -> Operation | None:
    return Elementwise(relu(negative_slope=float(config["negative_slope"])))


def _elu(config: Config, _: Weights) -> Operation | None:
    return Elementwise(elu(float(config.get("alpha", 1.0))))


def _prelu(config: Config, weights: Weights) -> Operation | None:
    alpha = weights["alpha"]
    return Elementwise(
        Activation(
            "prelu",
            "x if x >= 0 else alpha x",
            lambda x: np.where(x >= 0, x, alpha * x).astype(x.dtype),
            lambda x, y: np.where(x > 0, 1.0, np.broadcast_to(alpha, x.shape)).astype(x.dtype),
        )
    )


def _softmax(config: Config, _: Weights) -> Operation | None:
    return Softmax() if config.get("axis", -1) in (-1, [-1]) else None


_MAKERS: dict[str, Callable[[Config, Weights], Operation | None]] = {
    "Conv2D": _convolution,
    "DepthwiseConv2D": _depthwise,
    "Dense": _dense,
    "MaxPooling2D": _pooling("max"),
    "AveragePooling2D": _pooling("average"),
    "GlobalMaxPooling2D": _global("max"),
    "GlobalAveragePooling2D": _global("average"),
    "ZeroPadding2D": _zero_padding,
    "Normalization": _normalization,
    "Rescaling": _rescaling,
    "BatchNormalization": _batch_normalization,
    "Activation": _activation,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _elu,
    "PReLU": _prelu,
    "Softmax": _softmax,
}
