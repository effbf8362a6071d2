"""Where one gradient comes from: the sum of its products, and a check without calculus.

It is `app.inspection.provenance` backwards. The gradient of a weight is a sum over all units that
it helps to make: what it multiplies there, times the gradient of the unit. The gradient of an
activation is a sum over all units that it feeds: the slope there, times the gradient of the unit.
So each gradient leads to later ones, until the softmax, where it is probability minus label.
"""

from dataclasses import dataclass

import numpy as np

from app.errors import InvalidInputError, NotFoundError
from app.inference.model import Model
from app.inspection.backpropagation import Backpropagation, backpropagated
from app.inspection.cost_limits import max_learning_steps
from app.inspection.finite import check_finite
from app.inspection.finite_difference import SIZES, FiniteDifference, measure
from app.inspection.gradient_terms import ActivationGradient, Term, WeightGradient, largest_terms
from app.inspection.provenance import largest_unit
from app.network.equation import number, operand
from app.network.geometry import Unit
from app.network.network import Layer
from app.network.weight_gradients import learned_weights, weight_gradients
from app.predictions import Prediction
from app.recognise import ImageInput, Options

MAX_TERMS, DEFAULT_TERMS = 1000, 100
MAX_SHOWN = 4  # products that the equation spells out; the rest is one number


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
    with backpropagated(image, model, options, wanted.label) as (prediction, found):
        check_finite(np.array(found.loss.value), served.layers[served.scores])
        subject = _subject(found, layer, wanted)
        parts = subject.parts()
        gradient = subject.gradient
        check_finite(np.array(gradient), layer)
        terms, count, omitted = largest_terms(parts, wanted.terms)
        return GradientUnit(
            prediction=prediction,
            label=wanted.label,
            loss=found.loss.value,
            layer=layer,
            address=Address(wanted.weight, subject.index),
            value=subject.value,
            gradient=gradient,
            terms=terms,
            count=count,
            omitted=omitted,
            difference=measure(
                subject.loss_of,
                subject.value,
                found.loss.value,
                subject.scale,
                sizes=SIZES if max_learning_steps(served) >= len(SIZES) else SIZES[2:3],
            ),
        )


def _subject(
    found: Backpropagation, layer: Layer, wanted: Wanted
) -> ActivationGradient | WeightGradient:
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
        return ActivationGradient(
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
    return WeightGradient(found, calls, wanted.weight, index)


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
