"""Reads the configuration and the weights in a `.keras` file, without Keras."""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from app.network.functions import Array
from app.network.graph import Step, read_steps
from app.network.kinds import weight_names

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"


def read_keras_file(content: bytes) -> tuple[list[Step], int, list[dict[str, Array]]]:
    """Read a `.keras` file.

    Args:
        content: Bytes of the file.

    Returns:
        The layers in an order in which they can be computed, the index of the layer whose output is
        the network's, and the weights of each layer by name, float32.

    Raises:
        ValueError: The bytes are not a `.keras` file, or its network cannot be read.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            config = json.loads(archive.read(_CONFIG))
            stored = archive.read(_WEIGHTS)
        if not isinstance(config, dict):
            raise ValueError(f"{_CONFIG} must hold an object, not {type(config).__name__}")
        steps, output = read_steps(config)
        with h5py.File(io.BytesIO(stored), "r") as file:
            return steps, output, [_weights(file, step) for step in steps]
    # The ZIP, JSON and HDF5 readers raise these on damaged files.
    except (zipfile.BadZipFile, KeyError, TypeError, OSError, RuntimeError) as error:
        raise ValueError(f"not a readable .keras file: {error}") from error


def _weights(file: Mapping[str, Any], step: Step) -> dict[str, Array]:
    path = f"{step.store}/vars"
    if path not in file:
        if weight_names(step):
            raise ValueError(f"the weights of the layer {step.name!r} are missing ({path})")
        return {}
    group = file[path]
    names = weight_names(step) or tuple(f"weight_{index}" for index in range(len(group)))
    if len(names) != len(group):
        raise ValueError(
            f"the layer {step.name!r} has {len(group)} weights; expected {', '.join(names)}"
        )
    return {name: np.asarray(group[str(index)], np.float32) for index, name in enumerate(names)}
