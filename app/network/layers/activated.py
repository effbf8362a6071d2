"""A layer with softmax as its activation function, which is no function of single values.

Other activation functions belong to the layers themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.network.equation import Equation, UnitInputs
from app.network.functions import Array
from app.network.geometry import Footprint
from app.network.layers.softmax import Softmax
from app.network.operation import Operation, Shapes


@dataclass(frozen=True)
class SoftmaxActivated(Operation):
    """A weighted sum, and then softmax over the channels.

    Attributes:
        linear: The layer without activation function.
    """

    linear: Operation

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's output."""
        return _SOFTMAX.forward([self.linear.forward(inputs)])

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        sums = self.linear.forward(inputs)
        (grad,) = _SOFTMAX.backward([sums], output, grad)
        return self.linear.backward(inputs, sums, grad)

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the change of the shares for that of the sums."""
        sums = self.linear.forward(inputs)
        return _SOFTMAX.tangent([sums], output, [self.linear.tangent(inputs, sums, changes)])

    def weight_gradients(
        self, inputs: Sequence[Array], output: Array, grad: Array
    ) -> dict[str, Array]:
        """Return the gradients of the weighted sum's weights."""
        sums = self.linear.forward(inputs)
        (grad,) = _SOFTMAX.backward([sums], output, grad)
        return self.linear.weight_gradients(inputs, sums, grad)

    def weight_tangent(
        self, inputs: Sequence[Array], output: Array, name: str, change: Array
    ) -> Array:
        """Return the change of the shares for that of the sums."""
        sums = self.linear.forward(inputs)
        moved = self.linear.weight_tangent(inputs, sums, name, change)
        return _SOFTMAX.tangent([sums], output, [moved])

    @property
    def fixed_weights(self) -> frozenset[str]:
        """Return those of the weighted sum."""
        return self.linear.fixed_weights

    @property
    def formula(self) -> str:
        """Return the share, and the sum that enters it."""
        return f"{_SOFTMAX.formula}, where x is {self.linear.formula}"

    def sentence(self, shapes: Shapes) -> str:
        """Return what both steps do."""
        return f"{self.linear.sentence(shapes)} {_SOFTMAX.sentence(shapes)}"

    def equation(self, at: UnitInputs) -> Equation:
        """Return the share of the unit's exponential, and the sum that enters it."""
        sums = self.linear.forward([at.x[None]])[0]
        share = _SOFTMAX.equation(UnitInputs((sums,), at.unit, at.shape))
        inner = self.linear.equation(at)
        operands = {**inner.operands, "exponentials": share.operands["exponentials"]}
        return replace(
            inner,
            text=f"{share.text}; {inner.text}",
            operands=operands,
            value=share.value,
            pre_activation=inner.value,
        )

    def multiply_adds(self, shapes: Shapes) -> int:
        """Count those of the weighted sum."""
        return self.linear.multiply_adds(shapes)

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return that of the weighted sum, which reads all channels."""
        return self.linear.footprint(shapes)

    @property
    def keeps_channels(self) -> bool:
        """Return False: every share depends on all channels."""
        return False

    @property
    def changes_values(self) -> bool:
        """Return True."""
        return True

    @property
    def is_convolution(self) -> bool:
        """Tell whether the weighted sum is one."""
        return self.linear.is_convolution

    @property
    def activation_name(self) -> str:
        """Return `softmax`."""
        return "softmax"

    def shuffled(self, rng: np.random.Generator) -> "SoftmaxActivated":
        """Return the layer with the numbers of its kernel in random order."""
        return replace(self, linear=self.linear.shuffled(rng))


_SOFTMAX = Softmax()
