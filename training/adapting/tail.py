"""Splits a network into the layers that stay and the tail that learns.

The tail is a chain of layers up to the logits: the dense layer that gives them, or everything from
the last convolution on. Knows Keras models; knows nothing of pictures.
"""

import json
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from app.network.graph import IMAGE, Step, is_softmax, read_steps
from training.data import Images
from training.errors import AdaptError

CONVOLUTIONS = {"Conv1D", "Conv2D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"}
CHUNK = 500  # images that run at once

Features = NDArray[np.float32]  # (N, ...), what the tail receives


@dataclass(frozen=True)
class SplitNetwork:
    """A network whose tail learns; both parts share its weights.

    Attributes:
        network: The whole network.
        front: From the image to what the tail receives.
        tail: From there to the logits.
        layers: Names of the tail's layers, in order; the last one gives the logits.
    """

    network: keras.Model
    front: keras.Model
    tail: keras.Model
    layers: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of what the tail receives for one image."""
        return tuple(self.tail.input_shape[1:])

    def features(self, images: Images) -> Features:
        """Return what the tail receives for images `[N, 28, 28]`, 0..255."""
        return _run(self.front, images.astype(np.float32)[..., None], self.shape)

    def logits(self, features: Features) -> NDArray[np.float32]:
        """Return the logits, `[N, classes]`, of what the tail receives."""
        return _run(self.tail, features, tuple(self.tail.output_shape[1:]))


def _run(part: keras.Model, inputs: NDArray[np.float32], shape: tuple[int, ...]) -> Features:
    """Run a part of a network; return float32 `[N, *shape]`."""
    outputs = [
        np.asarray(part(inputs[start : start + CHUNK], training=False))
        for start in range(0, len(inputs), CHUNK)
    ]
    return np.concatenate(outputs or [np.empty((0, *shape), np.float32)])


def split_network(network: keras.Model, name: str, *, deep: bool) -> SplitNetwork:
    """Split a network before the layers that learn.

    Args:
        network: The network; it ends in a dense layer and a softmax.
        name: Its name, for messages.
        deep: Whether all layers from the last convolution on learn.

    Raises:
        AdaptError: The network ends in another way.
    """
    steps, output = read_steps(json.loads(network.to_json()))
    chain = _find_chain(steps, output, name, deep=deep)
    names = tuple(steps[at].name for at in chain)
    cut = network.get_layer(names[0]).input
    front = keras.Model(network.inputs[0], cut)
    received = keras.Input(cut.shape[1:])
    out = received
    for layer in names:
        out = network.get_layer(layer)(out)
    return SplitNetwork(network, front, keras.Model(received, out), names)


def _find_chain(steps: list[Step], output: int, name: str, *, deep: bool) -> list[int]:
    """Return the positions of the tail's layers, in order."""
    last = steps[output]
    if not is_softmax(last) or steps[last.inputs[0]].kind != "Dense" or "/" in last.name:
        raise AdaptError(
            f"The model {name!r} does not end in one dense layer and a softmax, so it has no dense"
            " end that could learn. If it is an ensemble, adapt a single network instead, such as"
            " --from compact."
        )
    chain = [last.inputs[0]]
    while deep and steps[chain[0]].kind not in CONVOLUTIONS:
        before = steps[chain[0]].inputs
        if len(before) != 1 or before[0] == IMAGE:
            raise AdaptError(
                f"In the model {name!r}, no chain of layers leads from its last convolution to its"
                " logits, so --deep cannot train it. Leave out --deep."
            )
        chain.insert(0, before[0])
    return chain
