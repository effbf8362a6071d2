"""What each layer of a network does, in a sentence, a formula and numbers.

Goes by a layer's arithmetic and configuration, never by its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.inspection.receptive_field import Field, fields
from app.network.build import INACTIVE
from app.network.functions import LINEAR
from app.network.network import Layer, Network
from app.network.operations import (
    Affine,
    Convolution,
    Dense,
    Elementwise,
    GlobalPooling,
    Merge,
    Pad,
    Pooling,
    Reshape,
    Softmax,
    Window,
)


@dataclass(frozen=True)
class Description:
    """A layer, described.

    Attributes:
        layer: The layer.
        sentence: What it does, in plain words.
        formula: The same as a formula.
        parameters: How many numbers it has learned or holds.
        multiply_adds: How many multiplications with a following addition one image costs.
        field: What its units see of the image.
        active_at_inference: Whether it changes anything once trained.
    """

    layer: Layer
    sentence: str
    formula: str
    parameters: int
    multiply_adds: int
    field: Field
    active_at_inference: bool


def describe_layers(network: Network) -> list[Description]:
    """Describe every layer."""
    return [
        Description(
            layer=layer,
            sentence=_sentence(layer),
            formula=formula(layer),
            parameters=sum(values.size for values in layer.weights.values()),
            multiply_adds=multiply_adds(layer),
            field=field,
            active_at_inference=layer.kind not in INACTIVE,
        )
        for layer, field in zip(network.layers, fields(network), strict=True)
    ]


def plain_config(layer: Layer) -> Mapping[str, Any]:
    """Return the options of a layer that matter once it is trained."""
    training = ("initializer", "regularizer", "constraint")
    dropped = ("dtype", "trainable", "quantization_config", "name")
    return {
        key: value
        for key, value in layer.config.items()
        if key not in dropped and not key.endswith(training)
    }


def multiply_adds(layer: Layer) -> int:
    """Count the multiplications of a convolution or dense layer for one image."""
    operation = layer.operation
    if isinstance(operation, Convolution):
        return layer.shape[0] * layer.shape[1] * int(operation.kernel.size)
    if isinstance(operation, Dense):
        places = 1
        for size in layer.shape[:-1]:
            places *= size
        return places * int(operation.kernel.size)
    return 0


def formula(layer: Layer) -> str:
    """Return what a layer computes for one unit."""
    operation = layer.operation
    if isinstance(operation, Convolution | Dense):
        return _weighted_sum(operation)
    if isinstance(operation, Affine):
        return _AFFINE.get(layer.kind, "y = scale[c] x + shift[c]")
    if isinstance(operation, Pooling | GlobalPooling):
        what = "max" if operation.how == "max" else "mean"
        if isinstance(operation, GlobalPooling):
            return f"y[c] = {what} of x[c, i, j] over all i, j"
        window = operation.window
        return (
            f"y[c, i, j] = {what} of x[c, {_place('i', 'a', 0, window)},"
            f" {_place('j', 'b', 1, window)}] over a < {window.size[0]}, b < {window.size[1]}"
        )
    if isinstance(operation, Pad):
        return f"y[c, i, j] = x[c, i - {operation.rows[0]}, j - {operation.columns[0]}], else 0"
    if isinstance(operation, Elementwise):
        return f"y = {operation.function.formula}"
    if isinstance(operation, Merge):
        return _MERGE[operation.how]
    if isinstance(operation, Softmax):
        return "y[k] = exp(x[k]) / sum over j of exp(x[j])"
    if isinstance(operation, Reshape):
        return "y[((i W) + j) C + c] = x[c, i, j]" if layer.kind == "Flatten" else "y = x, reshaped"
    return "y = x" if operation else "not known to the service"


_AFFINE = {
    "Normalization": "y = (x - mean) / sqrt(variance)",
    "Rescaling": "y = scale x + offset",
    "BatchNormalization": (
        "y = gamma[c] (x - moving_mean[c]) / sqrt(moving_variance[c] + epsilon) + beta[c]"
    ),
}
_MERGE = {
    "add": "y = x1 + x2 + ...",
    "average": "y = (x1 + x2 + ... + xn) / n",
    "multiply": "y = x1 x2 ...",
    "subtract": "y = x1 - x2",
    "maximum": "y = max(x1, x2, ...)",
    "minimum": "y = min(x1, x2, ...)",
    "concatenate": "y = x1, x2, ... one after the other",
}
_MERGE_WORDS = {
    "add": "Adds its inputs, unit by unit.",
    "average": "Takes the mean of its inputs, unit by unit.",
    "multiply": "Multiplies its inputs, unit by unit.",
    "subtract": "Subtracts the second input from the first, unit by unit.",
    "maximum": "Keeps the largest of its inputs, unit by unit.",
    "minimum": "Keeps the smallest of its inputs, unit by unit.",
    "concatenate": "Puts its inputs' channels one after the other.",
}


def _weighted_sum(operation: Convolution | Dense) -> str:
    bias = " + b[c]" if operation.bias is not None else ""
    if isinstance(operation, Dense):
        inner = f"sum over k of x[k] W[k, c]{bias}"
    else:
        window = operation.window
        reads = "k" if operation.groups == 1 else "k of the group of c"
        inner = (
            f"sum over {reads}, a < {window.size[0]}, b < {window.size[1]} of"
            f" x[k, {_place('i', 'a', 0, window)}, {_place('j', 'b', 1, window)}]"
            f" K[a, b, k, c]{bias}"
        )
    if operation.activation is LINEAR:
        return f"y[c] = {inner}" if isinstance(operation, Dense) else f"y[c, i, j] = {inner}"
    return f"y = f(z), f(x) = {operation.activation.formula}, z = {inner}"


def _place(output: str, tap: str, axis: int, window: Window) -> str:
    """Return which row or column of the input a tap reads, such as `2 i + a - p_y`."""
    stride, dilation = window.strides[axis], window.dilation[axis]
    start = output if stride == 1 else f"{stride} {output}"
    step = tap if dilation == 1 else f"{dilation} {tap}"
    pad = f" - p_{'yx'[axis]}" if window.padding == "same" else ""
    return f"{start} + {step}{pad}"


def _sentence(layer: Layer) -> str:
    operation = layer.operation
    if layer.kind in INACTIVE:
        return _inactive(layer)
    if isinstance(operation, Convolution):
        return _convolution(layer, operation)
    if isinstance(operation, Dense):
        then = _then(operation)
        bias = " plus a bias" if operation.bias is not None else ""
        return (
            f"Each of its {layer.channels} units weighs all {operation.kernel.shape[0]} inputs and"
            f" adds them up{bias}{then}."
        )
    if isinstance(operation, Affine):
        return _affine(layer)
    if isinstance(operation, Pooling):
        what = "the largest value" if operation.how == "max" else "the mean"
        height, width = operation.window.size
        return (
            f"Keeps {what} of each {height}x{width} window of a channel: {_size(layer.shape)} is"
            f" left of {_size(layer.input_shapes[0])}."
        )
    if isinstance(operation, GlobalPooling):
        what = "the largest value" if operation.how == "max" else "the mean"
        return f"Keeps {what} of each of the {layer.channels} channels."
    if isinstance(operation, Pad):
        return (
            f"Puts zeros around each channel ({_size(layer.input_shapes[0])} becomes"
            f" {_size(layer.shape)}), so that what follows can look at the border."
        )
    if isinstance(operation, Elementwise):
        return _elementwise(operation)
    if isinstance(operation, Merge):
        return _MERGE_WORDS[operation.how]
    if isinstance(operation, Softmax):
        return f"Turns {layer.channels} numbers into shares that sum to 1: the probabilities."
    if isinstance(operation, Reshape):
        was = " x ".join(map(str, layer.input_shapes[0]))
        now = " x ".join(map(str, layer.shape))
        return f"Lays {was} values out as {now}; no value changes."
    return "Hands its input on." if operation else f"A layer of the kind {layer.kind}."


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"


def _then(operation: Convolution | Dense) -> str:
    if operation.activation is LINEAR:
        return ""
    return f", then takes {operation.activation.name} of it"


def _inactive(layer: Layer) -> str:
    if layer.kind == "Dropout":
        share = f"{100 * float(layer.config['rate']):g} %"
        return (
            f"Inactive once trained: it hands its input on. In training it sets {share} of the"
            " values to 0 at random, so that no unit relies on another."
        )
    return "Inactive once trained: it hands its input on. It adds noise in training only."


def _convolution(layer: Layer, operation: Convolution) -> str:
    height, width = operation.window.size
    depth = operation.kernel.shape[2]
    reads = f"all {depth} channels" if operation.groups == 1 else f"its {depth} channel(s)"
    if layer.input_shapes[0][-1] == 1:
        reads = "the one channel"
    bias = ", adds a bias" if operation.bias is not None else ""
    step = (
        ""
        if operation.window.strides == (1, 1)
        else (f" in steps of {operation.window.strides[0]}x{operation.window.strides[1]}")
    )
    return (
        f"Slides {layer.channels} kernels of {height}x{width} over {reads}{step} and gives for each"
        f" place how well the kernel fits{bias}{_then(operation)}."
    )


def _affine(layer: Layer) -> str:
    if layer.kind == "BatchNormalization":
        return (
            "Once trained, a fixed multiplication and addition for each channel, with the mean and"
            " variance that training saw; nothing of the present image enters them."
        )
    if layer.kind == "Normalization":
        return (
            "Takes the mean grey of MNIST away and divides by its spread, so that inputs are about"
            " 0 with a spread of about 1."
        )
    return "Multiplies every value by a fixed number and adds another."


def _elementwise(operation: Elementwise) -> str:
    if operation.function.name == "relu" and operation.function.formula == "max(0, x)":
        return "Keeps what is positive and sets the rest to 0, unit by unit."
    return f"Bends every value by the function {operation.function.name}, unit by unit."
