"""Reads the configuration and the weights in a `.keras` file, without Keras.

A file is only data, and may come from anyone: everything that it declares is checked before it is
read.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from app.archives import read_members
from app.network.functions import Array
from app.network.graph import Step, read_steps
from app.network.kinds import weight_names
from app.network.weights_file import WeightsFile, open_weights

MAX_WEIGHTS = 1 << 26  # 256 MiB as float32; the largest published network has 5 million
MAX_CONFIG_BYTES = 1 << 21  # 14 times that of the largest published network
MAX_DEPTH = 100  # objects and lists inside each other; the largest published network has 11
_VARIABLES = "vars"  # Keras's name of the group with a layer's weights
_CONFIG, _WEIGHTS, _METADATA = "config.json", "model.weights.h5", "metadata.json"
_LIMITS = {
    _CONFIG: MAX_CONFIG_BYTES,
    _METADATA: 1 << 16,
    _WEIGHTS: 4 * MAX_WEIGHTS + (1 << 24),  # 16 MiB for the structure of the HDF5 file
}


class KerasFileError(ValueError):
    """A `.keras` file that cannot be read, or that declares more than it may."""


def read_keras_file(
    content: bytes, max_weights: int = MAX_WEIGHTS
) -> tuple[list[Step], int, list[dict[str, Array]]]:
    """Read a `.keras` file.

    Args:
        content: Bytes of the file.
        max_weights: Number of weights that the layers may have together.

    Returns:
        The layers in an order in which they can be computed, the index of the layer whose output is
        the network's, and the weights of each layer by name, float32.

    Raises:
        KerasFileError: The bytes are not a `.keras` file, its network cannot be read, or it
            declares more than it may.
    """
    with _opened(content, max_weights) as (steps, output, file):
        stored = {step.store: _weights(file, step) for step in steps if not step.output}
        return steps, output, [{} if step.output else stored[step.store] for step in steps]


def check_keras_file(content: bytes, max_weights: int = MAX_WEIGHTS) -> int:
    """Check a `.keras` file without reading its weights.

    Args:
        content: Bytes of the file.
        max_weights: Number of weights that the layers may have together.

    Returns:
        The number of weights.

    Raises:
        KerasFileError: `read_keras_file` would refuse the file.
    """
    with _opened(content, max_weights) as (steps, _, file):
        return _count_weights(file, steps)


@contextmanager
def _opened(content: bytes, max_weights: int) -> Iterator[tuple[list[Step], int, WeightsFile]]:
    """Yield the layers, the index of the output and the checked weights file."""
    try:
        config, stored = read_keras_parts(content)
        steps, output = read_steps(config)
        with open_weights(stored) as file:
            weights = _count_weights(file, steps)
            if weights > min(max_weights, MAX_WEIGHTS):
                raise ValueError(
                    f"its layers have {weights} weights; at most {min(max_weights, MAX_WEIGHTS)}"
                    " are expected"
                )
            yield steps, output, file
    except MemoryError:
        raise
    # The configuration may have any form, and each has its own exception.
    except Exception as error:
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise KerasFileError(f"not a readable .keras file: {reason}") from error


def read_keras_parts(content: bytes) -> tuple[Mapping[str, Any], bytes]:
    """Return the configuration and the weights file of a `.keras` file.

    Raises:
        ValueError: It is no `.keras` file, or a part is missing, damaged or too large.
    """
    members = read_members(content, _LIMITS)
    for name in (_CONFIG, _WEIGHTS):
        if name not in members:
            raise ValueError(f"it holds no {name}")
    return parse_config(members[_CONFIG]), members[_WEIGHTS]


def parse_config(content: bytes) -> Mapping[str, Any]:
    """Parse the configuration of a network.

    Raises:
        ValueError: It is no JSON object, or has too many levels.
    """
    try:
        config = json.loads(content)
    except RecursionError as error:
        raise ValueError(f"{_CONFIG} has more than {MAX_DEPTH} levels") from error
    if not isinstance(config, dict):
        raise ValueError(f"{_CONFIG} must hold an object, not {type(config).__name__}")
    level: list[Any] = [config]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
    if level:
        raise ValueError(f"{_CONFIG} has more than {MAX_DEPTH} levels")
    return config


def _count_weights(file: WeightsFile, steps: list[Step]) -> int:
    groups = {group for step in steps for group in _groups(file, step)}
    return sum(file.count(group) for group in groups)


def _groups(file: WeightsFile, step: Step) -> list[str]:
    """Return the groups with a layer's weights: its own, then those of layers inside it."""
    own = f"{step.store}/{_VARIABLES}"
    inner = (
        group
        for group in file.groups
        if group.startswith(f"{step.store}/")
        and group.endswith(f"/{_VARIABLES}")
        and not group.endswith(f"seed_generator/{_VARIABLES}")
        and file.groups[group]
    )
    return [group for group in (own, *sorted(inner)) if group in file.groups]


def _weights(file: WeightsFile, step: Step) -> dict[str, Array]:
    """Return a layer's weights by name.

    Raises:
        ValueError: Weights that the class has are missing, or there are more.
    """
    names, weights = weight_names(step), dict[str, Array]()
    for group in dict.fromkeys(_groups(file, step)):
        stored = file.groups[group]
        path = group.removeprefix(f"{step.store}/").removesuffix(_VARIABLES)
        here = tuple(name for name in names if name.rpartition("/")[0] == path.rstrip("/"))
        here = here or tuple(f"{path}weight_{index}" for index in range(len(stored)))
        if len(here) != len(stored):
            raise ValueError(
                f"the layer {step.name!r} has {len(stored)} weights; expected {', '.join(here)}"
            )
        weights |= {name: file.read(group, str(index)) for index, name in enumerate(here)}
    missing = [name for name in names if name not in weights]
    if missing:
        raise ValueError(
            f"the weights of the layer {step.name!r} are missing ({step.store}/{_VARIABLES}):"
            f" {', '.join(missing)}"
        )
    return weights
