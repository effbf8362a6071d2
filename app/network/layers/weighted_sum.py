"""What dense layers and all convolutions share: products with weights, a bias and an activation."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from app.network.equation import Equation, UnitInputs, Wide, weighted_sum
from app.network.functions import LINEAR, Array, Function, summed_to
from app.network.operation import Config, Operation, SavedLayer, Unsupported, activation_of


@dataclass(frozen=True, kw_only=True)
class WeightedSum(Operation):
    """`y = f(z)`, where each `z` is a weighted sum of inputs, with a bias.

    Attributes:
        bias: `[C_out]`, or None.
        function: The activation function `f`.
    """

    bias: Array | None = None
    function: Function = LINEAR

    @abstractmethod
    def sums(self, x: Array) -> Array:
        """Return new weighted sums `[N, ..., C_out]` of an input `[N, ...]`, without the bias."""

    @abstractmethod
    def sums_backward(self, x: Array, grad: Array) -> Array:
        """Return the gradient of the input for the gradient of the sums."""

    @abstractmethod
    def kernel_gradients(self, x: Array, grad: Array) -> dict[str, Array]:
        """Return the gradient of each weight but the bias, for the gradient of the sums."""

    @abstractmethod
    def with_kernel(self, name: str, kernel: Array) -> "WeightedSum":
        """Return the layer with another kernel; its numbers have the order of those in the file."""

    @property
    @abstractmethod
    def sum_formula(self) -> tuple[str, str]:
        """Return the indices of a unit, and its weighted sum with the bias."""

    def linear(self, x: Array) -> Array:
        """Return the input of the activation function, `[N, ..., C_out]`."""
        out = self.sums(x)
        if self.bias is not None:
            out += self.bias
        return out

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's output."""
        return self.function.value(self.linear(inputs[0]))

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        return [self.sums_backward(inputs[0], self._sloped(inputs[0], output, grad))]

    def _sloped(self, x: Array, output: Array, values: Array) -> Array:
        """Return values in the output's shape, multiplied by the slope of the activation."""
        if self.function is LINEAR:
            return values
        before = self.linear(x) if self.function.slope_needs_input else output
        return np.asarray(values * self.function.slope(before, output))

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the weighted sums of the change, times the slope of the activation."""
        return self._sloped(inputs[0], output, self.sums(changes[0]))

    def weight_gradients(
        self, inputs: Sequence[Array], output: Array, grad: Array
    ) -> dict[str, Array]:
        """Return the gradients of the kernels and the bias."""
        grad = self._sloped(inputs[0], output, grad)
        found = self.kernel_gradients(inputs[0], grad)
        if self.bias is not None:
            found["bias"] = summed_to(grad, self.bias.shape)
        return found

    def weight_tangent(
        self, inputs: Sequence[Array], output: Array, name: str, change: Array
    ) -> Array:
        """Return the sums with the change in place of the weight: they are linear in each."""
        if name == "bias":
            sums = np.broadcast_to(change, output.shape)
        else:
            sums = self.with_kernel(name, change).sums(inputs[0])
        return self._sloped(inputs[0], output, sums)

    def scaled(self, scale: Array, shift: Array) -> "WeightedSum | None":
        """Return a layer whose sums are those of this one, scaled and shifted; None if unknown.

        Args:
            scale: `[C_out]` or `[1]`.
            shift: `[C_out]` or `[1]`.
        """
        return None

    def activated(self, function: Function) -> "WeightedSum":
        """Return the layer with an activation function."""
        return replace(self, function=function)

    def scaled_bias(self, scale: Array, shift: Array) -> Array:
        """Return the bias of `scaled`."""
        return shift if self.bias is None else np.asarray(self.bias * scale + shift)

    @property
    def formula(self) -> str:
        """Return the weighted sum, with the activation function if there is one."""
        unit, total = self.sum_formula
        if self.function is LINEAR:
            return f"y[{unit}] = {total}"
        return f"y = f(z), f(x) = {self.function.formula}, z = {total}"

    @property
    def slope_name(self) -> str:
        """Return the weight, and the slope of the activation function if there is one."""
        if self.function is LINEAR:
            return "the weight that multiplies it"
        return f"the weight that multiplies it, times the slope of {self.function.name}"

    @property
    def bias_term(self) -> str:
        """Return the bias as the end of a formula, or nothing."""
        return " + b[c]" if self.bias is not None else ""

    @property
    def bias_clause(self) -> str:
        """Return the bias as a part of a sentence, or nothing."""
        return ", adds a bias" if self.bias is not None else ""

    @property
    def activation_clause(self) -> str:
        """Return the activation as the end of a sentence, or nothing."""
        return "" if self.function is LINEAR else f", then applies {self.function.name}"

    def sum_equation(
        self,
        at: UnitInputs,
        operands: Mapping[str, Any],
        terms: Wide,
        text: str,
        channel_sums: Wide | None,
    ) -> Equation:
        """Return the equation of a unit, with the bias of its channel; see `weighted_sum`."""
        bias = None if self.bias is None else float(self.bias[at.channel])
        return weighted_sum(
            self.function, operands, terms, text, bias=bias, channel_sums=channel_sums
        )

    @property
    def keeps_channels(self) -> bool:
        """Return False: the weights mix channels."""
        return False

    @property
    def changes_values(self) -> bool:
        """Return True."""
        return True

    @property
    def activation(self) -> Function:
        """Return the activation function."""
        return self.function


def with_activation(
    build: Callable[[SavedLayer, Function], Operation | Unsupported],
) -> Callable[[SavedLayer], Operation | Unsupported]:
    """Return a builder that passes the activation function on, or says why it is not supported."""

    def built(saved: SavedLayer) -> Operation | Unsupported:
        function = activation_of(saved)
        return function if isinstance(function, Unsupported) else build(saved, function)

    return built


def kernel_and_bias(config: Config) -> tuple[str, ...]:
    """Return the names of the weights of a layer with one kernel."""
    return ("kernel", "bias") if config.get("use_bias") else ("kernel",)


def shuffled(kernel: Array, rng: np.random.Generator) -> Array:
    """Return a kernel with its numbers in random order."""
    return rng.permutation(kernel.reshape(-1)).reshape(kernel.shape)
