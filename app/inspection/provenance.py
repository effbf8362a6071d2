"""Where one number of a network comes from: the equation that made it, with its real operands.

The operands are what the compiled twin gave for the layers before; the equation is worked out anew
in float64 from them and the weights of the Keras file, and held against what the twin gave for the
unit itself. Knows one layer's arithmetic at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.boxes import Box
from app.errors import InvalidInputError, NotFoundError
from app.inspection.activations import InspectedImage
from app.inspection.describe import formula
from app.inspection.receptive_field import on_upload, trace
from app.network.functions import LINEAR, Array
from app.network.graph import IMAGE
from app.network.network import Layer, Network, operation_of
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
)

Unit = tuple[int, ...]  # (y, x, channel), or (channel,) in a layer without places
Wide = NDArray[np.float64]
SHOWN = 12  # terms that an equation in words spells out


@dataclass(frozen=True)
class Equation:
    """How a unit's value came to be.

    Attributes:
        text: The equation with its numbers; long sums name their largest terms.
        operands: Every number that entered, by name: arrays and numbers.
        value: The outcome, worked out in float64.
        channel_sums: What each input channel adds to a weighted sum, or None.
        bias: What the bias adds, or None.
        before: What entered the activation, where the layer has one, or None.
    """

    text: str
    operands: Mapping[str, Any]
    value: float
    channel_sums: Wide | None = None
    bias: float | None = None
    before: float | None = None


@dataclass(frozen=True)
class Place:
    """The part of a layer's output that a unit depends on."""

    layer: Layer
    box: Box[int]


@dataclass(frozen=True)
class Provenance:
    """One unit, traced.

    Attributes:
        layer: Its layer.
        unit: Its index.
        formula: What the layer computes.
        equation: The same with this unit's numbers.
        observed: What the compiled twin gave.
        places: What it depends on, layer by layer, back to the first.
        image: The box of the 28x28 that it sees, or None if it lies in the padding.
        upload: Where that lies on the upload.
    """

    layer: Layer
    unit: Unit
    formula: str
    equation: Equation
    observed: float
    places: list[Place] = field(default_factory=list)
    image: Box[int] | None = None
    upload: Box[float] | None = None

    @property
    def abs_error(self) -> float:
        """Return how far the equation's value is from what was observed."""
        return abs(self.equation.value - self.observed)


def explain_unit(inspected: InspectedImage, layer: Layer, unit: Unit) -> Provenance:
    """Trace one unit.

    Args:
        inspected: What every layer holds.
        layer: The unit's layer.
        unit: Its index, see `find_unit`.

    Raises:
        UnsupportedLayerError: The layer's arithmetic is not known.
    """
    network = inspected.model.network
    inputs = [_input(inspected, network, at) for at in layer.inputs]
    boxes = trace(network, layer, unit)
    image = boxes.pop(IMAGE, None)
    placement = inspected.prediction.prepared.placement
    return Provenance(
        layer=layer,
        unit=unit,
        formula=formula(layer),
        equation=_equation(layer, operation_of(layer), inputs, unit, _flattened(network, layer)),
        observed=float(inspected.of(layer)[unit]),
        places=[Place(network.layers[at], boxes[at]) for at in sorted(boxes, reverse=True)],
        image=image,
        upload=on_upload(image, placement) if image else None,
    )


def find_unit(
    inspected: InspectedImage, layer: Layer, channel: int | None, y: int | None, x: int | None
) -> Unit:
    """Return the unit that is asked for; what is left out is chosen as the strongest.

    Raises:
        InvalidInputError: Only one of `y` and `x` is given, or either for a layer without places.
        NotFoundError: The layer has no such unit.
    """
    shape = layer.shape
    if len(shape) not in (1, 3):
        raise InvalidInputError(
            f"The layer {layer.name!r} has the shape {list(shape)}; units are addressed in layers"
            " of 1 and 3 dimensions."
        )
    if (y is None) != (x is None):
        raise InvalidInputError("Give both y and x, or neither for the strongest place.")
    if len(shape) == 1 and y is not None:
        raise InvalidInputError(
            f"The layer {layer.name!r} has no places: its {shape[0]} units are addressed by"
            " 'channel' alone."
        )
    names = ("y", "x", "channel") if len(shape) == 3 else ("channel",)
    wanted = (y, x, channel) if len(shape) == 3 else (channel,)
    for at, size in zip(wanted, shape, strict=True):
        if at is not None and not 0 <= at < size:
            raise NotFoundError(
                f"The layer {layer.name!r} has no such unit.",
                valid=[f"{name} 0..{size - 1}" for name, size in zip(names, shape, strict=True)],
            )
    chosen = tuple(slice(None) if at is None else slice(at, at + 1) for at in wanted)
    values = inspected.of(layer)[chosen]
    best = np.unravel_index(int(values.argmax()), values.shape)
    return tuple(int(found) if at is None else at for at, found in zip(wanted, best, strict=True))


def _input(inspected: InspectedImage, network: Network, at: int) -> Array:
    return inspected.image if at == IMAGE else inspected.of(network.layers[at])


def _flattened(network: Network, layer: Layer) -> tuple[int, ...] | None:
    """Return the shape `[H, W, C]` that a layer's input was before it was flattened, if it was."""
    at = layer.inputs[0]
    while at != IMAGE and isinstance(network.layers[at].operation, Identity):
        at = network.layers[at].inputs[0]
    if at == IMAGE or not isinstance(network.layers[at].operation, Reshape):
        return None
    shape = network.layers[at].input_shapes[0]
    return shape if len(shape) == 3 else None


def _equation(
    layer: Layer,
    operation: Operation,
    inputs: Sequence[Array],
    unit: Unit,
    source: tuple[int, ...] | None,
) -> Equation:
    x = inputs[0].astype(np.float64)
    match operation:
        case Convolution():
            return _convolution(operation, x, unit)
        case Dense():
            return _dense(operation, x, unit, source)
        case Affine():
            return _affine(layer, operation, float(x[unit]), unit)
        case Pooling():
            return _pooling(operation, x, unit)
        case GlobalPooling():
            return _global_pooling(operation, x[..., unit[-1]])
        case Pad():
            return _pad(operation, x, unit)
        case Elementwise():
            value = float(operation.forward([inputs[0][None].astype(np.float64)])[0][unit])
            shown = operation.function.formula
            text = f"{_n(value)} = f({_n(x[unit])}), f(x) = {shown}"
            return Equation(text, {"x": float(x[unit])}, value)
        case Softmax():
            return _softmax(x, unit)
        case Merge():
            return _merge(operation, [part.astype(np.float64) for part in inputs], unit)
        case Reshape():
            return _reshape(x, operation.shape, unit)
        case Identity():
            value = float(x[unit])
            return Equation(f"{_n(value)} = {_n(value)}, handed on", {"x": value}, value)
    raise AssertionError(f"no equation for {operation}")


def _convolution(operation: Convolution, x: Wide, unit: Unit) -> Equation:
    y, across, channel = unit
    depth = operation.kernel.shape[2]
    group = channel // (operation.kernel.shape[3] // operation.groups)
    kernel = operation.kernel[..., channel].astype(np.float64)  # (kh, kw, depth)
    patch = np.zeros_like(kernel)
    for i, j, row, column in operation.window.inside(x.shape, y, across):
        patch[i, j] = x[row, column, group * depth : (group + 1) * depth]
    products = patch * kernel
    sums = products.sum(axis=(0, 1))
    bias = None if operation.bias is None else float(operation.bias[channel])
    top, left = operation.window.corner(x.shape, y, across)
    operands = {
        "patch": patch,
        "kernel": kernel,
        "products": products,
        "corner": [top, left],
        "input_channels": [group * depth, (group + 1) * depth - 1],
    }
    if products.size <= SHOWN:
        terms = [f"{_p(a)} · {_p(k)}" for a, k in zip(patch.flat, kernel.flat, strict=True)]
        return _weighted(operation, operands, sums, sums, bias, " + ".join(terms))
    return _weighted(operation, operands, sums, sums, bias, _sum(sums, "channel"))


def _dense(operation: Dense, x: Wide, unit: Unit, source: tuple[int, ...] | None) -> Equation:
    row = x[unit[:-1]]
    weights = operation.kernel[:, unit[-1]].astype(np.float64)
    products = row * weights
    order = np.argsort(-np.abs(products), kind="stable")[:SHOWN]
    largest = [
        {
            "input": int(at),
            "x": float(row[at]),
            "weight": float(weights[at]),
            "product": float(products[at]),
        }
        for at in order
    ]
    operands = {"x": row, "weights": weights, "products": products, "largest": largest}
    bias = None if operation.bias is None else float(operation.bias[unit[-1]])
    sums = products.reshape(source).sum(axis=(0, 1)) if source and x.ndim == 1 else None
    return _weighted(operation, operands, products, sums, bias, _sum(products, "input"))


def _weighted(
    operation: Convolution | Dense,
    operands: Mapping[str, Any],
    parts: Wide,
    channel_sums: Wide | None,
    bias: float | None,
    terms: str,
) -> Equation:
    before = float(parts.sum()) + (bias or 0.0)
    value = float(operation.activation.value(np.array([before]))[0])
    text = f"{_n(before)} = {terms}" + ("" if bias is None else f" + {_p(bias)} (bias)")
    if operation.activation is not LINEAR:
        shown = operation.activation.formula
        text = f"{_n(value)} = f({_n(before)}), f(x) = {shown}; {text}"
    return Equation(text, operands, value, channel_sums, bias, before)


def _affine(layer: Layer, operation: Affine, x: float, unit: Unit) -> Equation:
    weights, channel = layer.weights, unit[-1]
    scale, shift = (
        float(part[channel if part.size > 1 else 0]) for part in (operation.scale, operation.shift)
    )
    operands: dict[str, Any] = {"x": x, "scale": scale, "shift": shift}
    if layer.kind == "BatchNormalization":
        used = {name: float(values[channel]) for name, values in weights.items()}
        used = {"gamma": 1.0, "beta": 0.0, **used, "epsilon": float(layer.config["epsilon"])}
        root = np.sqrt(used["moving_variance"] + used["epsilon"])
        value = float(used["gamma"] * (x - used["moving_mean"]) / root + used["beta"])
        text = (
            f"{_n(value)} = {_n(used['gamma'])} ({_n(x)} - {_p(used['moving_mean'])}) /"
            f" sqrt({_n(used['moving_variance'])} + {used['epsilon']:g}) + {_p(used['beta'])}"
        )
        return Equation(text, {**operands, **used}, value)
    if layer.kind == "Normalization" and not layer.config.get("invert"):
        known = weights if "mean" in weights else layer.config
        at = channel if operation.scale.size > 1 else 0
        mean, variance = (float(np.ravel(known[name])[at]) for name in ("mean", "variance"))
        value = (x - mean) / max(float(np.sqrt(variance)), 1e-7)
        text = f"{_n(value)} = ({_n(x)} - {_p(mean)}) / sqrt({_n(variance)})"
        return Equation(text, {**operands, "mean": mean, "variance": variance}, value)
    value = scale * x + shift
    return Equation(f"{_n(value)} = {_n(scale)} · {_p(x)} + {_p(shift)}", operands, value)


def _pooling(operation: Pooling, x: Wide, unit: Unit) -> Equation:
    y, across, channel = unit
    taps = operation.window.inside(x.shape, y, across)
    values = np.array([x[row, column, channel] for _, _, row, column in taps])
    places = [[row, column] for _, _, row, column in taps]
    listed = ", ".join(_n(value) for value in values[:SHOWN]) + (
        ", ..." if values.size > SHOWN else ""
    )
    operands: dict[str, Any] = {"values": values, "places": places}
    if operation.how == "average":
        value = float(values.mean())
        return Equation(f"{_n(value)} = mean({listed})", operands, value)
    value, winner = float(values.max()), places[int(values.argmax())]
    return Equation(f"{_n(value)} = max({listed})", {**operands, "winner": winner}, value)


def _global_pooling(operation: GlobalPooling, values: Wide) -> Equation:
    operands: dict[str, Any] = {"values": values}
    if operation.how == "average":
        value = float(values.mean())
        text = f"{_n(value)} = {_n(values.sum())} / {values.size}, the mean of {values.size} values"
        return Equation(text, operands, value)
    value = float(values.max())
    winner = [int(at) for at in np.unravel_index(int(values.argmax()), values.shape)]
    text = f"{_n(value)} = max of {values.size} values, at row {winner[0]}, column {winner[1]}"
    return Equation(text, {**operands, "winner": winner}, value)


def _pad(operation: Pad, x: Wide, unit: Unit) -> Equation:
    row, column = unit[0] - operation.rows[0], unit[1] - operation.columns[0]
    if 0 <= row < x.shape[0] and 0 <= column < x.shape[1]:
        value = float(x[row, column, unit[2]])
        text = f"{_n(value)} = {_n(value)}, from row {row}, column {column}"
        return Equation(text, {"x": value, "place": [row, column], "padding": False}, value)
    return Equation("0 = 0, padding", {"x": 0.0, "place": None, "padding": True}, 0.0)


def _softmax(x: Wide, unit: Unit) -> Equation:
    row = x[unit[:-1]]
    raised = np.exp(row - row.max())
    total = float(raised.sum())
    value = float(raised[unit[-1]] / total)
    text = f"{_n(value)} = exp({_n(row[unit[-1]])}) / (" + _listed(row, "exp({})") + ")"
    operands = {"x": row, "exponentials": raised, "subtracted": float(row.max()), "sum": total}
    return Equation(text, operands, value)


def _merge(operation: Merge, inputs: Sequence[Wide], unit: Unit) -> Equation:
    if operation.how == "concatenate":
        ends = np.cumsum([part.shape[-1] for part in inputs])
        which = int(np.searchsorted(ends, unit[-1], side="right"))
        channel = unit[-1] - (int(ends[which - 1]) if which else 0)
        value = float(inputs[which][(*unit[:-1], channel)])
        text = f"{_n(value)} = {_n(value)}, channel {channel} of input {which}"
        return Equation(text, {"x": value, "input": which, "channel": channel}, value)
    values = np.array([part[unit] for part in inputs])
    value = float(operation.forward([values[at : at + 1] for at in range(len(values))])[0])
    text = f"{_n(value)} = {operation.how} of {', '.join(_n(part) for part in values)}"
    return Equation(text, {"values": values}, value)


def _reshape(x: Wide, shape: tuple[int, ...], unit: Unit) -> Equation:
    flat = int(np.ravel_multi_index(unit, shape))
    source = [int(at) for at in np.unravel_index(flat, x.shape)]
    value = float(x.reshape(-1)[flat])
    text = f"{_n(value)} = {_n(value)}, from index {source} of the input"
    return Equation(text, {"x": value, "source": source}, value)


def _n(value: float) -> str:
    return f"{value:.6g}"


def _p(value: float) -> str:
    """Write a number that follows an operator: a negative one in brackets."""
    return f"({value:.6g})" if value < 0 else f"{value:.6g}"


def _sum(parts: Wide, what: str) -> str:
    if parts.size <= SHOWN:
        return " + ".join(f"{_p(part)}" for part in parts)
    order = np.argsort(-np.abs(parts), kind="stable")[:SHOWN]
    rest = float(parts.sum() - parts[order].sum())
    named = " + ".join(f"{_p(parts[at])} ({what} {at})" for at in order)
    return f"{named} + {_p(rest)} (the other {parts.size - SHOWN})"


def _listed(parts: Wide, form: str) -> str:
    shown = [form.format(_n(part)) for part in parts[:SHOWN]]
    return " + ".join(shown) + (" + ..." if parts.size > SHOWN else "")
