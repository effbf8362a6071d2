"""Snapshots of a network's weights over the epochs of its training, kept small.

Large tensors are stored as int8 with one scale for each output channel, the rest as float32: ten
snapshots of the classic network take 8 MB. They are for looking at how training went, not for
serving; the temperature of the published network is not in them.
"""

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

SMALL = 1000  # values under which a tensor is stored as it is
SCALE = ":scale"


def choose_epochs(epochs: int, count: int = 10) -> list[int]:
    """Choose epochs to keep, close together at first, when weights change most.

    Args:
        epochs: How many there were; none for a network that was joined, not trained.
        count: How many to keep, fewer if there were fewer; the first and the last are among them.
    """
    if not epochs:
        return []
    spaced = np.geomspace(1, epochs, count)
    chosen: list[int] = []
    for at, epoch in enumerate(spaced):
        least = chosen[-1] + 1 if chosen else 1
        chosen.append(min(max(round(float(epoch)), least), epochs - (len(spaced) - 1 - at)))
    return sorted({epoch for epoch in chosen if 1 <= epoch <= epochs})


def file_name(epoch: int) -> str:
    """Return the name of an epoch's snapshot."""
    return f"epoch-{epoch:03}.npz"


def save(network: keras.Model, path: Path) -> None:
    """Write the weights of a network.

    Args:
        network: Its weights are named by layer and variable, such as `conv_1_1/kernel`.
        path: The `.npz` file.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    for variable in network.weights:
        name = variable.path.split("/", 1)[1]  # without the network's own name
        values = np.asarray(keras.ops.convert_to_numpy(variable), np.float32)
        if values.size < SMALL:
            arrays[name] = values
            continue
        scale = np.abs(values).max(axis=tuple(range(values.ndim - 1))) / 127
        scale = np.where(scale == 0, 1, scale).astype(np.float32)
        arrays[name] = np.round(values / scale).astype(np.int8)
        arrays[name + SCALE] = scale
    np.savez_compressed(path, allow_pickle=False, **arrays)


def load(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read a snapshot as float32 arrays by variable.

    Args:
        path: A file written by `save`.
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
