"""The score that an explanation explains: a digit's logit, or the difference of two logits.

A network that does not end in a softmax, such as an average of several networks' probabilities,
has no logits. The logarithms of its probabilities take their place: softmax of these gives the same
probabilities.

Gradients are computed in NumPy (`app.network`), so explanations do not need TensorFlow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.cancellation import check_cancelled
from app.errors import InvalidInputError
from app.inference.model import Model
from app.inspection.finite import check_finite
from app.network.functions import MIN_PROBABILITY, Array, log_probabilities
from app.network.graph import IMAGE
from app.network.network import Layer, Network

_COMPILED_BATCH = 16  # images that the compiled model scores at once
Map = NDArray[np.float32]  # [28, 28]
# Scores float32 images [N, 28, 28]; returns float32 [N].
Score = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Question:
    """What to explain.

    Attributes:
        target: The class whose logit is explained, a digit in a model of digits.
        contrast: If not None, the logit of this digit is subtracted: why `target` and not this?

    Raises:
        InvalidInputError: `target` and `contrast` are the same digit.
    """

    target: int
    contrast: int | None = None

    def __post_init__(self) -> None:
        """Reject a contrast of a digit with itself."""
        if self.target == self.contrast:
            raise InvalidInputError(
                f"'target' and 'contrast' are both {self.target}. Choose another digit as"
                " 'contrast', or leave it out."
            )

    def weights(self, classes: int) -> NDArray[np.float32]:
        """Return the factor of each logit in the score, float32 `[classes]`."""
        row = np.zeros(classes, np.float32)
        row[self.target] = 1
        if self.contrast is not None:
            row[self.contrast] = -1
        return row


def check_classes(model: Model, **numbers: int | None) -> None:
    """Refuse a class that the model does not have.

    Raises:
        InvalidInputError: A number is not one of a class; the message names the parameter.
    """
    classes = model.bundle.metadata.classes
    for name, number in numbers.items():
        if number is not None and not 0 <= number < len(classes):
            raise InvalidInputError(
                f"'{name}' is {number}; the model {model.bundle.metadata.name!r} has the classes 0"
                f" to {len(classes) - 1}."
            )


def logits_of(network: Network, outputs: Sequence[Array]) -> Array:
    """Return the logits `[N, classes]`; without logits, the logarithms of the probabilities.

    Args:
        network: The network.
        outputs: The outputs of all its layers.
    """
    if network.logits is not None:
        return outputs[network.logits]
    return log_probabilities(outputs[network.output])


def network_score(network: Network, question: Question) -> Score:
    """Return a function that scores images with the NumPy network."""
    weights = question.weights(network.layers[network.output].channels)

    def score(images: NDArray[np.float32]) -> NDArray[np.float32]:
        outputs = network.forward(images[..., None])
        return np.asarray(logits_of(network, outputs) @ weights)

    return _in_batches(score, network.batch_size, network.layers[network.scores])


def model_score(model: Model, question: Question) -> Score:
    """Return a function that scores images with the compiled model, which is faster."""
    weights = question.weights(len(model.bundle.metadata.classes))

    def score(images: NDArray[np.float32]) -> NDArray[np.float32]:
        outputs = model.runtime.predict(images)
        if model.network.logits is None:
            return np.asarray(log_probabilities(outputs.probabilities) @ weights)
        return np.asarray(outputs.logits @ weights)

    return _in_batches(score, _COMPILED_BATCH, model.network.layers[model.network.scores])


def _in_batches(score: Score, size: int, layer: Layer) -> Score:
    """Return a function that scores `size` images at a time with the outputs of a layer.

    Between batches it checks for cancellation and releases the interpreter to predictions.
    """

    def score_all(images: NDArray[np.float32]) -> NDArray[np.float32]:
        batches = []
        for start in range(0, len(images) or 1, size):
            check_cancelled()
            batches.append(score(images[start : start + size]))
        scores = np.concatenate(batches).astype(np.float32)
        check_finite(scores, layer)
        return scores

    return score_all


def score_gradient(
    network: Network, outputs: Sequence[Array], question: Question
) -> dict[int, Array]:
    """Return the gradient of the score with respect to the layer that it is computed from.

    Args:
        network: The network.
        outputs: The outputs of all its layers for N images.
        question: What to explain.

    Returns:
        One entry: the layer's index, and float32 `[N, classes]`.
    """
    count, classes = outputs[network.output].shape
    weights = np.repeat(question.weights(classes)[None], count, axis=0)
    if network.logits is not None:
        return {network.logits: weights}
    return {network.output: weights / np.maximum(outputs[network.output], MIN_PROBABILITY)}


def input_gradients(network: Network, images: Array, question: Question) -> Array:
    """Return the gradient of the score with respect to each pixel; see `scores_and_gradients`."""
    return scores_and_gradients(network, images, question)[1]


def scores_and_gradients(
    network: Network, images: Array, question: Question
) -> tuple[Array, Array]:
    """Return the scores of images, and their gradients with respect to each pixel.

    Args:
        network: The network.
        images: float32 `[N, 28, 28]`.
        question: What to explain.

    Returns:
        float32 `[N]`, and float32 `[N, 28, 28]`: change of the score per grey level.

    Raises:
        UnsupportedLayerError: The derivative of a layer is not known.
    """
    scores, gradients, fused = [], [], network.fused
    weights = question.weights(network.layers[network.output].channels)
    for start in range(0, len(images), fused.batch_size):
        check_cancelled()
        batch = images[start : start + fused.batch_size, ..., None]
        outputs = fused.forward(batch)
        scores.append(logits_of(fused, outputs) @ weights)
        seed = score_gradient(fused, outputs, question)
        found = fused.gradients(batch, outputs, seed, wanted=())
        gradients.append(found.get(IMAGE, np.zeros_like(batch))[..., 0])
    both = np.concatenate(scores), np.concatenate(gradients)
    for values in both:
        check_finite(values, network.layers[network.scores])
    return both
