"""What the other kinds of layer compute, forwards and backwards, on batches of arrays.

An operation is made once, holds its weights, and is never changed; any number of threads may use
it at once. Convolutions and poolings are in `app.network.convolution`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from app.network.convolution import Convolution, GlobalPooling, Pooling, Window
from app.network.functions import LINEAR, Array, Function, softmax

__all__ = [
    "Affine",
    "Convolution",
    "Dense",
    "Elementwise",
    "GlobalPooling",
    "Identity",
    "Merge",
    "Operation",
    "Pad",
    "Pooling",
    "Reshape",
    "Softmax",
    "Window",
]


class Operation(Protocol):
    """One layer's arithmetic at inference."""

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the output `[N, ...]` for inputs `[N, ...]`."""
        ...

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of each input, given that of the output."""
        ...


@dataclass(frozen=True)
class Identity:
    """Hands its input on: Dropout and its kin do nothing at inference."""

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the input."""
        return inputs[0]

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient."""
        return [grad]


@dataclass(frozen=True)
class Affine:
    """`y = scale x + shift` with fixed numbers for each channel: normalisations at inference.

    Attributes:
        scale: `[C]` or `[1]`, along the last axis.
        shift: Likewise.
    """

    scale: Array
    shift: Array

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's output."""
        return np.asarray(inputs[0] * self.scale + self.shift)

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        return [np.asarray(grad * self.scale)]


@dataclass(frozen=True)
class Pad:
    """Zeros around each channel.

    Attributes:
        rows: How many before and after.
        columns: Likewise.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's output."""
        return np.pad(inputs[0], ((0, 0), self.rows, self.columns, (0, 0)))

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        height, width = inputs[0].shape[1:3]
        top, left = self.rows[0], self.columns[0]
        return [grad[:, top : top + height, left : left + width]]


@dataclass(frozen=True)
class Reshape:
    """The same values in another shape, row by row: Flatten and Reshape.

    Attributes:
        shape: Of the output, without the batch.
    """

    shape: tuple[int, ...]

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's output."""
        return inputs[0].reshape(len(inputs[0]), *self.shape)

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        return [grad.reshape(inputs[0].shape)]


@dataclass(frozen=True)
class Dense:
    """`y = f(x W + b)` along the last axis.

    Attributes:
        kernel: `[D_in, D_out]`.
        bias: `[D_out]`, or None.
        activation: An elementwise function, or `softmax`.
    """

    kernel: Array
    bias: Array | None
    activation: Function = LINEAR

    def linear(self, x: Array) -> Array:
        """Return what enters the activation."""
        out = x @ self.kernel
        return np.asarray(out if self.bias is None else out + self.bias)

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's output."""
        return self.activation.value(self.linear(inputs[0]))

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        if self.activation is not LINEAR:
            grad = grad * self.activation.slope(self.linear(inputs[0]), output)
        return [np.asarray(grad @ self.kernel.T)]


@dataclass(frozen=True)
class Elementwise:
    """An activation function as a layer of its own."""

    function: Function

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's output."""
        return self.function.value(inputs[0])

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        return [grad * self.function.slope(inputs[0], output)]


@dataclass(frozen=True)
class Softmax:
    """Each value's share of the sum of exponentials along the last axis."""

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's output."""
        return softmax(inputs[0])

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        inner = (grad * output).sum(axis=-1, keepdims=True)
        return [np.asarray(output * (grad - inner))]


@dataclass(frozen=True)
class Merge:
    """Several inputs of one shape put together; `concatenate` along the last axis."""

    how: Literal["add", "average", "multiply", "subtract", "maximum", "minimum", "concatenate"]

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's output."""
        if self.how == "concatenate":
            return np.concatenate(inputs, axis=-1)
        steps = {
            "add": np.add,
            "average": np.add,
            "multiply": np.multiply,
            "subtract": np.subtract,
            "maximum": np.maximum,
            "minimum": np.minimum,
        }
        out = inputs[0]
        for other in inputs[1:]:
            out = steps[self.how](out, other)
        return np.asarray(out / len(inputs)) if self.how == "average" else out

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of each input."""
        if self.how == "concatenate":
            cuts = np.cumsum([part.shape[-1] for part in inputs])[:-1]
            return list(np.split(grad, cuts, axis=-1))
        if self.how == "multiply":
            return [
                np.asarray(grad * np.prod([b for j, b in enumerate(inputs) if j != i], axis=0))
                for i in range(len(inputs))
            ]
        if self.how in ("maximum", "minimum"):
            free = np.ones(output.shape, bool)
            grads = []
            for part in inputs:
                won = free & (part == output)
                grads.append(np.where(won, grad, 0))
                free &= ~won
            return grads
        if self.how == "average":
            return [grad / len(inputs)] * len(inputs)
        return [grad, *[-grad if self.how == "subtract" else grad] * (len(inputs) - 1)]
