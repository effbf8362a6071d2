"""What a layer kind must know about itself.

A kind is one subclass of `Operation` and one `LayerKind`, which makes it from a saved layer. All
facts that the service shows about a layer come from these two, so a kind that lacks one cannot be
instantiated, and mypy refuses it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.network.equation import Equation, UnitInputs
from app.network.functions import LINEAR, Array, Function
from app.network.geometry import Footprint, Shape

Config = Mapping[str, Any]
Weights = Mapping[str, Array]


@dataclass(frozen=True)
class Shapes:
    """Shapes of a layer's inputs and output, without the batch."""

    inputs: tuple[Shape, ...]
    output: Shape

    @property
    def input(self) -> Shape:
        """Return the shape of the first input."""
        return self.inputs[0]

    @property
    def channels(self) -> int:
        """Return the size of the output's last axis."""
        return self.output[-1]

    @property
    def spatial(self) -> bool:
        """Tell whether the output is `[height, width, channels]`."""
        return len(self.output) == 3


class Operation(ABC):
    """A layer's computation at inference, and what the service says about it.

    Operations hold their weights and never change, so that several threads can share one.
    """

    @abstractmethod
    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the output `[N, ...]` for inputs `[N, ...]`."""

    @abstractmethod
    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of each input.

        Args:
            inputs: The layer's inputs, `[N, ...]`.
            output: What `forward` returned for them.
            grad: Gradient of the output, of the same shape.
        """

    @property
    @abstractmethod
    def formula(self) -> str:
        """Return what the layer computes for one unit `y` from its input `x`."""

    @abstractmethod
    def sentence(self, shapes: Shapes) -> str:
        """Return what the layer does, in plain words."""

    @abstractmethod
    def equation(self, at: UnitInputs) -> Equation:
        """Return the equation of one unit with its numbers."""

    @abstractmethod
    def multiply_adds(self, shapes: Shapes) -> int:
        """Count the multiplications of weights for one image; 0 for a layer without products."""

    @abstractmethod
    def footprint(self, shapes: Shapes) -> Footprint:
        """Return which units of each input one unit of the output reads."""

    @property
    @abstractmethod
    def keeps_channels(self) -> bool:
        """Tell whether output channel c depends on channel c of the only input and no other."""

    @property
    @abstractmethod
    def changes_values(self) -> bool:
        """Tell whether values change; False if each is copied from the input, or a padding zero."""

    @property
    def active_at_inference(self) -> bool:
        """Tell whether the layer does anything outside training."""
        return True

    @property
    def is_convolution(self) -> bool:
        """Tell whether the layer slides learned kernels over the image."""
        return False

    @property
    def activation(self) -> Function | None:
        """Return the elementwise function that makes the output; None without one."""
        return None

    @property
    def activation_name(self) -> str | None:
        """Return the Keras name of the activation function; None without one."""
        function = self.activation
        return None if function is None or function is LINEAR else function.name

    def shuffled(self, rng: np.random.Generator) -> "Operation":
        """Return the operation with the numbers of its kernel in random order."""
        return self


@dataclass(frozen=True)
class SavedLayer:
    """A layer as its `.keras` file describes it.

    Attributes:
        config: Configuration, as Keras wrote it.
        weights: Weights by name, float32.
        shapes: Shapes of its inputs and output.
    """

    config: Config
    weights: Weights
    shapes: Shapes


@dataclass(frozen=True)
class LayerKind:
    """How a Keras class becomes an operation.

    Attributes:
        build: Makes the operation; returns None for options that are not supported.
        weight_names: From the configuration, the names of the weights in the order in which Keras
            stores them.
    """

    build: Callable[[SavedLayer], Operation | None]
    weight_names: Callable[[Config], tuple[str, ...]]


def no_weights(config: Config) -> tuple[str, ...]:
    """Return the weight names of a layer without weights."""
    return ()
