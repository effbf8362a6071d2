"""Maps each kind of ONNX operator to stock Keras layers."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import layers

from training.importing.onnx_file import Operator
from training.importing.onnx_network import (
    FIRST_TO_LAST,
    Constant,
    Handler,
    OnnxBuilder,
    Value,
)

_EPSILON = 1e-3  # of a normalisation that adds or multiplies constants


def _convolution(builder: OnnxBuilder, operator: Operator) -> Value:
    kernel, bias = builder.constant(operator, 1), builder.constant(operator, 2)
    if kernel is None:
        raise builder.unknown(operator, "its kernel is computed")
    tensor, group = builder.last(operator), int(operator.options.get("group", 1))
    size, strides = kernel.shape[2:], _pair(operator, "strides")
    dilations = _pair(operator, "dilations")
    reach = [(each - 1) * step + 1 for each, step in zip(size, dilations, strict=True)]
    tensor, padding = _pad(builder, operator, tensor, reach, strides)
    options = {
        "strides": strides,
        "dilation_rate": dilations,
        "padding": padding,
        "use_bias": bias is not None,
    }
    channels = tensor.shape[-1]
    if group > 1 and group == channels:
        multiplier = kernel.shape[0] // channels
        layer = builder.make(
            operator, layers.DepthwiseConv2D, size, depth_multiplier=multiplier, **options
        )
        stored = kernel.reshape(channels, multiplier, *size).transpose(2, 3, 0, 1)
    else:
        layer = builder.make(
            operator, layers.Conv2D, kernel.shape[0], size, groups=group, **options
        )
        stored = kernel.transpose(2, 3, 1, 0)
    out = layer(tensor)
    layer.set_weights([stored] + ([bias] if bias is not None else []))
    return Value(out, is_last=True)


def _pair(operator: Operator, name: str) -> tuple[int, int]:
    rows, columns = operator.options.get(name, (1, 1))
    return int(rows), int(columns)


def _pad(
    builder: OnnxBuilder,
    operator: Operator,
    tensor: Any,
    size: Sequence[int],
    strides: Sequence[int],
    *,
    zeros: bool = True,
) -> tuple[Any, str]:
    """Return the padded tensor and the option `padding` of the layer.

    Args:
        builder: The builder.
        operator: A convolution or a pooling.
        tensor: Its input, channels last.
        size: Rows and columns that one output reads.
        strides: Its strides.
        zeros: Whether padding with zeros is the same.
    """
    automatic = operator.options.get("auto_pad", "NOTSET")
    if automatic == "SAME_UPPER":
        return tensor, "same"
    top, left, bottom, right = operator.options.get("pads", (0, 0, 0, 0))
    if automatic not in ("NOTSET", "VALID"):
        raise builder.unknown(operator, f"auto_pad {automatic} is not known")
    if not any((top, left, bottom, right)):
        return tensor, "valid"
    same = [
        _same_margin(rows, reach, stride)
        for rows, reach, stride in zip(tensor.shape[1:3], size, strides, strict=True)
    ]
    if same == [(top, bottom), (left, right)]:
        return tensor, "same"
    if not zeros:
        raise builder.unknown(operator, "its padding is not known")
    margin = ((top, bottom), (left, right))
    padding = layers.ZeroPadding2D(margin, name=builder.namer.take(f"{operator.name}_padding"))
    return padding(tensor), "valid"


def _same_margin(rows: int, reach: int, stride: int) -> tuple[int, int]:
    """Return the margin that Keras adds for `same`."""
    total = max((math.ceil(rows / stride) - 1) * stride + reach - rows, 0)
    return total // 2, total - total // 2


def _pooling(kind: type, *, average: bool) -> Handler:
    def run(builder: OnnxBuilder, operator: Operator) -> Value:
        size, strides = _pair(operator, "kernel_shape"), _pair(operator, "strides")
        tensor = builder.last(operator)
        rows = zip(tensor.shape[1:3], size, strides, strict=True)
        if operator.options.get("ceil_mode", 0) and any((a - b) % c for a, b, c in rows):
            raise builder.unknown(operator, "ceil_mode is not known here")
        zeros = average and bool(operator.options.get("count_include_pad", 0))
        tensor, padding = _pad(builder, operator, tensor, size, strides, zeros=zeros)
        layer = builder.make(operator, kind, size, strides=strides, padding=padding)
        return Value(layer(tensor), is_last=True)

    return run


def _global(kind: type) -> Handler:
    def run(builder: OnnxBuilder, operator: Operator) -> Value:
        layer = builder.make(operator, kind, keepdims=True)
        return Value(layer(builder.last(operator)), is_last=True)

    return run


def _mean(builder: OnnxBuilder, operator: Operator) -> Value:
    axes = operator.options.get("axes", builder.constant(operator, 1))
    if axes is None or sorted(int(axis) % 4 for axis in axes) != [2, 3]:
        raise builder.unknown(operator, "only the mean of rows and columns is known")
    keep = bool(operator.options.get("keepdims", 1))
    layer = builder.make(operator, layers.GlobalAveragePooling2D, keepdims=keep)
    return Value(layer(builder.last(operator)), is_last=keep)


def _dense(
    builder: OnnxBuilder, operator: Operator, kernel: Constant, bias: Constant | None
) -> Value:
    tensor = builder.first(operator.inputs[0])
    if kernel.ndim != 2:
        raise builder.unknown(operator, "its weights are no matrix")
    layer = builder.make(operator, layers.Dense, kernel.shape[1], use_bias=bias is not None)
    out = layer(tensor)
    layer.set_weights([kernel] + ([bias.reshape(-1)] if bias is not None else []))
    return Value(out)


def _gemm(builder: OnnxBuilder, operator: Operator) -> Value:
    kernel, bias = builder.constant(operator, 1), builder.constant(operator, 2)
    if kernel is None or operator.options.get("transA", 0):
        raise builder.unknown(operator, "its weights are computed")
    kernel = kernel.T if operator.options.get("transB", 0) else kernel
    kernel = kernel * np.float32(operator.options.get("alpha", 1.0))
    if bias is not None:
        bias = np.broadcast_to(bias, (kernel.shape[1],)) * np.float32(
            operator.options.get("beta", 1.0)
        )
    return _dense(builder, operator, kernel, bias)


def _matmul(builder: OnnxBuilder, operator: Operator) -> Value:
    kernel, bias = builder.constant(operator, 1), None
    if kernel is None:
        raise builder.unknown(operator, "its weights are computed")
    consumers = builder.file.consumers(operator.outputs[0])
    if len(consumers) == 1 and consumers[0].kind == "Add":
        others = [each for each in consumers[0].inputs if each != operator.outputs[0]]
        added = builder.file.constants.get(others[0]) if len(others) == 1 else None
        if added is not None and added.size == kernel.shape[-1]:
            bias = added
            builder.aliases[consumers[0].outputs[0]] = operator.outputs[0]
    return _dense(builder, operator, kernel, bias)


def _normalization(builder: OnnxBuilder, operator: Operator) -> Value:
    found = [builder.constant(operator, at) for at in range(1, 5)]
    weights = [each for each in found if each is not None]
    if len(weights) != 4:
        raise builder.unknown(operator, "its statistics are computed")
    value = builder.value(operator)
    tensor = builder.last(operator) if len(value.tensor.shape) == 4 else value.tensor
    epsilon = float(operator.options.get("epsilon", 1e-5))
    layer = builder.make(operator, layers.BatchNormalization, epsilon=epsilon)
    out = layer(tensor)
    layer.set_weights(weights)
    return Value(out, is_last=len(out.shape) == 4)


def _arithmetic(
    merge: type, scale: Callable[[Constant], Constant], offset: Callable[[Constant], Constant]
) -> Handler:
    """Return a handler of Add, Sub, Mul or Div, of two values or a value and a constant."""

    def run(builder: OnnxBuilder, operator: Operator) -> Value | Constant:
        constants = [builder.constant(operator, at) for at in (0, 1)]
        if constants[0] is None and constants[1] is None:
            values = [builder.value(operator, at) for at in (0, 1)]
            if all(len(each.tensor.shape) == 4 for each in values):
                pair = [builder.last(operator, at) for at in (0, 1)]
                return Value(builder.make(operator, merge)(pair), is_last=True)
            pair = [builder.first(name) for name in operator.inputs]
            return Value(builder.make(operator, merge)(pair))
        number = constants[1] if constants[1] is not None else constants[0]
        if number is None or (constants[0] is not None and operator.kind in ("Sub", "Div")):
            raise builder.unknown(operator, "a constant comes first")
        name = operator.inputs[0 if constants[0] is None else 1]
        value = builder.values[name]
        if not isinstance(value, Value):
            raise builder.unknown(operator, "both inputs are constants")
        return _affine(builder, operator, value, scale(number), offset(number))

    return run


def _affine(
    builder: OnnxBuilder, operator: Operator, value: Value, scale: Constant, offset: Constant
) -> Value:
    """Multiply by constants and add others: one number, or one for each channel."""
    if scale.size == offset.size == 1:
        layer = builder.make(
            operator, layers.Rescaling, float(scale.flat[0]), float(offset.flat[0])
        )
        return Value(layer(value.tensor), value.is_last)
    tensor, is_image = value.tensor, len(value.tensor.shape) == 4
    if is_image and not value.is_last:
        tensor = builder.permuted(tensor, FIRST_TO_LAST)
    channels = tensor.shape[-1]
    shape = (channels,)
    if max(scale.size, offset.size) != channels:
        raise builder.unknown(operator, "its constants are not one for each channel")
    layer = builder.make(operator, layers.BatchNormalization, epsilon=_EPSILON)
    out = layer(tensor)
    factors = np.broadcast_to(scale.reshape(-1), shape)
    added = np.broadcast_to(offset.reshape(-1), shape)
    layer.set_weights([factors, added, np.zeros(shape), np.full(shape, 1 - _EPSILON)])
    return Value(out, is_last=is_image)


def _flatten(builder: OnnxBuilder, operator: Operator) -> Value:
    if operator.options.get("axis", 1) != 1:
        raise builder.unknown(operator, "only axis 1 is known")
    return Value(builder.make(operator, layers.Flatten)(builder.first(operator.inputs[0])))


def _reshape(builder: OnnxBuilder, operator: Operator) -> Value | Constant:
    target = builder.constant(operator, 1)
    source = builder.constant(operator, 0)
    if target is None:
        raise builder.unknown(operator, "its shape is computed")
    if source is not None:
        return source.reshape([int(size) for size in target])
    tensor = builder.first(operator.inputs[0])
    before = tensor.shape[1:]
    sizes = [int(size) for size in target]
    inner = [before[at] if size == 0 else size for at, size in enumerate(sizes[1:])]
    total = math.prod(before)
    if -1 in inner:
        at = inner.index(-1)
        inner[at] = total // math.prod(size for size in inner if size != -1)
    if math.prod(inner) != total:
        raise builder.unknown(operator, f"the shape {sizes} joins several images")
    return Value(builder.make(operator, layers.Reshape, tuple(inner))(tensor))


def _transpose(builder: OnnxBuilder, operator: Operator) -> Value | Constant:
    order = operator.options.get("perm")
    source = builder.constant(operator, 0)
    if source is not None:
        return source.transpose(order)
    if order is None or order[0] != 0:
        raise builder.unknown(operator, "it moves the axis of the images")
    value = builder.value(operator)
    if value.is_last and tuple(order) == (0, 2, 3, 1):
        return Value(value.tensor)
    if len(order) == 4 and tuple(order) == (0, 3, 1, 2) and not value.is_last:
        return Value(value.tensor, is_last=True)
    layer = builder.make(operator, layers.Permute, tuple(order[1:]))
    return Value(layer(builder.first(operator.inputs[0])))


def _concat(builder: OnnxBuilder, operator: Operator) -> Value | Constant:
    axis = int(operator.options["axis"])
    constants = [builder.constant(operator, at) for at in range(len(operator.inputs))]
    arrays = [each for each in constants if each is not None]
    if len(arrays) == len(constants):
        return np.concatenate(arrays, axis)
    values = [builder.value(operator, at) for at in range(len(operator.inputs))]
    if all(len(each.tensor.shape) == 4 for each in values) and axis in (1, -3):
        tensors = [builder.last(operator, at) for at in range(len(values))]
        return Value(builder.make(operator, layers.Concatenate)(tensors), is_last=True)
    tensors = [builder.first(name) for name in operator.inputs]
    return Value(builder.make(operator, layers.Concatenate, axis=axis)(tensors))


def _unsqueeze(builder: OnnxBuilder, operator: Operator) -> Value | Constant:
    axes = operator.options.get("axes", builder.constant(operator, 1))
    source = builder.constant(operator, 0)
    if axes is None:
        raise builder.unknown(operator, "its axes are computed")
    if source is not None:
        return np.expand_dims(source, tuple(int(axis) for axis in axes))
    tensor = builder.first(operator.inputs[0])
    sizes = list(tensor.shape)
    for axis in sorted(int(each) for each in axes):
        sizes.insert(axis if axis >= 0 else len(sizes) + 1 + axis, 1)
    return Value(builder.make(operator, layers.Reshape, tuple(sizes[1:]))(tensor))


def _squeeze(builder: OnnxBuilder, operator: Operator) -> Value | Constant:
    axes = operator.options.get("axes", builder.constant(operator, 1))
    source = builder.constant(operator, 0)
    if source is not None:
        return np.squeeze(source, None if axes is None else tuple(int(axis) for axis in axes))
    tensor = builder.first(operator.inputs[0])
    gone = {int(axis) % len(tensor.shape) for axis in axes} if axes is not None else None
    sizes = [
        size
        for at, size in enumerate(tensor.shape)
        if at == 0 or (at not in gone if gone is not None else size != 1)
    ]
    return Value(builder.make(operator, layers.Reshape, tuple(sizes[1:]))(tensor))


def _shape(builder: OnnxBuilder, operator: Operator) -> Constant:
    tensor = builder.first(operator.inputs[0])
    return np.array([-1, *tensor.shape[1:]], np.int64)


def _gather(builder: OnnxBuilder, operator: Operator) -> Constant:
    source, indices = builder.constant(operator, 0), builder.constant(operator, 1)
    if source is None or indices is None:
        raise builder.unknown(operator, "only constants can be gathered")
    return np.take(source, indices.astype(np.int64), axis=int(operator.options.get("axis", 0)))


def _constant(builder: OnnxBuilder, operator: Operator) -> Constant:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if name in operator.options:
            return np.asarray(operator.options[name])
    raise builder.unknown(operator, "it holds no numbers")


def _softmax(kind: str) -> Handler:
    def run(builder: OnnxBuilder, operator: Operator) -> Value:
        value = builder.value(operator)
        rank = len(value.tensor.shape)
        if rank != 2 or int(operator.options.get("axis", -1)) not in (1, -1):
            raise builder.unknown(operator, "only a softmax over the classes is known")
        return builder.apply(operator, layers.Activation, kind)

    return run


def _activation(kind: str) -> Handler:
    return lambda builder, operator: builder.apply(operator, layers.Activation, kind)


def _leaky(builder: OnnxBuilder, operator: Operator) -> Value:
    slope = float(operator.options.get("alpha", 0.01))
    return builder.apply(operator, layers.LeakyReLU, negative_slope=slope)


def _elu(builder: OnnxBuilder, operator: Operator) -> Value:
    return builder.apply(operator, layers.ELU, alpha=float(operator.options.get("alpha", 1.0)))


def _clip(builder: OnnxBuilder, operator: Operator) -> Value:
    low = operator.options.get("min", builder.constant(operator, 1))
    high = operator.options.get("max", builder.constant(operator, 2))
    if low is None or float(np.asarray(low).flat[0]) != 0:
        raise builder.unknown(operator, "only a lower bound of 0 is known")
    bound = None if high is None else float(np.asarray(high).flat[0])
    return builder.apply(operator, layers.ReLU, max_value=bound)


def _cast(builder: OnnxBuilder, operator: Operator) -> Value | Constant:
    source = builder.constant(operator, 0)
    return builder.value(operator) if source is None else source


def _same(builder: OnnxBuilder, operator: Operator) -> Value:
    return builder.apply(operator, layers.Identity)


def _dropout(builder: OnnxBuilder, operator: Operator) -> Value:
    return builder.apply(operator, layers.Dropout, 0.5)


def _one(number: Constant) -> Constant:
    return np.ones(1, np.float32)


def _none(number: Constant) -> Constant:
    return np.zeros(1, np.float32)


def _gelu(builder: OnnxBuilder, operator: Operator) -> Value:
    if operator.options.get("approximate", "none") != "none":
        raise builder.unknown(operator, "only the exact GELU is known")
    return builder.apply(operator, layers.Activation, "gelu")


OPERATORS: dict[str, Handler] = {
    "Add": _arithmetic(layers.Add, _one, lambda number: number),
    "AveragePool": _pooling(layers.AveragePooling2D, average=True),
    "BatchNormalization": _normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "Conv": _convolution,
    "Div": _arithmetic(layers.Multiply, lambda number: 1 / number, _none),
    "Dropout": _dropout,
    "Elu": _elu,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _global(layers.GlobalAveragePooling2D),
    "GlobalMaxPool": _global(layers.GlobalMaxPooling2D),
    "HardSwish": _activation("hard_silu"),
    "Identity": _same,
    "LeakyRelu": _leaky,
    "LogSoftmax": _softmax("log_softmax"),
    "MatMul": _matmul,
    "MaxPool": _pooling(layers.MaxPooling2D, average=False),
    "Mul": _arithmetic(layers.Multiply, lambda number: number, _none),
    "ReduceMean": _mean,
    "Relu": _activation("relu"),
    "Reshape": _reshape,
    "Selu": _activation("selu"),
    "Shape": _shape,
    "Sigmoid": _activation("sigmoid"),
    "Softmax": _softmax("softmax"),
    "Softplus": _activation("softplus"),
    "Squeeze": _squeeze,
    "Sub": _arithmetic(layers.Subtract, _one, lambda number: -number),
    "Tanh": _activation("tanh"),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
