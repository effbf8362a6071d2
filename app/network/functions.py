"""Activation functions with their derivatives, as Keras computes them.

Functions of single values are `Function`s; softmax is a plain function. Knows arrays; knows nothing
of layers.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
MIN_PROBABILITY = 1e-30  # smaller probabilities are raised to this before a logarithm is taken


@dataclass(frozen=True)
class Bounds:
    """The ends between which a bounded function's values lie.

    Attributes:
        low: Smallest value.
        high: Largest value.
        saturates_low: Whether a value near `low` means saturation. For a capped ReLU it does not:
            0 is its normal value for negative inputs.
    """

    low: float
    high: float
    saturates_low: bool = True


@dataclass(frozen=True)
class Function:
    """An elementwise function.

    Attributes:
        name: Its name in Keras.
        formula: What it computes from `x`.
        value: Maps `x` to `y`.
        slope: Maps `x` and `y` to dy/dx; as in TensorFlow, 0 where there is no derivative.
        bounds: The ends at which its values saturate; None for an unbounded function.
        slope_needs_input: Whether `slope` needs `x`; if not, `slope(y, y)` is the same.
    """

    name: str
    formula: str
    value: Callable[[Array], Array]
    slope: Callable[[Array, Array], Array]
    bounds: Bounds | None = None
    slope_needs_input: bool = True


def _sigmoid(x: Array) -> Array:
    power = np.exp(-np.abs(x))  # at most 1, so that nothing overflows
    return np.where(x >= 0, 1 / (1 + power), power / (1 + power))


def _softplus(x: Array) -> Array:
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


def _erf(x: Array) -> Array:
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), x.dtype)


def _clip_slope(low: float, high: float, slope: float = 1.0) -> Callable[[Array, Array], Array]:
    return lambda x, y: np.where((x > low) & (x < high), x.dtype.type(slope), x.dtype.type(0))


def _normal(x: Array) -> Array:
    return np.asarray(np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi))


def _gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def relu(
    max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0
) -> Function:
    """Return the rectified linear unit with the three options of Keras's `ReLU`."""
    if max_value is None and not negative_slope and not threshold:
        return Function(
            "relu",
            "max(0, x)",
            lambda x: np.asarray(np.maximum(x, 0)),
            lambda x, y: (x > 0).astype(x.dtype),
            slope_needs_input=False,
        )
    top = math.inf if max_value is None else float(max_value)
    text = f"x if x >= {threshold:g} else {negative_slope:g} (x - {threshold:g})"
    text += "" if max_value is None else f", at most {max_value:g}"

    def value(x: Array) -> Array:
        kept = np.where(x >= threshold, x, negative_slope * (x - threshold))
        return np.asarray(np.minimum(kept, top), x.dtype)

    def slope(x: Array, y: Array) -> Array:
        kept = np.where(x > threshold, 1.0, negative_slope)
        return np.where(x >= top, 0.0, kept).astype(x.dtype)

    bounds = None if max_value is None else Bounds(0.0, top, saturates_low=False)
    moved = bool(threshold) or negative_slope < 0
    return Function("relu", text, value, slope, bounds, slope_needs_input=moved)


def elu(alpha: float = 1.0) -> Function:
    """Return the exponential linear unit (Clevert et al., 2016)."""
    return Function(
        "elu",
        f"x if x > 0 else {alpha:g} (exp(x) - 1)",
        lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))).astype(x.dtype),
        lambda x, y: np.where(x > 0, 1.0, y + alpha).astype(x.dtype),
        slope_needs_input=alpha < 0,
    )


LINEAR = Function("linear", "x", lambda x: x, lambda x, y: np.ones_like(x))

FUNCTIONS = {
    "linear": LINEAR,
    "relu": relu(),
    "relu6": relu(max_value=6.0),
    "leaky_relu": relu(negative_slope=0.2),
    "elu": elu(),
    "selu": Function(
        "selu",
        "1.0507 (x if x > 0 else 1.6733 (exp(x) - 1))",
        lambda x: np.asarray(_SELU_SCALE * elu(_SELU_ALPHA).value(x), x.dtype),
        lambda x, y: np.where(x > 0, _SELU_SCALE, y + _SELU_SCALE * _SELU_ALPHA).astype(x.dtype),
    ),
    "tanh": Function(
        "tanh",
        "tanh(x)",
        lambda x: np.asarray(np.tanh(x)),
        lambda x, y: 1 - y * y,
        Bounds(-1.0, 1.0),
        slope_needs_input=False,
    ),
    "sigmoid": Function(
        "sigmoid",
        "1 / (1 + exp(-x))",
        _sigmoid,
        lambda x, y: y * (1 - y),
        Bounds(0.0, 1.0),
        slope_needs_input=False,
    ),
    "hard_sigmoid": Function(
        "hard_sigmoid",
        "clip(x / 6 + 1/2, 0, 1)",
        lambda x: np.asarray(np.clip(x / 6 + 0.5, 0, 1)),
        _clip_slope(-3, 3, 1 / 6),
        Bounds(0.0, 1.0),
    ),
    "hard_silu": Function(
        "hard_silu",
        "x clip(x / 6 + 1/2, 0, 1)",
        lambda x: np.asarray(x * np.clip(x / 6 + 0.5, 0, 1)),
        lambda x, y: np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5)).astype(x.dtype),
    ),
    "silu": Function(
        "silu",
        "x / (1 + exp(-x))",
        lambda x: np.asarray(x * _sigmoid(x)),
        lambda x, y: np.asarray(_sigmoid(x) * (1 + x * (1 - _sigmoid(x)))),
    ),
    "softplus": Function("softplus", "log(1 + exp(x))", _softplus, lambda x, y: _sigmoid(x)),
    "softsign": Function(
        "softsign",
        "x / (1 + |x|)",
        lambda x: np.asarray(x / (1 + np.abs(x))),
        lambda x, y: np.asarray((1 + np.abs(x)) ** -2),
        Bounds(-1.0, 1.0),
    ),
    "gelu": Function(
        "gelu",
        "x (1 + erf(x / sqrt(2))) / 2",
        _gelu,
        lambda x, y: np.asarray(0.5 * (1 + _erf(x / math.sqrt(2))) + x * _normal(x)),
    ),
    "mish": Function(
        "mish",
        "x tanh(log(1 + exp(x)))",
        lambda x: np.asarray(x * np.tanh(_softplus(x))),
        lambda x, y: np.asarray(
            np.tanh(_softplus(x)) + x * (1 - np.tanh(_softplus(x)) ** 2) * _sigmoid(x)
        ),
    ),
    "exponential": Function(
        "exponential", "exp(x)", lambda x: np.asarray(np.exp(x)), lambda x, y: y
    ),
}
FUNCTIONS |= {
    "hard_tanh": Function(
        "hard_tanh",
        "clip(x, -1, 1)",
        lambda x: np.asarray(np.clip(x, -1, 1)),
        _clip_slope(-1, 1),
        Bounds(-1.0, 1.0),
    ),
    "log_sigmoid": Function(
        "log_sigmoid", "-log(1 + exp(-x))", lambda x: -_softplus(-x), lambda x, y: _sigmoid(-x)
    ),
    "celu": Function("celu", elu().formula, elu().value, elu().slope),
    "tanh_shrink": Function(
        "tanh_shrink",
        "x - tanh(x)",
        lambda x: np.asarray(x - np.tanh(x)),
        lambda x, y: np.asarray(np.tanh(x) ** 2),
    ),
    "soft_shrink": Function(
        "soft_shrink",
        "x - 1/2 if x > 1/2, x + 1/2 if x < -1/2, else 0",
        lambda x: np.asarray(np.sign(x) * np.maximum(np.abs(x) - 0.5, 0), x.dtype),
        lambda x, y: (np.abs(x) > 0.5).astype(x.dtype),
    ),
    "hard_shrink": Function(
        "hard_shrink",
        "x if |x| > 1/2, else 0",
        lambda x: np.where(np.abs(x) > 0.5, x, x.dtype.type(0)),
        lambda x, y: (np.abs(x) > 0.5).astype(x.dtype),
    ),
    "squareplus": Function(
        "squareplus",
        "(x + sqrt(x^2 + 4)) / 2",
        lambda x: np.asarray((x + np.sqrt(x * x + 4)) / 2),
        lambda x, y: np.asarray((1 + x / np.sqrt(x * x + 4)) / 2),
    ),
}
FUNCTIONS["swish"], FUNCTIONS["hard_swish"] = FUNCTIONS["silu"], FUNCTIONS["hard_silu"]


def find_function(activation: object) -> Function | None:
    """Return the function of a layer's `activation` option; None for softmax or an unknown one."""
    if activation is None:
        return LINEAR
    if isinstance(activation, Mapping):  # Keras writes custom functions as a dictionary
        activation = activation.get("config", activation.get("class_name"))
    return FUNCTIONS.get(activation) if isinstance(activation, str) else None


def summed_to(values: Array, shape: tuple[int, ...]) -> Array:
    """Return an array summed over the axes along which an array of `shape` would be repeated."""
    values = values.sum(axis=tuple(range(values.ndim - len(shape))))
    repeated = tuple(axis for axis, size in enumerate(shape) if size != values.shape[axis])
    return np.asarray(values.sum(axis=repeated, keepdims=True) if repeated else values)


def softmax(x: Array, axis: int = -1) -> Array:
    """Return `exp(x) / sum(exp(x))` along an axis, without overflow."""
    raised = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(raised / raised.sum(axis=axis, keepdims=True))


def log_probabilities(probabilities: Array) -> Array:
    """Return the logarithms of probabilities, each at least `MIN_PROBABILITY`."""
    return np.asarray(np.log(np.maximum(probabilities, MIN_PROBABILITY)))
