"""Where one gradient comes from: the sum of its products, and a check without calculus.

It is `app.inspection.provenance` backwards. The gradient of a weight is a sum over all units that
it helps to make: what it multiplies there, times the gradient of the unit. The gradient of an
activation is a sum over all units that it feeds: the slope there, times the gradient of the unit.
So each gradient leads to later ones, until the softmax, where it is probability minus label.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.errors import InvalidInputError, NotFoundError
from app.inference.model import Model
from app.inspection.backpropagation import (
    Backpropagation,
    backpropagate,
    check_can_learn,
    working_bytes,
)
from app.inspection.finite import check_finite
from app.inspection.finite_difference import FiniteDifference, measure
from app.inspection.loss import cross_entropy
from app.inspection.provenance import largest_unit
from app.network.equation import number, operand
from app.network.functions import Array
from app.network.geometry import Unit
from app.network.graph import IMAGE
from app.network.network import Layer, Network, operation_of
from app.network.weight_gradients import in_float64, learned_weights, weight_gradients, with_weights
from app.predictions import Prediction
from app.recognise import ImageInput, Options, recognise

Kind = Literal["input", "gradient", "derivative", "probability", "label"]
MAX_TERMS, DEFAULT_TERMS = 1000, 100
MAX_SHOWN = 4  # products that the equation spells out; the rest is one number


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
class Address:
    """The number whose gradient is explained: a weight, or an activation.

    Attributes:
        weight: Name of the array of weights; None for an activation.
        index: Index of the weight, or of the unit.
    """

    weight: str | None
    index: Unit


@dataclass(frozen=True)
class Wanted:
    """Whose gradient is wanted; parts that are None are those of the largest gradient.

    Attributes:
        label: The right class.
        weight: Name of an array of weights; None for an activation.
        index: Index of the weight, or None.
        channel: Channel of the activation, or None.
        y: Its row, or None.
        x: Its column, or None.
        terms: How many terms to return.
    """

    label: int
    weight: str | None = None
    index: Unit | None = None
    channel: int | None = None
    y: int | None = None
    x: int | None = None
    terms: int = DEFAULT_TERMS


@dataclass(frozen=True)
class GradientUnit:
    """Where one gradient comes from.

    Attributes:
        prediction: The answer for the image.
        label: The right class.
        loss: Cross-entropy in nats.
        layer: The layer.
        address: The weight or the activation.
        value: Its value.
        gradient: The gradient, as back-propagation computes it.
        terms: The products with the largest magnitudes, largest first.
        count: Number of products that are not 0.
        omitted: Sum of those that are not in `terms`.
        difference: The gradient, measured.
    """

    prediction: Prediction
    label: int
    loss: float
    layer: Layer
    address: Address
    value: float
    gradient: float
    terms: list[Term]
    count: int
    omitted: float
    difference: FiniteDifference

    @property
    def equation(self) -> str:
        """Return the sum with its numbers; of many products the largest."""
        shown = self.terms[:MAX_SHOWN]
        parts = [" · ".join(operand(one.value) for one in term.factors) for term in shown]
        rest = self.count - len(shown)
        if rest:
            others = sum(term.product for term in self.terms[MAX_SHOWN:]) + self.omitted
            parts.append(f"{operand(others)} (the other {rest})")
        return f"{number(self.gradient)} = {' + '.join(parts) or '0'}"


def explain_gradient(
    image: ImageInput, model: Model, options: Options, layer: Layer, wanted: Wanted
) -> GradientUnit:
    """Explain the gradient of one weight or one activation.

    Args:
        image: The image.
        model: The network.
        options: How the image is read.
        layer: The layer of the weight or activation.
        wanted: Which one.

    Raises:
        InvalidInputError: The loss does not depend on the layer, the address has the wrong form,
            or the network has more weights than the service copies.
        NotFoundError: The layer has no such weight or unit.
        UnsupportedLayerError: The service cannot compute or differentiate a layer.
        DigitscopeError: The image cannot be read; see `app.recognise.read_image`.
        WorkCancelled: Nobody waits for the answer any more.
    """
    served = model.in_float32.network
    check_can_learn(served)
    prediction = recognise(image, model.in_float32, options)
    images = prediction.prepared.pixels.astype(np.float64)[None, ..., None]
    with options.working_memory(working_bytes(served)):
        found = backpropagate(in_float64(served), images, wanted.label)
        check_finite(np.array(found.loss.value), served.layers[served.scores])
        subject = _subject(found, layer, wanted)
        parts = subject.parts()
        gradient = subject.gradient
        check_finite(np.array(gradient), layer)
        terms, count, omitted = _largest(parts, wanted.terms)
        return GradientUnit(
            prediction=prediction,
            label=wanted.label,
            loss=found.loss.value,
            layer=layer,
            address=subject.address,
            value=subject.value,
            gradient=gradient,
            terms=terms,
            count=count,
            omitted=omitted,
            difference=measure(subject.loss_of, subject.value, found.loss.value, subject.scale),
        )


@dataclass(frozen=True)
class _Part:
    """The products of one layer's units.

    Attributes:
        products: In the shape of the layer's output; most may be 0.
        factors: Returns the factors of the product of a unit.
    """

    products: Array
    factors: Callable[[Unit], tuple[Factor, ...]]


def _largest(parts: list[_Part], limit: int) -> tuple[list[Term], int, float]:
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
class _Activation:
    """The gradient of one unit of a layer's output."""

    found: Backpropagation
    layer: Layer
    unit: Unit

    @property
    def address(self) -> Address:
        return Address(None, self.unit)

    @property
    def value(self) -> float:
        return float(self.found.outputs[self.layer.index][0][self.unit])

    @property
    def gradient(self) -> float:
        return float(self.found.gradients[self.layer.index][0][self.unit])

    @property
    def scale(self) -> float:
        """Return the size of the value; of a probability, which may be tiny, its own."""
        at_output = self.layer.index == self.found.network.output
        return (abs(self.value) if at_output else 0.0) or max(1.0, abs(self.value))

    def parts(self) -> list[_Part]:
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

    def _at_output(self) -> _Part:
        """Return the slope of `-log(p)`, where the path ends in a network without logits."""
        slopes = self.found.gradients[self.layer.index][0]
        products = np.where(np.arange(slopes.size) == self.unit[0], slopes, 0.0)
        what = "minus 1 over the probability: the slope of -log(p)"
        return _Part(products, lambda unit: (Factor("derivative", what, float(slopes[unit])),))

    def _at_logits(self) -> list[_Part]:
        """Return the probability, and minus 1 for the right class: where every path ends."""
        network = self.found.network
        softmax, label = network.layers[network.output], self.found.loss.label
        probability = float(self.found.loss.probabilities[self.unit[0]])
        ends = [Factor("probability", "the probability", probability, softmax, self.unit)]
        if self.unit[0] == label:
            ends.append(Factor("label", "minus 1, because this is the right class", -1.0))
        return [
            _Part(np.array([end.value]), lambda unit, end=end: (end,))  # type: ignore[misc]
            for end in ends
        ]

    def _fed(self, other: Layer) -> _Part:
        """Return the products of the units of a layer that this one feeds."""
        operation, found = operation_of(other), self.found
        inputs = _inputs(found, other)
        changes = [np.zeros_like(part) for part in inputs]
        for at, change in zip(other.inputs, changes, strict=True):
            if at == self.layer.index:
                change[0][self.unit] = 1.0
        slopes = operation.tangent(inputs, found.outputs[other.index], changes)[0]
        grads = found.gradients[other.index][0]

        def factors(unit: Unit) -> tuple[Factor, ...]:
            slope = Factor("derivative", operation.slope_name, float(slopes[unit]))
            return slope, _gradient_factor(found, other, unit)

        return _Part(slopes * grads, factors)

    def loss_of(self, value: float) -> float:
        """Return the loss for another value of the unit."""
        network, found = self.found.network, self.found
        if self.layer.index == network.output:
            right = self.unit[0] == found.loss.label
            return -float(np.log(value)) if right else found.loss.value
        changed = found.outputs[self.layer.index].copy()
        changed[0][self.unit] = value
        dependent = network.downstream(self.layer)
        return _loss(network, found, {self.layer.index: changed}, dependent)


@dataclass(frozen=True)
class _Weight:
    """The gradient of one weight of a layer, over all calls of the layer."""

    found: Backpropagation
    calls: list[Layer]
    name: str
    index: Unit

    @property
    def address(self) -> Address:
        return Address(self.name, self.index)

    @property
    def _values(self) -> Array:
        return self.calls[0].weights[self.name]

    @property
    def value(self) -> float:
        return float(self._values[self.index])

    @property
    def gradient(self) -> float:
        found = self.found
        grads = weight_gradients(self.calls, found.images, found.outputs, found.gradients)
        return float(grads[self.name][self.index])

    @property
    def scale(self) -> float:
        """Return the size of the value, at least 1."""
        return max(1.0, abs(self.value))

    def parts(self) -> list[_Part]:
        """Return the products: one for each unit that the weight helps to make."""
        return [self._call(layer) for layer in self.calls if layer.index in self.found.gradients]

    def _call(self, layer: Layer) -> _Part:
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

        return _Part(slopes * found.gradients[layer.index][0], factors)

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


def _subject(found: Backpropagation, layer: Layer, wanted: Wanted) -> _Activation | _Weight:
    """Return the number that is asked for.

    Raises:
        InvalidInputError: The loss does not depend on the layer, or the index has the wrong length.
        NotFoundError: The layer has no such weight or unit.
    """
    network = found.network
    layer = network.layers[layer.index]
    if wanted.weight is None:
        if layer.index not in found.gradients:
            raise _independent(layer)
        sizes = np.abs(found.gradients[layer.index][0])
        return _Activation(
            found, layer, largest_unit(sizes, layer, wanted.channel, wanted.y, wanted.x)
        )
    names = list(learned_weights(layer))
    if wanted.weight not in names:
        raise NotFoundError(
            f"Training changes no weight {wanted.weight!r} of the layer {layer.name!r}.",
            valid=names,
        )
    calls = [other for other in network.layers if other.store == layer.store and other.weights]
    if not any(call.index in found.gradients for call in calls):
        raise _independent(layer)
    index = wanted.index
    if index is None:
        grads = weight_gradients(calls, found.images, found.outputs, found.gradients)
        largest = np.abs(grads[wanted.weight]).argmax()
        place = np.unravel_index(int(largest), grads[wanted.weight].shape)
        index = tuple(int(at) for at in place)
    _check_index(layer, wanted.weight, index)
    return _Weight(found, calls, wanted.weight, index)


def _independent(layer: Layer) -> InvalidInputError:
    return InvalidInputError(
        f"The loss does not depend on the layer {layer.name!r}; choose another layer."
    )


def _check_index(layer: Layer, weight: str, index: Unit) -> None:
    shape = layer.weights[weight].shape
    if len(index) != len(shape):
        raise InvalidInputError(
            f"The weight {weight!r} of the layer {layer.name!r} has the shape {list(shape)}; its"
            f" index has {len(shape)} numbers, not {len(index)}."
        )
    if not all(0 <= at < size for at, size in zip(index, shape, strict=True)):
        raise NotFoundError(
            f"The weight {weight!r} of the layer {layer.name!r} has no number at {list(index)}.",
            valid=[f"axis {axis}: 0..{size - 1}" for axis, size in enumerate(shape)],
        )
