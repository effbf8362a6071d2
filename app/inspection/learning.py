"""Steps of learning on one digit: gradient descent on a copy of the network.

Robbins and Monro, 1951, for the descent; Polyak, 1964, for momentum. The network that is served
never changes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from app.inference.model import Model
from app.inspection.backpropagation import (
    Backpropagation,
    backpropagate,
    check_can_learn,
    network_input,
    working_bytes,
)
from app.inspection.cost_limits import max_gradients, max_learning_steps
from app.inspection.descent import END, Descent, LearnRequest, Norms, length
from app.inspection.finite import check_finite
from app.network.functions import Array
from app.network.network import Layer, Network
from app.network.weight_gradients import (
    calls_by_store,
    in_float64,
    learned_weights,
)
from app.predictions import Prediction
from app.recognise import ImageInput, Options, recognise
from app.samples import sample_pixels


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
            digits, and for a very large network.
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
    images = network_input(prediction)
    copies = 2 if request.optimizer == "momentum" else 1
    with options.working_memory(working_bytes(served, copies=copies)):
        descent = Descent(in_float64(served), request)
        found = first = backpropagate(descent.network, images, request.label)
        check_finite(np.array(first.loss.value), served.layers[served.scores])
        changes, gradients = descent.change_norms(served), list[Norms]()
        rows, ended = [first.loss], False
        for _ in range(min(request.steps, max_learning_steps(served))):
            gradients.append(descent.step(found))
            found = backpropagate(descent.network, images, request.label)
            ended = descent.has_ended() or not abs(found.loss.value) <= END
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


def _samples(model: Model, learned: Network) -> Samples | None:
    """Return how many of the ten sample digits a network read right before and after."""
    digits = range(10)
    classes = [str(digit) for digit in digits]
    if model.bundle.metadata.classes != classes or max_gradients(learned) < 4 * len(digits):
        return None
    pixels = np.stack([sample_pixels(digit) for digit in digits])
    before = model.runtime.predict(pixels).probabilities.argmax(axis=-1)
    after = 0
    with np.errstate(all="ignore"):
        for digit, image in enumerate(pixels):
            out = learned.forward(image[None, ..., None].astype(np.float64))[learned.output][0]
            after += bool(np.isfinite(out).all() and out.argmax() == digit)
    return Samples(len(digits), int(np.equal(before, digits).sum()), after)


def _layers(
    served: Network, first: Backpropagation, gradients: Norms, changes: Norms
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
                length(values.astype(np.float64)),
                gradients[layer.store][name],
                changes[layer.store][name],
            )
            for name, values in (learned_weights(layer) if same is layer else {}).items()
        ]
        layers.append(
            LearnedLayer(
                layer,
                length(gradient) if gradient is not None else None,
                float(np.abs(gradient).max()) if gradient is not None else None,
                tuple(weights),
                None if same is layer else same,
            )
        )
    return layers
