"""Small snapshots of a network's weights after the epochs of its training.

Large tensors are stored as int8 with one scale per output channel, the others as float32: ten
snapshots of the classic network take 8 MB. They show how the network learned and are not served.
They do not contain the temperature of the published network.
"""

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

MIN_INT8_VALUES = 1000  # smaller tensors stay float32: int8 would save little
SCALE = ":scale"  # suffix of the array with a tensor's scales


def choose_epochs(epochs: int, count: int = 10) -> list[int]:
    """Choose epochs to keep: close together at first, when the weights change most.

    Args:
        epochs: Number of epochs; 0 for an ensemble.
        count: Number of epochs to keep, at most; the first and the last are among them.
    """
    if not epochs:
        return []
    spaced = np.geomspace(1, epochs, count)
    chosen: list[int] = []
    for at, epoch in enumerate(spaced):
        earliest = chosen[-1] + 1 if chosen else 1
        chosen.append(min(max(round(float(epoch)), earliest), epochs - (len(spaced) - 1 - at)))
    return sorted({epoch for epoch in chosen if 1 <= epoch <= epochs})


def file_name(epoch: int) -> str:
    """Return the file name of an epoch's snapshot."""
    return f"epoch-{epoch:03}.npz"


def save(network: keras.Model, path: Path) -> None:
    """Write the weights of a network.

    Args:
        network: The network. The arrays are named by layer and variable, such as `conv_1_1/kernel`.
        path: The `.npz` file to write.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    for variable in network.weights:
        name = variable.path.split("/", 1)[1]  # without the network's name
        values = np.asarray(keras.ops.convert_to_numpy(variable), np.float32)
        if values.size < MIN_INT8_VALUES:
            arrays[name] = values
            continue
        scale = np.abs(values).max(axis=tuple(range(values.ndim - 1))) / 127
        scale = np.where(scale == 0, 1, scale).astype(np.float32)
        arrays[name] = np.round(values / scale).astype(np.int8)
        arrays[name + SCALE] = scale
    np.savez_compressed(path, allow_pickle=False, **arrays)


def load(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return a snapshot's arrays, float32, by layer and variable.

    Args:
        path: A file that `save` wrote.
    """
    with np.load(path, allow_pickle=False) as stored:
        return {
            name: np.asarray(
                stored[name].astype(np.float32) * stored[name + SCALE]
                if name + SCALE in stored
                else stored[name]
            )
            for name in stored
            if not name.endswith(SCALE)
        }


def restore(network: keras.Model, path: Path) -> None:
    """Give a network the weights of a snapshot.

    Raises:
        KeyError: The snapshot lacks one of the network's weights.
        ValueError: A weight has another shape.
    """
    stored = load(path)
    network.set_weights([stored[variable.path.split("/", 1)[1]] for variable in network.weights])
