"""What a channel looks for: an image, made by gradient ascent, that the channel answers strongly.

Activation maximisation: Erhan et al., 2009, "Visualizing higher-layer features of a deep network".
Without regularisation the result is noise. As in Olah et al., 2017 (Feature visualization,
doi:10.23915/distill.00007), the image is moved a little before each step and blurred after it, less
and less; ink fades, so that only ink that the channel asks for stays.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from app.cancellation import check_cancelled
from app.errors import InvalidInputError, NotFoundError
from app.inspection.cost_limits import max_gradients
from app.inspection.finite import check_finite
from app.network.functions import Array
from app.network.graph import IMAGE
from app.network.network import Layer, Network

DEFAULT_STEPS, MAX_STEPS = 48, 256
CACHE_SIZE = 2048  # pictures of all models; each takes about 2 kB
_SEED = 0
_START = 40.0  # grey levels; the noise of the first image has values from 0 to this
_STEP = 20.0  # grey levels that a pixel changes by in each step, as a root mean square
_FADE = 0.05  # share of the ink that fades in each step
_SHIFT = 2  # pixels that the image is moved by at most; not in the last eighth of the steps
_BLUR, _LAST_BLUR = 1.0, 0.4  # pixels, the standard deviation after the first and the last step


@dataclass(frozen=True)
class Maximised:
    """The picture that a channel answers most strongly.

    Attributes:
        pixels: uint8 `[28, 28]`, ink high.
        before: The channel's activation for the noise that the ascent started from.
        after: Its activation for `pixels`.
        steps: Steps of the ascent.
    """

    pixels: NDArray[np.uint8]
    before: float
    after: float
    steps: int


class MaximisedPictures:
    """The pictures that were made lately; the oldest are forgotten."""

    def __init__(self) -> None:
        """Start empty."""
        self._lock = Lock()
        self._pictures: OrderedDict[Hashable, Maximised] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Maximised]) -> Maximised:
        """Return the picture of a key; make it if it is not known."""
        with self._lock:
            if key in self._pictures:
                self._pictures.move_to_end(key)
                return self._pictures[key]
        made = make()  # without the lock: it takes long
        with self._lock:
            self._pictures[key] = made
            while len(self._pictures) > CACHE_SIZE:
                self._pictures.popitem(last=False)
        return made


def maximise(
    network: Network,
    layer: Layer,
    channel: int,
    place: tuple[int, ...] | None = None,
    steps: int = DEFAULT_STEPS,
) -> Maximised:
    """Make the picture that a channel answers most strongly.

    Args:
        network: The network.
        layer: The layer.
        channel: The channel, or the unit of a layer without rows and columns.
        place: Row and column, or row, of the unit whose activation is raised; None for the mean of
            the whole channel.
        steps: Steps of the ascent; a large network gets fewer, so that it ends in time.

    Raises:
        NotFoundError: The layer has no such channel or place.
        UnsupportedLayerError: The service cannot differentiate a layer before it, or a value is not
            finite.
        WorkCancelled: Nobody waits for the picture any more.
    """
    _check_unit(layer, channel, place)
    ascent = _Ascent(network, layer, channel, place)
    rng = np.random.default_rng(_SEED)
    image = rng.uniform(0, _START, network.image_shape).astype(np.float32)
    before = ascent.activation(image)
    steps = min(steps, max_gradients(network))
    for step in range(steps):
        check_cancelled()
        left = 1 - step / steps
        down, right = rng.integers(-_SHIFT, _SHIFT + 1, 2) * (left > 1 / 8)
        moved = np.roll(image, (down, right), axis=(0, 1))
        gradient = np.roll(ascent.gradient(moved), (-down, -right), axis=(0, 1))
        size = float(np.sqrt(np.mean(gradient**2)))
        if size > 0:
            image = image + _STEP * gradient / size
        blur = _LAST_BLUR + (_BLUR - _LAST_BLUR) * left
        image = np.clip(_blurred(image * (1 - _FADE), blur), 0, 255)
    pixels = np.rint(image).astype(np.uint8)
    after = ascent.activation(pixels.astype(np.float32))
    return Maximised(pixels.reshape(pixels.shape[:2]), before, after, steps)


def _check_unit(layer: Layer, channel: int, place: tuple[int, ...] | None) -> None:
    layer.check_channels([channel])
    sizes = layer.shape[:-1]
    if place is None:
        return
    if len(place) != len(sizes):
        raise InvalidInputError(
            f"The layer {layer.name!r} has {len(sizes)} axes besides its channels; expected as many"
            " of 'y' and 'x', or none of them."
        )
    if not all(0 <= at < size for at, size in zip(place, sizes, strict=True)):
        raise NotFoundError(
            f"The layer {layer.name!r} has no unit at {list(place)}.",
            valid=[f"{name} 0..{size - 1}" for name, size in zip("yx", sizes, strict=False)],
        )


class _Ascent:
    """The activation of a channel, and the gradient that raises it.

    An activation function may pass no gradient at all, such as a ReLU that is 0 or a softmax that
    is sure. So the gradient raises what the function gets, which raises the activation too.
    """

    def __init__(
        self, network: Network, layer: Layer, channel: int, place: tuple[int, ...] | None
    ) -> None:
        self._network, self._layer, self._place = network, layer, place
        self._channel = channel
        self._raised = _before_function(network, layer)
        # Layers that this one does not depend on are not computed.
        self._known = {
            each.index: np.empty(0, np.float32)
            for each in network.layers[: layer.index]
            if layer.index not in network.downstream(each)
        }

    def activation(self, image: Array) -> float:
        """Return the activation for an image `[28, 28, 1]`: of the unit, or the channel's mean."""
        out = self._network.resume(image[None], self._known, last=self._layer.index)
        values = out[self._layer.index][0]
        check_finite(values, self._layer)
        chosen = values[..., self._channel] if self._place is None else values[self._at]
        return float(np.mean(chosen))

    @property
    def _at(self) -> tuple[int, ...]:
        return (*(self._place or ()), self._channel)

    def gradient(self, image: Array) -> Array:
        """Return the gradient `[28, 28, 1]` of what is raised, for an image."""
        network, raised = self._network, self._raised
        out = network.resume(image[None], self._known, last=raised.index)
        seed = np.zeros_like(out[raised.index])
        if self._place is None:
            seed[..., self._channel] = 1
        else:
            seed[0][self._at] = 1
        found = network.gradients(image[None], out, {raised.index: seed}, wanted={IMAGE})
        gradient = found.get(IMAGE)
        gradient = np.zeros_like(image) if gradient is None else gradient[0]
        check_finite(gradient, self._layer)
        return gradient


def _before_function(network: Network, layer: Layer) -> Layer:
    """Return the layer whose output a layer applies an activation function to, else the layer."""
    operation = layer.operation
    is_function = operation is not None and operation.activation_name is not None
    if not is_function or layer.weights or len(layer.inputs) != 1 or layer.inputs[0] == IMAGE:
        return layer
    before = network.layers[layer.inputs[0]]
    return before if before.shape == layer.shape else layer


def _blurred(image: Array, deviation: float) -> Array:
    """Return an image `[28, 28, 1]` blurred by a Gaussian of three pixels."""
    side = np.float32(np.exp(-0.5 / deviation**2))
    for axis in (0, 1):
        ends = [(1, 1) if at == axis else (0, 0) for at in range(image.ndim)]
        wide = np.pad(image, ends)
        before, after = (np.take(wide, range(at, at + image.shape[axis]), axis) for at in (0, 2))
        image = (image + side * (before + after)) / (1 + 2 * side)
    return np.asarray(image, np.float32)
