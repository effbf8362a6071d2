"""Builds a network again from stock layers in float32, without what acts in training only.

Harmless rewriting: the answers stay the same, and more parts of the service can follow the network.
Models inside models become part of one flat network, because their layers are then layers of the
network for every view.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
from keras import layers

from training.errors import ImportingError, short_reason

MAX_UNROLLED = 64  # steps of a recurrent layer that is unrolled; LiteRT has no operation for loops
RESERVED = ("image", "features")  # names that have a meaning for the compiled model
MAX_MESSAGE = 200  # characters of an error of Keras
_AUGMENTATION = ("RandAugment", "AugMix", "CutMix", "MixUp")
_FLOATS = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16", "float64")
_MERGES: Mapping[str, type[keras.layers.Layer]] = {
    "Add": layers.Add,
    "Subtract": layers.Subtract,
    "Multiply": layers.Multiply,
    "Maximum": layers.Maximum,
    "Minimum": layers.Minimum,
}


@dataclass
class Rebuilder:
    """Calls the layers of a model again, one fresh copy for each layer.

    Attributes:
        changes: What was changed, in sentences, each once.
        names: Names that are taken.
        copies: The copy of each layer, by the id of the layer.
        softmaxes: The softmax that was a part of a layer, by the layer's name.
        permuted: What a permutation to channels first was made of, by the permutation's name.
        masks: Whether a layer so far makes a mask, which an unrolled layer treats differently.
        other_precision: Whether a layer so far did not compute in float32.
    """

    changes: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    copies: dict[int, Any] = field(default_factory=dict)
    softmaxes: dict[str, Any] = field(default_factory=dict)
    permuted: dict[str, Any] = field(default_factory=dict)
    masks: bool = False
    other_precision: bool = False

    def run(self, model: keras.Model, values: Any, prefix: str = "") -> Any:
        """Call all layers of a model on a symbolic tensor; return its outputs."""
        if isinstance(model, keras.Sequential):
            for layer in model.layers:
                values = self._call(layer, prefix, values)
            return values
        # Keras's own walk; its public API gives no access to the call of each layer.
        return model._run_through_graph(
            values, operation_fn=lambda layer: partial(self._call, layer, prefix)
        )

    def _call(self, layer: Any, prefix: str, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.layers.InputLayer):
            return args[0]
        if isinstance(layer, keras.Model) and _is_graph(layer):
            return self.run(layer, args[0], f"{prefix}{layer.name}_")
        kwargs.pop("training", None)
        try:
            return self._call_copy(layer, prefix, args, kwargs)
        except ImportingError:
            raise
        except Exception as error:
            reason = short_reason(error, MAX_MESSAGE)
            raise ImportingError(
                f"The layer {layer.name!r} ({type(layer).__name__}) cannot be built again: {reason}"
            ) from error

    def _call_copy(
        self, layer: Any, prefix: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if not isinstance(layer, keras.layers.Layer):
            return self._operation(layer, args, kwargs)
        if id(layer) not in self.copies:
            self.copies[id(layer)] = self._copy(layer, prefix, args)
        copy = self.copies[id(layer)]
        if _channels_first(layer, args):
            return self._in_channels_last(copy, args[0])
        out = copy(*args, **kwargs)
        return self.softmaxes[copy.name](out) if self._has_softmax(copy) else out

    def _has_softmax(self, copy: Any) -> bool:
        """Tell whether a copied layer is followed by a softmax, which is split off if need be."""
        if copy.name in self.softmaxes:
            return True
        if not isinstance(copy, layers.Dense | layers.Conv1D | layers.Conv2D):
            return False
        if copy.activation is not keras.activations.softmax:
            return False
        copy.activation = keras.activations.linear
        self.softmaxes[copy.name] = layers.Softmax(name=self.take(f"{copy.name}_softmax"))
        self._note("The softmax became a layer of its own, so that there are logits.")
        return True

    def _copy(self, layer: Any, prefix: str, args: tuple[Any, ...]) -> Any:
        name, kind = self.take(prefix + layer.name), type(layer).__name__
        if kind.startswith("Random") or kind in _AUGMENTATION:
            self._note("Layers that change images in training only became identities.")
            return layers.Identity(name=name)
        before = layer.get_config()
        config = _in_float32(before)
        if config != _plain(before):
            self.other_precision = True
            self._note("Mixed precision became float32.")
        config["name"] = name
        self.masks |= isinstance(layer, layers.Masking) or bool(config.get("mask_zero"))
        if not self.masks and self._unroll(config, args):
            self._note("Recurrent layers were unrolled, because LiteRT has no loops.")
        if _channels_first(layer, args):
            self._note("Layers with channels first compute with channels last.")
            config |= {"data_format": "channels_last"} if "data_format" in config else {"axis": -1}
        copy = _make(layer, config)
        weights = layer.get_weights()
        if weights:
            shape = args[0].shape if not isinstance(args[0], list) else None
            if not copy.built and shape is not None and _channels_first(layer, args):
                copy.build((shape[0], *shape[2:], shape[1]))
            elif not copy.built:
                copy(*args)
            copy.set_weights(weights)
        return copy

    def _unroll(self, config: dict[str, Any], args: tuple[Any, ...]) -> bool:
        """Set the option `unroll` of a short recurrent layer, also inside a wrapper."""
        steps = getattr(args[0], "shape", (None, None))[1] if args else None
        options = [config]
        options += [
            config[key]["config"]
            for key in ("layer", "backward_layer")
            if isinstance(config.get(key), dict) and isinstance(config[key].get("config"), dict)
        ]
        changed = False
        for each in options:
            if each.get("unroll") is False and steps is not None and steps <= MAX_UNROLLED:
                each["unroll"] = changed = True
        return changed

    def _in_channels_last(self, copy: Any, value: Any) -> Any:
        """Call a layer between two permutations; a permutation after its inverse is left out."""
        source = _producer(value)
        if isinstance(source, layers.Permute) and source.name in self.permuted:
            value = self.permuted[source.name]
        else:
            value = layers.Permute((2, 3, 1), name=self.take("channels_last"))(value)
        out = copy(value)
        if len(out.shape) != 4:
            return out
        back = layers.Permute((3, 1, 2), name=self.take("channels_first"))
        self.permuted[back.name] = out
        return back(out)

    def _operation(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an operation that is no layer; arithmetic becomes the layer that does the same."""
        kind, values = type(operation).__name__, [*args, *kwargs.values()]
        tensors = [each for each in values if isinstance(each, keras.KerasTensor)]
        numbers = [float(each) for each in values if isinstance(each, int | float)]
        if len(values) == len(tensors) == 2 and kind in _MERGES and _same_shape(tensors):
            return _MERGES[kind](name=self.take(kind.lower()))(tensors)
        if len(tensors) == len(numbers) == 1 and tensors[0] is values[0]:
            scale, offset = {
                "Multiply": (numbers[0], 0.0),
                "TrueDivide": (1 / numbers[0] if numbers[0] else 0.0, 0.0),
                "Divide": (1 / numbers[0] if numbers[0] else 0.0, 0.0),
                "Add": (1.0, numbers[0]),
                "Subtract": (1.0, -numbers[0]),
            }.get(kind, (0.0, 0.0))
            if scale:
                name = self.take(f"{kind.lower()}_number")
                return layers.Rescaling(scale, offset, name=name)(tensors[0])
        return operation(*args, **kwargs)

    def take(self, name: str) -> str:
        """Return a name that is free and that every file format can carry."""
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name).lstrip("_") or "layer"
        free, number = plain, 0
        while free in self.names or free in RESERVED:
            number += 1
            free = f"{plain}_{number}"
        self.names.add(free)
        return free

    def _note(self, change: str) -> None:
        if change not in self.changes:
            self.changes.append(change)


def _make(layer: Any, config: dict[str, Any]) -> Any:
    """Return a new layer of the same class; a Lambda keeps its function, which is trusted."""
    if isinstance(layer, layers.Lambda):
        copy = layers.Lambda(layer.function, arguments=layer.arguments, name=config["name"])
        copy._output_shape, copy.mask = layer._output_shape, layer.mask
        return copy
    return type(layer).from_config(config)


def _same_shape(tensors: list[Any]) -> bool:
    return bool(tensors[0].shape == tensors[1].shape)


def _is_graph(model: keras.Model) -> bool:
    return isinstance(model, keras.Sequential | keras.src.models.functional.Functional)


def _producer(tensor: Any) -> Any:
    history = getattr(tensor, "_keras_history", None)
    return history.operation if history else None


def _channels_first(layer: Any, args: tuple[Any, ...]) -> bool:
    """Tell whether a layer computes on `[N, channels, rows, columns]`."""
    if not args or isinstance(args[0], list) or len(getattr(args[0], "shape", ())) != 4:
        return False
    if getattr(layer, "data_format", None) == "channels_first":
        return True
    return isinstance(layer, layers.BatchNormalization) and layer.axis == 1


def _plain(config: Any) -> Any:
    """Return a configuration with dictionaries and lists copied."""
    return _replace(config, lambda dtype: dtype)


def _in_float32(config: Any) -> Any:
    """Return a configuration in which every float type is float32."""
    return _replace(config, lambda dtype: "float32" if dtype in _FLOATS else dtype)


def _replace(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        if str(value.get("class_name")).endswith("DTypePolicy") and "config" in value:
            return change(str(value["config"].get("name")))
        return {
            key: change(part)
            if key == "dtype" and isinstance(part, str)
            else _replace(part, change)
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(_replace(part, change) for part in value)
    return value
