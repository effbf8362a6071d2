"""Joins networks into an ensemble, whose answer is the mean of their probabilities.

The members stay complete models inside it, each with its own name. Every layer of a member can
therefore be inspected, and so can its share of the vote.
"""

from collections.abc import Mapping

import keras
import numpy as np

from app.inference.keras_runtime import KerasRuntime
from training import calibrate
from training.data import Split
from training.fit import Fitted


def join_fitted(members: Mapping[str, Fitted], validation: Split) -> Fitted:
    """Calibrate trained networks and join them.

    Each network gets its own temperature, which calibrates it. The mean of calibrated networks is
    less confident than it is accurate (Rahaman and Thiery, 2021, arXiv:2007.08792), so a second
    temperature, the same for all, is fitted to the mean.

    Args:
        members: Runs by name, all of them refitted or none. Their logits layers are scaled in
            place.
        validation: The held-out digits, for the temperatures.

    Returns:
        The joined network. It has no epochs and no snapshots of its own.
    """
    own, logits, votes = {}, [], []
    for name, member in members.items():
        raw = KerasRuntime(member.network).predict(validation.images)
        own[name] = calibrate.fit_temperature([raw.logits], validation.labels)
        logits.append(raw.logits / own[name])
        votes.append(raw.probabilities)
    shared = calibrate.fit_temperature(logits, validation.labels)
    networks, refitted = {}, {}
    for name, member in members.items():
        calibrate.fold_temperature(member.network, own[name] * shared)
        networks[name] = member.network
        if member.refitted:
            calibrate.fold_temperature(member.refitted, own[name] * shared)
            refitted[name] = member.refitted
    first = next(iter(members.values()))
    after = join(refitted) if refitted else None
    return Fitted(
        join(networks),
        [],
        first.epoch,
        first.snapshots,
        after,
        uncalibrated=np.mean(votes, axis=0, dtype=np.float32),
    )


def join(members: Mapping[str, keras.Sequential]) -> keras.Model:
    """Join networks that vote with equal weights.

    Args:
        members: Trained, calibrated networks by name.

    Returns:
        A network of copies of the members, without dropout, and an `Average` layer.
    """
    image = keras.Input((28, 28, 1), name="image")
    votes = [_copy(name, member)(image) for name, member in members.items()]
    return keras.Model(image, keras.layers.Average(name="vote")(votes), name="ensemble")


def _copy(name: str, member: keras.Sequential) -> keras.Sequential:
    layers = [layer for layer in member.layers if not isinstance(layer, keras.layers.Dropout)]
    copies = [type(layer).from_config(layer.get_config()) for layer in layers]
    copy = keras.Sequential([keras.Input((28, 28, 1), name="image"), *copies], name=name)
    for layer, original in zip(copies, layers, strict=True):
        layer.set_weights(original.get_weights())
    return copy
