"""Networks joined into one that gives the mean of their probabilities.

The joined network is one flat graph of stock layers, each named after its member, so that it is
saved, compiled, counted and inspected like any other.
"""

from collections.abc import Mapping

import keras
import numpy as np
from numpy.typing import NDArray

from app.inference.keras_runtime import KerasRuntime
from training import calibrate
from training.data import Split
from training.fit import Fitted


def join_fitted(members: Mapping[str, Fitted], validation: Split) -> Fitted:
    """Calibrate trained networks, each on its own, and join them.

    Args:
        members: Runs by name; their logits layers are scaled in place.
        validation: The held-out digits, for the temperatures.

    Returns:
        The joined network, without epochs or snapshots of its own.
    """
    for member in members.values():
        logits = KerasRuntime(member.network).predict(validation.images).logits
        calibrate.fold_temperature(
            member.network, calibrate.fit_temperature(logits, validation.labels)
        )
    first = next(iter(members.values()))
    network = join({name: member.network for name, member in members.items()})
    return Fitted(network, [], first.epoch, first.snapshots)


def join(members: Mapping[str, keras.Model]) -> keras.Model:
    """Join networks that vote with equal weights.

    The softmax of `logits` is the mean of the members' probabilities; the logits' energy
    (log-sum-exp), which tells digits from other things, is the mean of the members' energies.

    Args:
        members: Trained, calibrated networks by name; each ends in `logits` and `softmax`.

    Returns:
        A network with copies of their weights, without the layers that only training uses. Its
        layer `features` holds what enters the members' logits, side by side.
    """
    layers, ops = keras.layers, keras.ops
    image = keras.Input((28, 28, 1), name="image")
    bodies = [_body(name, member, image) for name, member in members.items()]
    features = layers.Concatenate(name="features")(bodies)
    heads = [member.get_layer("logits") for member in members.values()]
    head = layers.Dense(10 * len(heads), name="member_logits")
    scores = layers.Reshape((len(heads), 10), name="members")(head(features))
    head.set_weights(
        [_diagonal([h.kernel for h in heads]), np.concatenate([h.bias for h in heads])]
    )
    votes = layers.Softmax(name="member_softmax")(scores)  # (N, members, 10)
    vote = layers.GlobalAveragePooling1D(name="vote")(votes)  # (N, 10)
    energy = ops.mean(ops.logsumexp(scores, axis=2), axis=1, keepdims=True)  # (N, 1)
    # The identity is where the temperature of the whole goes.
    logits = layers.Dense(10, use_bias=False, kernel_initializer="identity", name="logits")(
        ops.log(ops.maximum(vote, 1e-12)) + energy
    )
    return keras.Model(image, layers.Softmax(name="softmax")(logits), name="ensemble")


def _body(name: str, member: keras.Model, image: keras.KerasTensor) -> keras.KerasTensor:
    """Repeat a member's layers, up to what enters its logits, on `image`."""
    values = image
    for layer in member.layers:
        if layer.name == "logits":
            break
        if isinstance(layer, keras.layers.Dropout):
            continue
        copy = type(layer).from_config({**layer.get_config(), "name": f"{name}_{layer.name}"})
        values = copy(values)
        copy.set_weights(layer.get_weights())
    return values


def _diagonal(kernels: list[keras.Variable]) -> NDArray[np.float32]:
    """Lay `[I, 10]` kernels along a diagonal, so that each member sees its own features only."""
    height = sum(kernel.shape[0] for kernel in kernels)
    whole = np.zeros((height, 10 * len(kernels)), np.float32)
    row = 0
    for index, kernel in enumerate(kernels):
        whole[row : row + kernel.shape[0], 10 * index : 10 * (index + 1)] = kernel
        row += kernel.shape[0]
    return whole
