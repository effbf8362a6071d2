"""Reads the configuration of a Keras file as data and finds everything that would run code.

Keras's own safe mode comes second: this names each place, and what to do about it, before Keras
sees the file.
"""

import io
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import keras

from app.network.keras_file import MAX_CONFIG_BYTES, MAX_WEIGHTS, parse_config, read_keras_parts
from app.network.weights_file import open_weights
from training.errors import ImportingError

LAMBDA = "lambda"  # what `--trust` takes for code in the file itself; no module has this name
_SPECIAL = ("__tensor__", "__numpy__", "__bytes__", "__tuple__", "__slice__", "__ellipsis__")
_READS_FILES = ("StringLookup", "IntegerLookup", "TextVectorization", "HashedCrossing", "TFSMLayer")
_OTHER_FRAMEWORKS = ("TorchModuleWrapper", "JaxLayer", "FlaxLayer")
_NAMESPACES = (
    keras.layers,
    keras.initializers,
    keras.regularizers,
    keras.constraints,
    keras.activations,
    keras,
)
_NOT_BUILT = ("compile_config", "build_config", "keras_version", "backend")  # parts not needed


@dataclass(frozen=True)
class Unsafe:
    """A part of a configuration that needs trust.

    Attributes:
        layer: Name of the layer.
        kind: Its class, or the function that it uses.
        place: Where it is in the configuration.
        in_file: Whether its code is in the file itself.
    """

    layer: str
    kind: str
    place: str
    in_file: bool

    def sentence(self) -> str:
        """Return what it is and what to do."""
        if self.in_file:
            return (
                f"The layer {self.layer!r} ({self.kind}, {self.place}) holds Python code, which is"
                " not run. Replace it by a layer of Keras such as Rescaling, Reshape or Permute,"
                f" or, if you trust the file, add --trust {LAMBDA}."
            )
        return (
            f"The layer {self.layer!r} ({self.place}) needs {self.kind!r}, which is no part of"
            " Keras. Give the Python module that defines it: --trust MODULE."
        )


def read_config(content: bytes, form: str) -> tuple[Mapping[str, Any], int]:
    """Read the configuration of a `.keras` or `.h5` file, and count the weights that it stores.

    Raises:
        ImportingError: The file is damaged, holds only weights, or declares more than it may.
    """
    try:
        config, weights = read_keras_parts(content) if form == "keras" else _read_h5(content)
        with open_weights(weights) as file:
            stored = sum(file.count(group) for group in file.groups if "optimizer" not in group)
    except ValueError as error:
        raise ImportingError(f"The file cannot be read: {error}.") from error
    if stored > MAX_WEIGHTS:
        raise ImportingError(f"The file has {stored:,} weights; at most {MAX_WEIGHTS:,} are read.")
    return config, stored


def _read_h5(content: bytes) -> tuple[Mapping[str, Any], bytes]:
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            if "model_config" not in file.attrs:
                raise ValueError(
                    "it holds weights but no network; save all of it with model.save('model.keras')"
                )
            if file.attrs.get_id("model_config").get_storage_size() > MAX_CONFIG_BYTES:
                raise ValueError(f"its configuration has more than {MAX_CONFIG_BYTES} bytes")
            config = file.attrs["model_config"]
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"it is no readable HDF5 file: {error}") from error
    text = config if isinstance(config, bytes) else str(config).encode()
    if len(text) > MAX_CONFIG_BYTES:
        raise ValueError(f"its configuration has more than {MAX_CONFIG_BYTES} bytes")
    try:
        return parse_config(text), content
    except json.JSONDecodeError as error:
        raise ValueError(f"its configuration is no JSON: {error}") from error


def check_safe(config: Mapping[str, Any], trusted: Collection[str]) -> None:
    """Refuse a configuration with code that is not trusted.

    Args:
        config: Contents of the configuration.
        trusted: The names that `--trust` gave; names of classes and functions of trusted modules.

    Raises:
        ImportingError: The first part that needs trust; how many others there are.
    """
    found = [
        part
        for part in find_unsafe(config)
        if (LAMBDA if part.in_file else part.kind) not in trusted
    ]
    if found:
        more = f" {len(found) - 1} other layers need trust, too." if len(found) > 1 else ""
        raise ImportingError(found[0].sentence() + more)


def find_unsafe(config: Mapping[str, Any]) -> list[Unsafe]:
    """Return every part of a configuration that Keras itself does not define."""
    return list(_walk(config, "the model", ""))


def _walk(value: Any, layer: str, place: str) -> Iterator[Unsafe]:
    if isinstance(value, list):
        for index, part in enumerate(value):
            yield from _walk(part, layer, f"{place}[{index}]")
        return
    if not isinstance(value, Mapping):
        return
    kind, inner = value.get("class_name"), value.get("config")
    if isinstance(kind, str):
        if isinstance(inner, Mapping) and isinstance(inner.get("name"), str):
            layer = inner["name"]
        place_here = place or "the top"
        if kind in _READS_FILES:
            raise ImportingError(
                f"The layer {layer!r} ({kind}, {place_here}) reads other files; networks of images"
                " do not need it. Remove it."
            )
        if kind in _OTHER_FRAMEWORKS:
            raise ImportingError(
                f"The layer {layer!r} ({kind}, {place_here}) runs code of another framework;"
                " export the network to ONNX instead (docs/import.md)."
            )
        if kind in ("Lambda", "__lambda__"):
            function = _named_function(inner)
            yield Unsafe(layer, function or "Lambda", place_here, in_file=function is None)
            return
        if kind == "function":
            name = str(inner if isinstance(inner, str) else value.get("registered_name"))
            if not _is_stock_function(name):
                yield Unsafe(layer, name, place_here, in_file=False)
            return
        if not _is_stock(value, kind):
            yield Unsafe(layer, kind, place_here, in_file=False)
    for key, part in value.items():
        if key not in _NOT_BUILT:
            step = f".{key}" if place else str(key)
            yield from _walk(part, layer, (place + step).replace("config.layers", "layers"))


def _named_function(config: Any) -> str | None:
    """Return the name of a Lambda's function that a module defines; None for code in the file."""
    function = config.get("function") if isinstance(config, Mapping) else None
    if isinstance(function, Mapping) and function.get("class_name") == "function":
        return str(function.get("config"))
    if isinstance(function, str) and config.get("function_type") == "function":
        return function
    return None


def _is_stock(value: Mapping[str, Any], kind: str) -> bool:
    """Tell whether a class is Keras's own: by its name, its module and its registration."""
    if kind in _SPECIAL or kind == "__keras_tensor__" or kind in ("Sequential", "Functional"):
        return True
    module, registered = value.get("module"), value.get("registered_name")
    if module is not None and str(module).split(".")[0] != "keras":
        return False
    if registered is not None and ">" in str(registered):
        return False
    if module is not None and str(module).startswith("keras.src.ops"):
        return True
    return any(hasattr(namespace, kind) for namespace in _NAMESPACES)


def _is_stock_function(name: str) -> bool:
    return hasattr(keras.activations, name) or hasattr(keras.initializers, name)
