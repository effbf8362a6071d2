"""One image through the network and back: the loss, and its gradient for every layer's output.

All numbers are float64, so that a gradient can be compared with a finite difference. Rumelhart,
Hinton and Williams, 1986, "Learning representations by back-propagating errors".
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from app.errors import InvalidInputError
from app.inference.model import Model
from app.inspection.finite import check_finite
from app.inspection.loss import Loss, cross_entropy
from app.network.functions import Array
from app.network.network import Layer, Network
from app.network.weight_gradients import calls_by_store, in_float64, weight_gradients
from app.predictions import Prediction
from app.recognise import ImageInput, Options, recognise

# Weights of a network of which a copy in float64 is made: 128 MiB. Our ensemble has 5 million.
MAX_WEIGHTS = 1 << 24


@dataclass(frozen=True)
class Backpropagation:
    """One image through a network and back.

    Attributes:
        network: The network, in float64.
        images: The image, float64 `[1, 28, 28, 1]`, 0..255.
        outputs: Every layer's output, `[1, ...]`.
        loss: The loss.
        gradients: By index, the gradient of the loss for each layer's output that it depends on.
    """

    network: Network
    images: Array
    outputs: list[Array]
    loss: Loss
    gradients: dict[int, Array]


def backpropagate(network: Network, images: Array, label: int) -> Backpropagation:
    """Run one image through a network and back.

    Args:
        network: The network, in float64.
        images: float64 `[1, 28, 28, 1]`.
        label: The right class.

    Raises:
        UnsupportedLayerError: The service cannot compute or differentiate a layer.
        WorkCancelled: Nobody waits for the gradients any more.
    """
    with np.errstate(all="ignore"):  # a learning rate that is too large makes numbers overflow
        outputs = network.forward(images)
        loss = cross_entropy(network, outputs, label)
        gradients = network.gradients(images, outputs, loss.seed)
    gradients[network.output] = loss.at_output
    return Backpropagation(network, images, outputs, loss, gradients)


def network_input(prediction: Prediction) -> Array:
    """Return what a network received for an image, float64 `[1, 28, 28, 1]`, 0..255."""
    return prediction.prepared.pixels.astype(np.float64)[None, ..., None]


def check_can_learn(network: Network) -> None:
    """Check that a network can be copied and differentiated, before any work is done.

    Raises:
        InvalidInputError: It has more weights than the service copies.
        UnsupportedLayerError: The service cannot compute one of its layers.
    """
    weights = count_weights(network)
    if weights > MAX_WEIGHTS:
        raise InvalidInputError(
            f"The network has {weights} weights; the service computes the gradients of networks"
            f" with at most {MAX_WEIGHTS}. Choose a smaller model."
        )
    calls_by_store(network)


def count_weights(network: Network) -> int:
    """Return the number of weights; those that calls share count once."""
    stores = {layer.store or layer.name: layer.weights for layer in network.layers}
    return sum(values.size for weights in stores.values() for values in weights.values())


def working_bytes(network: Network, *, copies: int = 1) -> int:
    """Return the memory that gradients take: copies of the weights; outputs and gradients twice.

    Twice, because those of the first step are kept.
    """
    return 8 * (copies * count_weights(network) + 4 * network.values)


@contextmanager
def backpropagated(
    image: ImageInput, model: Model, options: Options, label: int
) -> Iterator[tuple[Prediction, Backpropagation]]:
    """Run an image through a copy of a model's network and back; its memory counts in the block.

    Args:
        image: The image.
        model: The network.
        options: How the image is read.
        label: The right class.

    Yields:
        The prediction of the network as it is served, and the gradients.

    Raises:
        InvalidInputError: The network has more weights than the service copies.
        UnsupportedLayerError: The service cannot compute or differentiate a layer.
        DigitscopeError: The image cannot be read; see `app.recognise.read_image`.
        WorkCancelled: Nobody waits for the gradients any more.
    """
    served = model.in_float32.network
    check_can_learn(served)
    prediction = recognise(image, model.in_float32, options)
    with options.working_memory(working_bytes(served)):
        yield prediction, backpropagate(in_float64(served), network_input(prediction), label)


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
    with backpropagated(image, model, options, label) as (_, found):
        calls = [one for one in found.network.layers if one.store == layer.store]
        calls = calls if weight else [found.network.layers[layer.index]]
        if not any(one.index in found.gradients for one in calls):
            raise InvalidInputError(
                f"The loss does not depend on the layer {layer.name!r}; choose another layer."
            )
        if weight is None:
            gradient = np.asarray(found.gradients[layer.index][0])
        else:
            gradient = weight_gradients(calls, found.images, found.outputs, found.gradients)[weight]
        check_finite(gradient, layer)
        return gradient
