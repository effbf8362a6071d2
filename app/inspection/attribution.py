"""Which pixels spoke for an answer, by gradients, integrated gradients, Grad-CAM or occlusion.

What is explained is a class's logit, or the difference of two. A network that does not end in a
softmax, such as an average of several networks' probabilities, has the logarithms of its
probabilities for logits: softmax gives the same probabilities of these. Gradients are worked out in
NumPy (`app.network`), so that none of this needs TensorFlow; occlusion runs on the compiled twin.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from app.cancellation import check_cancelled
from app.errors import InvalidInputError
from app.inference.model import Model
from app.inspection.receptive_field import receptive_fields
from app.network.functions import MIN_PROBABILITY, Array, log_probabilities
from app.network.graph import IMAGE
from app.network.network import Layer, Network

Method = Literal["gradient", "smoothgrad", "integrated-gradients", "grad-cam", "occlusion"]
METHODS: tuple[Method, ...] = get_args(Method)
Map = NDArray[np.float32]  # (28, 28)
# Values of the explained quantity for images (N, 28, 28).
Score = Callable[[NDArray[np.float32]], NDArray[np.float32]]

CHUNK = 16  # images whose activations are held at once: some 2 MB of each
SMOOTH_SAMPLES, SMOOTH_NOISE = 32, 0.15  # noise in shares of the range 0..255
STEPS = 64  # of integrated gradients
PATCH, STRIDE = 4, 2  # pixels, of occlusion
SEED = 7


@dataclass(frozen=True)
class Question:
    """What is explained: the logit of `target`, or how far it is above that of `contrast`."""

    target: int
    contrast: int | None = None

    def __post_init__(self) -> None:
        """Refuse a contrast of a class with itself."""
        if self.target == self.contrast:
            raise InvalidInputError(
                f"'target' and 'contrast' are both {self.target}; leave 'contrast' out, or ask for"
                " another digit."
            )

    def weights(self) -> Map:
        """Return the factor of each logit, `[10]`."""
        row = np.zeros(10, np.float32)
        row[self.target] = 1
        if self.contrast is not None:
            row[self.contrast] = -1
        return row


@dataclass(frozen=True)
class Attribution:
    """A map of what each pixel contributed.

    Attributes:
        values: float32 `[28, 28]`, finite.
        coarse: The map before it was brought to 28x28, for Grad-CAM, else None.
        layer: The layer that it was taken of, for Grad-CAM, else None.
        reached: What the map adds up to, for integrated gradients, else None.
        expected: What it should add up to, likewise.
    """

    values: Map
    coarse: Map | None = None
    layer: str | None = None
    reached: float | None = None
    expected: float | None = None


def logits_of(network: Network, outputs: Sequence[Array]) -> Array:
    """Return the logits `[N, 10]` among all layers' outputs, or the logarithms of probabilities."""
    if network.logits is not None:
        return outputs[network.logits]
    return log_probabilities(outputs[network.output])


def network_score(network: Network, question: Question) -> Score:
    """Return what scores images by the arithmetic of `app.network`."""
    weights = question.weights()

    def score(images: NDArray[np.float32]) -> NDArray[np.float32]:
        outputs = network.forward(images[..., None])
        return np.asarray(logits_of(network, outputs) @ weights)

    return _in_parts(score)


def model_score(model: Model, question: Question) -> Score:
    """Return what scores images by the compiled twin, which is faster."""

    def score(images: NDArray[np.float32]) -> NDArray[np.float32]:
        found = model.runtime.predict(images)
        if model.network.logits is None:
            return np.asarray(log_probabilities(found.probabilities) @ question.weights())
        return np.asarray(found.logits @ question.weights())

    return _in_parts(score)


def _in_parts(score: Score) -> Score:
    """Score few images at a time, as long as somebody waits.

    Activations take room, and interpreters are few: predictions wait for one meanwhile.
    """

    def score_all(images: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(images) or 1, CHUNK):
            check_cancelled()
            parts.append(score(images[start : start + CHUNK]))
        return np.concatenate(parts).astype(np.float32)

    return score_all


def attribute(
    network: Network,
    score: Score,
    pixels: NDArray[np.uint8],
    question: Question,
    method: Method,
    *,
    layer: Layer | None = None,
    steps: int = STEPS,
) -> Attribution:
    """Work out a map.

    Args:
        network: The network.
        score: What scores images, for occlusion.
        pixels: uint8 `[28, 28]`.
        question: What is explained.
        method: How.
        layer: For Grad-CAM, the layer whose channels are weighed; the last convolution if None.
        steps: For integrated gradients.

    Raises:
        UnsupportedLayerError: A layer's arithmetic is not known.
    """
    image = pixels.astype(np.float32)
    if method == "occlusion":
        return Attribution(occlusion(score, image))
    if method == "grad-cam":
        return grad_cam(network, image, question, layer)
    if method == "gradient":
        return Attribution(_gradients(network, image[None], question)[0])
    if method == "smoothgrad":
        rng = np.random.default_rng(SEED)
        noise = rng.normal(0, SMOOTH_NOISE * 255, (SMOOTH_SAMPLES, *image.shape))
        noisy = (image + noise).astype(np.float32)
        return Attribution(_gradients(network, noisy, question).mean(axis=0))
    return integrated_gradients(network, image, question, steps)


def integrated_gradients(
    network: Network, image: Map, question: Question, steps: int
) -> Attribution:
    """Sum gradients along the straight way from black to the image.

    Sundararajan et al., 2017, arXiv:1703.01365; the integral by the midpoint rule. The map should
    add up to the change of what is explained between black and the image (completeness).
    """
    way = (np.arange(steps, dtype=np.float32) + 0.5) / steps
    along = way[:, None, None] * image
    mean = _gradients(network, along, question).astype(np.float64).mean(axis=0)
    values = (image * mean).astype(np.float32)
    score = network_score(network, question)
    black, full = score(np.stack([np.zeros_like(image), image])).astype(np.float64)
    return Attribution(values, reached=float((image * mean).sum()), expected=float(full - black))


def grad_cam(network: Network, image: Map, question: Question, layer: Layer | None) -> Attribution:
    """Weigh the channels of the last convolution by their mean gradient, keep what is positive.

    Selvaraju et al., 2017, arXiv:1610.02391. A network with several branches has several last
    convolutions; their maps are added. Each unit is drawn at the middle of what it sees.
    """
    chosen = [layer] if layer else last_maps(network)
    if not chosen or not all(one.spatial for one in chosen):
        raise InvalidInputError(
            "Grad-CAM needs a layer with rows, columns and channels.",
            valid=[one.name for one in network.layers if one.spatial],
        )
    batch = image[None, ..., None]
    outputs = network.forward(batch)
    grads = network.gradients(batch, outputs, _seed(network, outputs, question, 1))
    seen, coarse = receptive_fields(network), None
    total: Array = np.zeros_like(image)
    for one in chosen:
        if one.index not in grads:
            continue
        grad, value = grads[one.index][0], outputs[one.index][0]
        coarse = np.maximum((value * grad.mean(axis=(0, 1))).sum(axis=-1), 0).astype(np.float32)
        field = seen[one.index]
        if field.stride is None or field.offset is None:
            raise InvalidInputError(f"The units of {one.name!r} have no place on the image.")
        middles = [
            field.offset[axis]
            + (field.size[axis] - 1) / 2
            + field.stride[axis] * np.arange(coarse.shape[axis])
            for axis in (0, 1)
        ]
        total = total + _spread(coarse, middles[0], middles[1])
    name = ", ".join(one.name for one in chosen)
    return Attribution(total.astype(np.float32), coarse if len(chosen) == 1 else None, name)


def last_maps(network: Network) -> list[Layer]:
    """Return the layers that hold the last convolutions' maps, after normalisation and ReLU."""
    users: dict[int, list[Layer]] = {}
    for layer in network.layers:
        for at in layer.inputs:
            users.setdefault(at, []).append(layer)
    followed: set[int] = set()  # layers behind which another convolution comes
    for layer in reversed(network.layers):
        if any(
            user.index in followed or user.is_convolution for user in users.get(layer.index, [])
        ):
            followed.add(layer.index)
    found = []
    for layer in network.layers:
        if not layer.is_convolution or layer.index in followed:
            continue
        while len(following := users.get(layer.index, [])) == 1 and following[0].elementwise:
            layer = following[0]
        found.append(layer)
    return found


def occlusion(score: Score, image: Map, *, patch: int = PATCH, stride: int = STRIDE) -> Map:
    """Black out a patch at every place; a pixel gets the mean loss over the patches that hide it.

    Zeiler and Fergus, 2014, arXiv:1311.2901.
    """
    height, width = image.shape
    corners = [
        (top, left)
        for top in range(0, height - patch + 1, stride)
        for left in range(0, width - patch + 1, stride)
    ]
    hidden = np.repeat(image[None], len(corners) + 1, axis=0)
    for at, (top, left) in enumerate(corners, start=1):
        hidden[at, top : top + patch, left : left + patch] = 0
    changed = (hidden[1:] != image).any(axis=(1, 2))
    wanted = np.concatenate([[True], changed])  # a patch that hides only black changes nothing
    scores = np.zeros(len(hidden), np.float32)
    scores[wanted] = score(hidden[wanted])
    loss = np.where(changed, scores[0] - scores[1:], 0)
    total, count = np.zeros_like(image), np.zeros_like(image)
    for (top, left), one in zip(corners, loss, strict=True):
        total[top : top + patch, left : left + patch] += one
        count[top : top + patch, left : left + patch] += 1
    return np.asarray(total / np.maximum(count, 1), np.float32)


def _seed(
    network: Network, outputs: Sequence[Array], question: Question, count: int
) -> dict[int, Array]:
    """Return by layer the gradient of the explained quantity, for `count` images."""
    weights = np.repeat(question.weights()[None], count, axis=0)
    if network.logits is not None:
        return {network.logits: weights}
    return {network.output: weights / np.maximum(outputs[network.output], MIN_PROBABILITY)}


def _gradients(network: Network, images: Array, question: Question) -> Array:
    """Return the gradient of the explained quantity for each image, `[N, 28, 28]`."""
    parts = []
    for start in range(0, len(images), CHUNK):
        check_cancelled()
        batch = images[start : start + CHUNK, ..., None]
        outputs = network.forward(batch)
        found = network.gradients(batch, outputs, _seed(network, outputs, question, len(batch)))
        parts.append(found.get(IMAGE, np.zeros_like(batch))[..., 0])
    return np.concatenate(parts)


def _spread(coarse: Map, rows: Array, columns: Array) -> Array:
    """Interpolate a coarse map linearly; beyond its outermost units it fades to 0 in one step."""
    pixels = np.arange(28)
    padded = np.pad(coarse, 1)
    tall = np.stack([np.interp(pixels, _more(rows), column) for column in padded.T], axis=1)
    return np.stack([np.interp(pixels, _more(columns), row) for row in tall])


def _more(middles: Array) -> Array:
    """Put one more place before and behind evenly spaced ones."""
    step = middles[1] - middles[0] if middles.size > 1 else 28.0
    return np.concatenate([[middles[0] - step], middles, [middles[-1] + step]])
