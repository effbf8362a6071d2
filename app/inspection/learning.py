"""Steps of learning on one digit: gradient descent on a copy of the network.

Robbins and Monro, 1951, for the descent; Polyak, 1964, for momentum. The network that is served
never changes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from app.cancellation import check_cancelled
from app.errors import InvalidInputError
from app.inference.model import Model
from app.inspection.backpropagation import (
    Backpropagation,
    backpropagate,
    check_can_learn,
    working_bytes,
)
from app.inspection.cost_limits import max_learning_steps
from app.inspection.finite import check_finite
from app.network.functions import Array
from app.network.network import Layer, Network
from app.network.weight_gradients import (
    Store,
    calls_by_store,
    in_float64,
    learned_weights,
    weight_gradients,
    with_weights,
)
from app.predictions import Prediction
from app.recognise import ImageInput, Options, recognise
from app.samples import sample_pixels

Optimizer = Literal["sgd", "momentum"]
DEFAULT_RATE, MAX_RATE, MAX_STEPS = 0.01, 1e6, 50
MOMENTUM = 0.9  # share of the last change that is added to the next one
_Norms = dict[Store, dict[str, float]]  # Euclidean lengths, by layer and weight
_END = float(np.finfo(np.float32).max)  # where the numbers of the float32 network end


@dataclass(frozen=True)
class LearnRequest:
    """What to learn, and how.

    Attributes:
        label: The right class.
        learning_rate: What gradients are multiplied by, above 0.
        optimizer: `sgd`, or `momentum`, which keeps `MOMENTUM` of the last change.
        steps: Number of steps, 1 to `MAX_STEPS`; a very large network gets fewer.
    """

    label: int
    learning_rate: float = DEFAULT_RATE
    optimizer: Optimizer = "sgd"
    steps: int = 1


@dataclass(frozen=True)
class LearnedWeight:
    """One array of weights, by its Euclidean lengths.

    Attributes:
        name: Name of the array.
        shape: Its shape.
        norm: Length before the first step.
        gradient_norm: Length of its gradient before the first step.
        change_norm: Length of the change by all steps.
    """

    name: str
    shape: tuple[int, ...]
    norm: float
    gradient_norm: float
    change_norm: float

    @property
    def relative_change(self) -> float | None:
        """Return the change as a share of the weights; None if all of them were 0."""
        return self.change_norm / self.norm if self.norm else None


@dataclass(frozen=True)
class LearnedLayer:
    """What the loss and the steps mean for one layer.

    Attributes:
        layer: The layer.
        gradient_norm: Length of the gradient of the loss for its output, before the first step;
            None if the loss does not depend on it.
        largest: Largest magnitude in that gradient, or None.
        weights: The weights that training changes; empty for later calls of a layer.
        shares_weights_with: For a later call of a layer, the first one.
    """

    layer: Layer
    gradient_norm: float | None
    largest: float | None
    weights: tuple[LearnedWeight, ...] = ()
    shares_weights_with: Layer | None = None

    @property
    def relative_change(self) -> float:
        """Return the change of all its weights together, as a share of them."""
        norm = math.hypot(*(weight.norm for weight in self.weights))
        change = math.hypot(*(weight.change_norm for weight in self.weights))
        return change / norm if norm else 0.0


@dataclass(frozen=True)
class Samples:
    """How many of the sample digits, which are not learned, the network reads right.

    Attributes:
        count: Number of samples.
        before: Read right before the first step.
        after: Read right after the last step.
    """

    count: int
    before: int
    after: int


@dataclass(frozen=True)
class Learned:
    """What some steps of learning did to one image.

    Attributes:
        prediction: The answer of the network as it is served.
        request: What was asked for.
        losses: Cross-entropy in nats, before the first and after each step.
        probabilities: float64 `[classes]`, at the same times.
        ended: Whether the numbers ended: the next row would be beyond the range of float32.
        samples: How the network reads the sample digits; None for other classes than the ten
            digits.
        layers: What the loss and the steps mean for each layer.
        gradients: By index, the gradient of the loss for the output of each layer that it depends
            on, before the first step, without the batch.
    """

    prediction: Prediction
    request: LearnRequest
    losses: list[float]
    probabilities: list[Array]
    ended: bool
    samples: Samples | None
    layers: list[LearnedLayer]
    gradients: Mapping[int, Array]

    @property
    def steps(self) -> int:
        """Return the number of steps that were made."""
        return len(self.losses) - 1

    @property
    def diverged(self) -> bool:
        """Tell whether the numbers ended, or the loss is larger than before."""
        return self.ended or self.losses[-1] > self.losses[0]

    @property
    def most_changed(self) -> list[Layer]:
        """Return the layers with weights, the one with the largest relative change first."""
        changed = [one for one in self.layers if one.weights]
        return [one.layer for one in sorted(changed, key=lambda one: -one.relative_change)]


@dataclass
class _Descent:
    """A copy of a network that learns.

    Attributes:
        network: The copy. Its weights are changed in place, and then it is built anew: one copy of
            the weights is in memory, not two.
        request: How it learns.
        velocities: The last changes, by layer and weight, for momentum.
    """

    network: Network
    request: LearnRequest
    velocities: dict[Store, dict[str, Array]] = field(default_factory=dict)

    def step(self, found: Backpropagation) -> _Norms:
        """Change every weight against its gradient; return the lengths of the gradients."""
        changed: dict[Store, Mapping[str, Array]] = {}
        norms: _Norms = {}
        for store, calls in calls_by_store(self.network).items():
            check_cancelled()
            with np.errstate(all="ignore"):
                grads = weight_gradients(calls, found.images, found.outputs, found.gradients)
                norms[store] = {name: _norm(grad) for name, grad in grads.items()}
                for name, change in self._changes(store, grads).items():
                    calls[0].weights[name][...] += change
            changed[store] = calls[0].weights
        self.network = with_weights(self.network, changed)
        return norms

    def _changes(self, store: Store, grads: dict[str, Array]) -> dict[str, Array]:
        rate = self.request.learning_rate
        changes = {name: np.asarray(-rate * grad) for name, grad in grads.items()}
        if self.request.optimizer == "momentum":
            last = self.velocities.get(store, {})
            for name, before in last.items():
                changes[name] += MOMENTUM * before
            self.velocities[store] = changes
        return changes

    def change_norms(self, served: Network) -> _Norms:
        """Return the lengths of the changes from the weights that are served."""
        return {
            store: {
                name: _norm(values - served.layers[calls[0].index].weights[name])
                for name, values in learned_weights(calls[0]).items()
            }
            for store, calls in calls_by_store(self.network).items()
        }

    def has_ended(self) -> bool:
        """Tell whether a weight is beyond the range of float32."""
        return not all(
            np.abs(values).max(initial=0.0) <= _END  # False for what is not a number, too
            for calls in calls_by_store(self.network).values()
            for values in learned_weights(calls[0]).values()
        )


def learn(image: ImageInput, model: Model, options: Options, request: LearnRequest) -> Learned:
    """Make some steps of learning on one image and its right label, on a copy of the network.

    Batch normalisation and dropout act as at inference.

    Raises:
        InvalidInputError: The network has more weights than the service copies.
        UnsupportedLayerError: The service cannot compute or differentiate a layer, or the first
            loss is not finite.
        DigitscopeError: The image cannot be read; see `app.recognise.read_image`.
        WorkCancelled: Nobody waits for the answer any more.
    """
    served = model.in_float32.network
    check_can_learn(served)
    prediction = recognise(image, model.in_float32, options)
    images = prediction.prepared.pixels.astype(np.float64)[None, ..., None]
    copies = 2 if request.optimizer == "momentum" else 1
    with options.working_memory(working_bytes(served, copies=copies)):
        descent = _Descent(in_float64(served), request)
        found = first = backpropagate(descent.network, images, request.label)
        check_finite(np.array(first.loss.value), served.layers[served.scores])
        changes, gradients = descent.change_norms(served), list[_Norms]()
        rows, ended = [first.loss], False
        for _ in range(min(request.steps, max_learning_steps(served))):
            gradients.append(descent.step(found))
            found = backpropagate(descent.network, images, request.label)
            ended = descent.has_ended() or not abs(found.loss.value) <= _END
            if ended:
                break
            rows.append(found.loss)
            changes = descent.change_norms(served)
        samples = _samples(model.in_float32, descent.network)
    return Learned(
        prediction=prediction,
        request=request,
        losses=[row.value for row in rows],
        probabilities=[row.probabilities for row in rows],
        ended=ended,
        samples=samples,
        layers=_layers(served, first, gradients[0], changes),
        gradients={at: values[0] for at, values in first.gradients.items() if at >= 0},
    )


def gradient_of(
    image: ImageInput, model: Model, options: Options, label: int, layer: Layer, weight: str | None
) -> Array:
    """Return the gradient of the loss for a layer's output, or for one of its weights.

    Args:
        image: The image.
        model: The network.
        options: How the image is read.
        label: The right class.
        layer: The layer.
        weight: Name of one of its weights that training changes; None for its output.

    Returns:
        float64, in the shape of the output or the weight.

    Raises:
        InvalidInputError: The loss does not depend on the layer, or the network has more weights
            than the service copies.
        UnsupportedLayerError: The service cannot compute or differentiate a layer.
        DigitscopeError: The image cannot be read; see `app.recognise.read_image`.
        WorkCancelled: Nobody waits for the gradient any more.
    """
    served = model.in_float32.network
    check_can_learn(served)
    prediction = recognise(image, model.in_float32, options)
    images = prediction.prepared.pixels.astype(np.float64)[None, ..., None]
    with options.working_memory(working_bytes(served)):
        found = backpropagate(in_float64(served), images, label)
        calls = [one for one in found.network.layers if one.store == layer.store]
        calls = calls if weight else [found.network.layers[layer.index]]
        if not any(one.index in found.gradients for one in calls):
            raise InvalidInputError(
                f"The loss does not depend on the layer {layer.name!r}; choose another layer."
            )
        if weight is None:
            gradient = np.asarray(found.gradients[layer.index][0])
        else:
            gradient = weight_gradients(calls, images, found.outputs, found.gradients)[weight]
        check_finite(gradient, layer)
        return gradient


def _samples(model: Model, learned: Network) -> Samples | None:
    """Return how many of the ten sample digits a network read right before and after."""
    digits = range(10)
    if model.bundle.metadata.classes != [str(digit) for digit in digits]:
        return None
    pixels = np.stack([sample_pixels(digit) for digit in digits])
    before = model.runtime.predict(pixels).probabilities.argmax(axis=-1)
    with np.errstate(all="ignore"):
        after = [
            learned.forward(image[None, ..., None].astype(np.float64))[learned.output][0].argmax()
            for image in pixels
        ]
    right = [int(np.equal(answers, digits).sum()) for answers in (before, after)]
    return Samples(len(digits), *right)


def _layers(
    served: Network, first: Backpropagation, gradients: _Norms, changes: _Norms
) -> list[LearnedLayer]:
    """Return what the loss and the steps mean for each layer.

    Args:
        served: The network as it is served.
        first: The image through the network and back, before the first step.
        gradients: Lengths of the weights' gradients at that time.
        changes: Lengths of the weights' changes.
    """
    calls = calls_by_store(served)
    layers = []
    for layer in served.layers:
        gradient = first.gradients.get(layer.index)
        same = calls[layer.store][0] if layer.weights and layer.store in calls else layer
        weights = [
            LearnedWeight(
                name,
                values.shape,
                _norm(values.astype(np.float64)),
                gradients[layer.store][name],
                changes[layer.store][name],
            )
            for name, values in (learned_weights(layer) if same is layer else {}).items()
        ]
        layers.append(
            LearnedLayer(
                layer,
                _norm(gradient) if gradient is not None else None,
                float(np.abs(gradient).max()) if gradient is not None else None,
                tuple(weights),
                None if same is layer else same,
            )
        )
    return layers


def _norm(values: Array) -> float:
    """Return the Euclidean length; its squares may be beyond the range of numbers."""
    largest = float(np.abs(values).max(initial=0.0))
    if not 0 < largest < math.inf:
        return largest
    return largest * float(np.linalg.norm(values / largest))
