"""Turns the configuration in a `.keras` file into a flat list of layers.

Reads Sequential and Functional models, and models inside models. The name of an inner layer is its
path, such as `member_1/conv_1_1`. Knows how Keras writes its files; knows nothing of what a layer
computes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

IMAGE = -1  # the index that stands for the network's input
_NESTED = ("Sequential", "Functional", "Model")
_Key = tuple[str, int, int]  # of a tensor: the layer's name, the number of its call, the output
MAX_OUTPUTS = 8  # of one layer; a bidirectional LSTM has 5
MAX_CALLS = 2_000  # of layers and of models inside models; the largest published network has 216


@dataclass(frozen=True)
class Step:
    """One call of one layer.

    Attributes:
        name: Path of the layer; later calls of the same layer end in `@1`, `@2` and so on.
        kind: Keras class of the layer, such as `Conv2D`.
        config: Configuration of the layer, as Keras wrote it.
        inputs: Indices of the steps whose outputs it takes, `IMAGE` for the network's input.
        store: Path of the layer's group in the weights file.
        output: Which of the layer's outputs this is, from 0. The names of later ones end in `:1`,
            `:2` and so on.
        operands: For an operator such as `x * 2` in place of a layer, what it was called with, in
            order, with None for each input; None for a layer.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    inputs: tuple[int, ...]
    store: str
    output: int = 0
    operands: tuple[Any, ...] | None = None


def is_softmax(step: Step) -> bool:
    """Tell whether a step computes a softmax alone, not as the activation of another layer."""
    activation = step.kind == "Activation" and step.config["activation"] == "softmax"
    return step.kind == "Softmax" or activation


@dataclass(frozen=True)
class _Call:
    """A call of a layer in a model.

    Attributes:
        layer: What Keras wrote of the layer.
        outputs: Number of its outputs that are used.
        operands: See `Step.operands`.
    """

    layer: Mapping[str, Any]
    outputs: int = 1
    operands: tuple[Any, ...] | None = None


@dataclass
class _Reading:
    """Collects the steps of a model and of the models inside it.

    Attributes:
        steps: Steps read so far.
        calls: Number of calls of each layer, by path.
        added: Number of calls of layers and models so far.
    """

    steps: list[Step] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    added: int = 0

    def add(self, path: str, call: "_Call", inputs: tuple[int, ...], store: str) -> tuple[int, ...]:
        layer = call.layer
        # A model that calls an inner model twice, which does the same, grows with each level.
        self.added += 1
        if self.added > MAX_CALLS:
            raise ValueError(f"the model has more than {MAX_CALLS} calls of layers")
        if layer["class_name"] in _NESTED:
            return self.model(layer, inputs, f"{path}/", f"{store}/")
        number = self.calls.get(path, 0)
        self.calls[path] = number + 1
        name, first = f"{path}@{number}" if number else path, len(self.steps)
        for output in range(call.outputs):
            self.steps.append(
                Step(
                    f"{name}:{output}" if output else name,
                    layer["class_name"],
                    layer["config"],
                    inputs,
                    store,
                    output,
                    call.operands,
                )
            )
        return tuple(range(first, len(self.steps)))

    def model(
        self, model: Mapping[str, Any], inputs: tuple[int, ...], prefix: str, store: str
    ) -> tuple[int, ...]:
        if model["class_name"] == "Sequential":
            return self._sequential(model["config"], inputs, prefix, store)
        return self._functional(model["config"], inputs, prefix, store)

    def _sequential(
        self, config: Mapping[str, Any], inputs: tuple[int, ...], prefix: str, store: str
    ) -> tuple[int, ...]:
        # Keras's Sequential stores no weights group for its InputLayer.
        layers = [layer for layer in config["layers"] if layer["class_name"] != "InputLayer"]
        for layer, group in zip(layers, _groups(layers), strict=True):
            name = _name(layer)
            inputs = self.add(prefix + name, _Call(layer), inputs, f"{store}layers/{group}")
        return inputs

    def _functional(
        self, config: Mapping[str, Any], inputs: tuple[int, ...], prefix: str, store: str
    ) -> tuple[int, ...]:
        layers = config["layers"]
        made = dict(zip(_keys(config["input_layers"]), inputs, strict=True))
        pending = [
            (layer, group, number, node, keys)
            for layer, group in zip(layers, _groups(layers), strict=True)
            for number, node in enumerate(layer["inbound_nodes"])
            if (keys := tuple(_tensors(node)))
        ]
        if len(pending) > MAX_CALLS:
            raise ValueError(f"the model has more than {MAX_CALLS} calls of layers")
        used = _outputs_used([*_keys(config["output_layers"]), *(k for p in pending for k in p[4])])
        while pending:  # Keras may list a layer before the layers that feed it
            ready = [entry for entry in pending if all(key in made for key in entry[4])]
            if not ready:
                break
            pending = [entry for entry in pending if any(key not in made for key in entry[4])]
            for layer, group, number, node, keys in ready:
                name = _name(layer)
                outputs = self.add(
                    prefix + name,
                    _Call(layer, used.get((name, number), 1), _operands(layer, node)),
                    tuple(made[key] for key in keys),
                    f"{store}layers/{group}",
                )
                made |= {(name, number, nth): at for nth, at in enumerate(outputs)}
        return tuple(made[key] for key in _keys(config["output_layers"]))


def read_steps(config: Mapping[str, Any]) -> tuple[list[Step], int]:
    """Read the layers of a network in an order in which they can be computed.

    Args:
        config: Contents of `config.json`.

    Returns:
        Every layer except the input layers, with models inside the model flattened; and the index
        of the layer whose output is the network's.

    Raises:
        ValueError: The model is neither Sequential nor Functional, or does not have one input and
            one output.
    """
    if config.get("class_name") not in _NESTED:
        raise ValueError(
            f"expected a Sequential or Functional model, got {config.get('class_name')}"
        )
    reading = _Reading()
    outputs = reading.model(config, (IMAGE,), "", "")
    if len(outputs) != 1:
        raise ValueError(f"expected a model with one output, got {len(outputs)}")
    return reading.steps, outputs[0]


def _name(layer: Mapping[str, Any]) -> str:
    """Return the name of a layer: its configuration's, else that of its entry in the model.

    A class of one's own without `get_config` has no name in its configuration.
    """
    name = layer["config"].get("name") or layer.get("name")
    if not name:
        raise ValueError(
            f"a layer of the class {layer['class_name']} has no name; let its get_config return"
            " what super().get_config() does"
        )
    return str(name)


def _groups(layers: list[Mapping[str, Any]]) -> list[str]:
    """Return the names under which Keras stores layers: `conv2d`, `conv2d_1` and so on."""
    counts: dict[str, int] = {}
    names = []
    for layer in layers:
        name = _snake_case(layer["class_name"])
        counts[name] = counts.get(name, -1) + 1
        names.append(f"{name}_{counts[name]}" if counts[name] else name)
    return names


def _snake_case(name: str) -> str:
    """Return a class name as Keras writes it in its files (`keras.src.utils.naming`)."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _keys(listed: Any) -> list[_Key]:
    """Return the tensors that Keras lists: one, several in a list, or several by name."""
    listed = list(listed.values()) if isinstance(listed, Mapping) else listed
    entries = [listed] if listed and isinstance(listed[0], str) else listed
    return [(str(name), int(call), int(nth)) for name, call, nth in entries]


def _outputs_used(keys: list[_Key]) -> dict[tuple[str, int], int]:
    """Return the number of outputs of each call of a layer, as far as they are used."""
    used: dict[tuple[str, int], int] = {}
    for name, number, nth in keys:
        used[name, number] = max(used.get((name, number), 1), min(nth + 1, MAX_OUTPUTS))
    return used


def _operands(layer: Mapping[str, Any], node: Any) -> tuple[Any, ...] | None:
    """Return what an operator is called with, with None for each tensor; None for a layer."""
    if not str(layer.get("module")).startswith("keras.src.ops") or not isinstance(node, Mapping):
        return None
    values = [*node.get("args", []), *node.get("kwargs", {}).values()]
    return tuple(None if any(_tensors(value)) else value for value in values)


def _tensors(value: Any) -> Iterator[_Key]:
    """Yield the tensors in the arguments of a call, in order."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            name, call, nth = value["config"]["keras_history"]
            yield (str(name), int(call), int(nth))
        else:
            for part in value.values():
                yield from _tensors(part)
    elif isinstance(value, list):
        for part in value:
            yield from _tensors(part)
