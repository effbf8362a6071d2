"""Operators that stand in a network like layers: `x / 255`, `x + y`, a function of `keras.ops`.

An operator with two inputs is the layer of the same name; one with a number is a scaling.
"""

from collections.abc import Callable

import numpy as np

from app.network.functions import FUNCTIONS
from app.network.layers import merge
from app.network.layers.affine import Rescaling
from app.network.layers.elementwise import Activation
from app.network.operation import (
    LayerKind,
    Operation,
    SavedLayer,
    Unsupported,
    no_weights,
    unsupported,
)

# By operator: factor and addend of the input, from the number, if the input comes first or second.
_Scaling = Callable[[float], tuple[float, float]]
_SCALINGS: dict[str, tuple[_Scaling, _Scaling | None]] = {
    "Add": (lambda n: (1, n), lambda n: (1, n)),
    "Subtract": (lambda n: (1, -n), lambda n: (-1, n)),
    "Multiply": (lambda n: (n, 0), lambda n: (n, 0)),
    "Divide": (lambda n: (1 / n, 0), None),
    "TrueDivide": (lambda n: (1 / n, 0), None),
}
# Names of functions in `keras.ops`, where they differ from those of layers.
_FUNCTIONS = {"Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Tanh": "tanh"}
_FUNCTIONS |= {"Silu": "silu", "Softplus": "softplus", "Exp": "exponential"}


def _arithmetic(name: str) -> LayerKind:
    def build(saved: SavedLayer) -> Operation | Unsupported:
        if len(saved.shapes.inputs) > 1 and name in merge.KINDS:
            return merge.KINDS[name].build(saved)
        operands = saved.operands or ()
        numbers = [at for at, part in enumerate(operands) if isinstance(part, int | float)]
        if len(operands) == 2 and len(numbers) == 1 and name in _SCALINGS:
            scaling = _SCALINGS[name][0 if numbers[0] == 1 else 1]
            value = float(operands[numbers[0]])
            if scaling is not None and (value or "Divide" not in name):
                factor, addend = scaling(value)
                return Rescaling(np.array([factor], np.float32), np.array([addend], np.float32))
        return unsupported("its operands are not two inputs, or an input and a number", saved)

    return LayerKind(build, no_weights)


def _function(name: str) -> LayerKind:
    def build(saved: SavedLayer) -> Operation | Unsupported:
        if len(saved.operands or ()) > 1:
            return unsupported("it is called with options", saved)
        return Activation(FUNCTIONS[name])

    return LayerKind(build, no_weights)


KINDS = {
    **{name: _arithmetic(name) for name in (*_SCALINGS, "Maximum", "Minimum")},
    **{name: _function(function) for name, function in _FUNCTIONS.items()},
}
