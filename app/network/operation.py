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

from app.errors import UnsupportedLayerError
from app.network.equation import Equation, UnitInputs
from app.network.functions import LINEAR, Array, Function, find_function
from app.network.geometry import Footprint, Shape, Unit

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

    def size_text(self) -> tuple[str, str]:
        """Return the positions of input and output in words: `28x28`, or `28` for rows alone."""
        before, after = ("x".join(map(str, shape[:-1])) for shape in (self.input, self.output))
        return before, after


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

    @abstractmethod
    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the derivative of the output along a change of the inputs: forward mode.

        It is the transpose of `backward`: `sum(tangent(changes) * grad)` equals the sum of
        `changes * backward(grad)`.

        Args:
            inputs: The layer's inputs, `[N, ...]`.
            output: What `forward` returned for them.
            changes: Direction of the change of each input, of its shape.
        """

    def weight_gradients(
        self, inputs: Sequence[Array], output: Array, grad: Array
    ) -> dict[str, Array]:
        """Return the gradient of each weight that training changes, summed over the batch.

        Args:
            inputs: The layer's inputs, `[N, ...]`.
            output: What `forward` returned for them.
            grad: Gradient of the output, of the same shape.

        Returns:
            By name, arrays whose numbers have the order of those in the file; their shape may
            differ. A weight that is neither here nor in `fixed_weights` has no known gradient
            (`app.network.weight_gradients`).
        """
        return {}

    def weight_tangent(
        self, inputs: Sequence[Array], output: Array, name: str, change: Array
    ) -> Array:
        """Return the derivative of the output along a change of one of its weights.

        Args:
            inputs: The layer's inputs, `[N, ...]`.
            output: What `forward` returned for them.
            name: A key of `weight_gradients`.
            change: Direction of the change; its numbers have the order of those in the file.

        Raises:
            UnsupportedLayerError: The derivative is not known.
        """
        raise UnsupportedLayerError(
            f"The service does not know how a {type(self).__name__} changes with its weight"
            f" {name!r}."
        )

    def weight_reads(self, shapes: Shapes, name: str, place: int, unit: Unit) -> Unit | None:
        """Return the unit of the first input that a weight multiplies for a unit of the output.

        Args:
            shapes: Shapes of the layer's inputs and output.
            name: A key of `weight_gradients`.
            place: Index of the weight among all numbers of its array, row by row.
            unit: A unit of the output that depends on the weight.

        Returns:
            The unit; None if the weight multiplies something else.
        """
        return None

    @property
    def slope_name(self) -> str:
        """Return what the derivative of one unit for one value of an input is, in words."""
        return "the slope of the layer there"

    @property
    def fixed_weights(self) -> frozenset[str]:
        """Return the names of weights that gradient descent leaves alone, as a stored mean."""
        return frozenset()

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
        """Count the multiplications for one image, except those inside functions and means."""

    @abstractmethod
    def footprint(self, shapes: Shapes) -> Footprint:
        """Return which units of each input one unit of the output reads."""

    def footprints(self, shapes: Shapes) -> tuple[Footprint, ...]:
        """Return the footprint on each input; layers that treat inputs differently override it."""
        return (self.footprint(shapes),) * len(shapes.inputs)

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
    def has_channel_kernels(self) -> bool:
        """Tell whether the layer is a convolution whose `kernel[..., c]` makes channel c."""
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
        operands: What an operator is called with, see `app.network.graph.Step`; None for a layer.
    """

    config: Config
    weights: Weights
    shapes: Shapes
    operands: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Unsupported:
    """Why the service cannot compute a layer, whose activations it shows nevertheless.

    Attributes:
        reason: A clause that follows the layer's name, such as `its padding is 'full'`.
        sentence: What the layer does, in plain words.
        multiply_adds: Multiplications of weights for one image, as far as they are known.
    """

    reason: str
    sentence: str
    multiply_adds: int = 0


ACTIVATIONS_ONLY = "activations only"  # the limits of a kind whose arithmetic is not known


@dataclass(frozen=True)
class LayerKind:
    """How a Keras class becomes an operation.

    Attributes:
        build: Makes the operation, or says why the options are not supported.
        weight_names: From the configuration, the names of the weights in the order in which Keras
            stores them. Weights of a layer inside the layer are named with its path, such as
            `cell/kernel`.
        limits: Which options are not supported, for the documentation; empty if all are.
    """

    build: Callable[[SavedLayer], Operation | Unsupported]
    weight_names: Callable[[Config], tuple[str, ...]]
    limits: str = ""


def matrices_by_row(saved: SavedLayer) -> int:
    """Count the multiplications of a layer that multiplies each row by all its matrices once."""
    sizes = (part.size for name, part in saved.weights.items() if not name.endswith("bias"))
    return saved.shapes.input[0] * sum(sizes)


def unsupported(reason: str, saved: SavedLayer) -> Unsupported:
    """Return why a layer of a known kind cannot be computed: because of one of its options."""
    before = " and ".join(" x ".join(map(str, shape)) for shape in saved.shapes.inputs)
    after = " x ".join(map(str, saved.shapes.output))
    return Unsupported(reason, f"Turns {before} values into {after}.")


def activation_of(saved: SavedLayer) -> Function | Unsupported:
    """Return a layer's activation function, or why it is not supported."""
    function = find_function(saved.config.get("activation"))
    if function is not None:
        return function
    name = saved.config.get("activation")
    name = name.get("class_name") if isinstance(name, Mapping) else name
    return unsupported(f"its activation is {name!r}", saved)


def no_weights(config: Config) -> tuple[str, ...]:
    """Return the weight names of a layer without weights."""
    return ()
