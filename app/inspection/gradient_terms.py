"""The products whose sum is a gradient, and the loss for another value of the same number.

A weight's gradient has one product for each unit that it helps to make; an activation's has one for
each unit that it feeds. Where the paths end, at the softmax, the gradient is probability minus
label.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.inspection.backpropagation import Backpropagation
from app.inspection.loss import cross_entropy
from app.network.functions import Array
from app.network.geometry import Unit
from app.network.graph import IMAGE
from app.network.network import Layer, Network, operation_of
from app.network.weight_gradients import weight_gradients, with_weights

Kind = Literal["input", "gradient", "derivative", "probability", "label"]


@dataclass(frozen=True)
class Factor:
    """One number in a product.

    Attributes:
        kind: `input`, an activation or pixel; `gradient` of a unit; `derivative` of a layer;
            `probability` of a class; or `label`, -1 for the right class.
        what: What the number is, in words.
        value: The number.
        layer: The layer whose unit it belongs to; None for a pixel, and for a number of no unit.
        unit: Index of the unit, or None.
    """

    kind: Kind
    what: str
    value: float
    layer: Layer | None = None
    unit: Unit | None = None


@dataclass(frozen=True)
class Term:
    """One product in the sum that makes a gradient.

    Attributes:
        factors: Its factors.
        product: Their product.
    """

    factors: tuple[Factor, ...]
    product: float


@dataclass(frozen=True)
class Products:
    """The products of one layer's units.

    Attributes:
        products: In the shape of the layer's output; most may be 0.
        factors: Returns the factors of the product of a unit.
    """

    products: Array
    factors: Callable[[Unit], tuple[Factor, ...]]


def largest_terms(parts: list[Products], limit: int) -> tuple[list[Term], int, float]:
    """Return the largest terms, the number of products that are not 0, and the sum of the rest."""
    flat = np.concatenate([part.products.reshape(-1) for part in parts] or [np.zeros(0)])
    order = np.argsort(-np.abs(flat), kind="stable")
    count = int(np.count_nonzero(flat))
    shown, rest = order[: min(limit, count)], order[min(limit, count) : count]
    ends = np.cumsum([part.products.size for part in parts])
    terms = []
    for at in shown:
        nth = int(np.searchsorted(ends, at, side="right"))
        start = int(ends[nth - 1]) if nth else 0
        place = np.unravel_index(int(at) - start, parts[nth].products.shape)
        factors = parts[nth].factors(tuple(int(axis) for axis in place))
        terms.append(Term(factors, float(flat[at])))
    return terms, count, float(flat[rest].sum())


def _inputs(found: Backpropagation, layer: Layer) -> list[Array]:
    return [found.images if at == IMAGE else found.outputs[at] for at in layer.inputs]


def _gradient_factor(found: Backpropagation, layer: Layer, unit: Unit) -> Factor:
    value = float(found.gradients[layer.index][0][unit])
    return Factor("gradient", "the gradient of the loss for this unit", value, layer, unit)


@dataclass(frozen=True)
class ActivationGradient:
    """The gradient of one unit of a layer's output.

    Attributes:
        found: The image through the network and back.
        layer: The layer.
        index: Index of the unit.
    """

    found: Backpropagation
    layer: Layer
    index: Unit

    @property
    def value(self) -> float:
        """Return its value."""
        return float(self.found.outputs[self.layer.index][0][self.index])

    @property
    def gradient(self) -> float:
        """Return its gradient."""
        return float(self.found.gradients[self.layer.index][0][self.index])

    @property
    def scale(self) -> float:
        """Return the size of the value; of a probability, which may be tiny, its own."""
        at_output = self.layer.index == self.found.network.output
        return (abs(self.value) if at_output else 0.0) or max(1.0, abs(self.value))

    def parts(self) -> list[Products]:
        """Return the products: one for each unit that the unit feeds."""
        network = self.found.network
        if self.layer.index == network.output:
            return [self._at_output()]
        if self.layer.index == network.logits:
            return self._at_logits()
        return [
            self._fed(other)
            for other in network.layers
            if self.layer.index in other.inputs and other.index in self.found.gradients
        ]

    def _at_output(self) -> Products:
        """Return the slope of `-log(p)`, where the path ends in a network without logits."""
        slopes = self.found.gradients[self.layer.index][0]
        products = np.where(np.arange(slopes.size) == self.index[0], slopes, 0.0)
        what = "minus 1 over the probability: the slope of -log(p)"
        return Products(products, lambda unit: (Factor("derivative", what, float(slopes[unit])),))

    def _at_logits(self) -> list[Products]:
        """Return the probability, and minus 1 for the right class: where every path ends."""
        network = self.found.network
        softmax, label = network.layers[network.output], self.found.loss.label
        probability = float(self.found.loss.probabilities[self.index[0]])
        ends = [Factor("probability", "the probability", probability, softmax, self.index)]
        if self.index[0] == label:
            ends.append(Factor("label", "minus 1, because this is the right class", -1.0))
        return [
            Products(np.array([end.value]), lambda unit, end=end: (end,))  # type: ignore[misc]
            for end in ends
        ]

    def _fed(self, other: Layer) -> Products:
        """Return the products of the units of a layer that this one feeds."""
        operation, found = operation_of(other), self.found
        inputs = _inputs(found, other)
        changes = [np.zeros_like(part) for part in inputs]
        for at, change in zip(other.inputs, changes, strict=True):
            if at == self.layer.index:
                change[0][self.index] = 1.0
        slopes = operation.tangent(inputs, found.outputs[other.index], changes)[0]
        grads = found.gradients[other.index][0]

        def factors(unit: Unit) -> tuple[Factor, ...]:
            slope = Factor("derivative", operation.slope_name, float(slopes[unit]))
            return slope, _gradient_factor(found, other, unit)

        return Products(slopes * grads, factors)

    def loss_of(self, value: float) -> float:
        """Return the loss for another value of the unit."""
        network, found = self.found.network, self.found
        if self.layer.index == network.output:
            right = self.index[0] == found.loss.label
            return -float(np.log(value)) if right else found.loss.value
        changed = found.outputs[self.layer.index].copy()
        changed[0][self.index] = value
        dependent = network.downstream(self.layer)
        return _loss(network, found, {self.layer.index: changed}, dependent)


@dataclass(frozen=True)
class WeightGradient:
    """The gradient of one weight of a layer, over all calls of the layer.

    Attributes:
        found: The image through the network and back.
        calls: All calls of the layer.
        name: Name of the array.
        index: Index of the weight in it.
    """

    found: Backpropagation
    calls: list[Layer]
    name: str
    index: Unit

    @property
    def _values(self) -> Array:
        return self.calls[0].weights[self.name]

    @property
    def value(self) -> float:
        """Return its value."""
        return float(self._values[self.index])

    @property
    def gradient(self) -> float:
        """Return its gradient."""
        found = self.found
        grads = weight_gradients(self.calls, found.images, found.outputs, found.gradients)
        return float(grads[self.name][self.index])

    @property
    def scale(self) -> float:
        """Return the size of the value, at least 1."""
        return max(1.0, abs(self.value))

    def parts(self) -> list[Products]:
        """Return the products: one for each unit that the weight helps to make."""
        return [self._call(layer) for layer in self.calls if layer.index in self.found.gradients]

    def _call(self, layer: Layer) -> Products:
        operation, found = operation_of(layer), self.found
        inputs, change = _inputs(found, layer), np.zeros_like(self._values)
        change[self.index] = 1.0
        output = found.outputs[layer.index]
        slopes = operation.weight_tangent(inputs, output, self.name, change)[0]
        place = int(np.ravel_multi_index(self.index, change.shape))

        def factors(unit: Unit) -> tuple[Factor, ...]:
            slope = float(slopes[unit])
            read = operation.weight_reads(layer.shapes, self.name, place, unit)
            ends = self._read(layer, inputs[0][0], read, slope)
            return *ends, _gradient_factor(found, layer, unit)

        return Products(slopes * found.gradients[layer.index][0], factors)

    def _read(
        self, layer: Layer, values: Array, read: Unit | None, slope: float
    ) -> tuple[Factor, ...]:
        """Return what the weight multiplies, and the slope of an activation inside the layer."""
        if read is None:
            return (Factor("derivative", _moved(self.name), slope),)
        at, value = layer.inputs[0], float(values[read])
        source = None if at == IMAGE else self.found.network.layers[at]
        what = "the pixel that it multiplies" if at == IMAGE else "the value that it multiplies"
        factor = Factor("input", what, value, source, read)
        if slope == value:
            return (factor,)
        return factor, Factor("derivative", "the slope of the activation function", slope / value)

    def loss_of(self, value: float) -> float:
        """Return the loss for another value of the weight."""
        changed = self._values.copy()
        changed[self.index] = value
        weights = {**self.calls[0].weights, self.name: changed}
        network = with_weights(self.found.network, {self.calls[0].store: weights})
        dependent = frozenset().union(*(network.downstream(layer) for layer in self.calls))
        return _loss(network, self.found, {}, dependent | {layer.index for layer in self.calls})


def _moved(name: str) -> str:
    if name in ("bias", "beta"):
        return "1, because it is added as it is"
    return "how much the unit changes with it"


def _loss(
    network: Network, found: Backpropagation, changed: Mapping[int, Array], dependent: Set[int]
) -> float:
    """Return the loss if some outputs change; only what depends on them is computed again."""
    known = {at: values for at, values in enumerate(found.outputs) if at not in dependent}
    outputs = network.resume(found.images, {**known, **changed})
    return cross_entropy(network, outputs, found.loss.label).value
