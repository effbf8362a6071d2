"""Loads a `.keras` file and runs it in Keras.

With `keras_compiler`, the only part of the service that needs Keras and TensorFlow. They are
imported when first needed, so a service whose bundles hold compiled models never imports them.
"""

import json
import math
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.bundle import KERAS_FILE
from app.errors import BundleError
from app.inference.native_logs import without_native_logs
from app.inference.runtime import Outputs, Pixels
from app.network.functions import MIN_PROBABILITY
from app.network.graph import Step, is_softmax, read_steps
from app.network.keras_file import KerasFileError, check_keras_file

if TYPE_CHECKING:
    import keras

MAX_ACTIVATION_BYTES = 1 << 28  # of all layers for one image; VGG16 at 224x224 has 110 MB


@dataclass(frozen=True)
class Lowering:
    """How a compiler has some layers computed, in place of Keras's own way.

    Attributes:
        fold: Computes a layer and the normalisation after it together: takes the layer, its input
            and the normalisation; returns both outputs, or None if it cannot.
        substitute: Computes a layer in another way: takes the layer and its input; returns its
            output, or None to leave it to Keras.
    """

    fold: Callable[["keras.layers.Layer", Any, "keras.layers.Layer"], tuple[Any, Any] | None]
    substitute: Callable[["keras.layers.Layer", Any], Any | None]


def load_keras(content: bytes, max_weights: int | None = None) -> "keras.Model":
    """Load a `.keras` file in safe mode, without compiling it for training.

    Args:
        content: The file's bytes.
        max_weights: Number of weights that the network may have, for a file that is not trusted.
            Its configuration can declare more than its weights file holds, and Keras would allocate
            them. To count them doubles the time.

    Raises:
        BundleError: The bytes are not a Keras model, its network has more weights, or TensorFlow is
            needed and not installed.
    """
    try:
        check_keras_file(content)
    except KerasFileError as error:
        raise BundleError(f"{KERAS_FILE} is {error}.") from error
    try:
        with without_native_logs():
            import keras
    except ImportError as error:
        raise BundleError(
            "This bundle has no compiled model (model.tflite), so Keras and TensorFlow are needed"
            " to load it: install the extra 'tensorflow', or add the compiled model."
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(content)
        try:
            with without_native_logs():
                if max_weights is not None:
                    _check_declared(path, max_weights)
                model: keras.Model = keras.models.load_model(path, compile=False, safe_mode=True)
        except (ValueError, OSError, KeyError, TypeError) as error:
            raise BundleError(f"The .keras file cannot be loaded in safe mode: {error}") from error
    return model


def load_small_keras(content: bytes, max_weights: int) -> "keras.Model":
    """Load a `.keras` file as `load_keras` does, if its activations are small enough to serve it.

    Raises:
        BundleError: As `load_keras`; or its layers compute more than `MAX_ACTIVATION_BYTES`.
    """
    model = load_keras(content, max_weights)
    check_activations(model)
    return model


def check_activations(model: "keras.Model") -> None:
    """Raise a `BundleError` if the layers of a model compute too much for one image."""
    declared = sum(
        4 * math.prod(size or 28 for size in tensor.shape[1:])
        for layer in model._flatten_layers(include_self=False)
        for node in getattr(layer, "_inbound_nodes", [])
        for tensor in node.output_tensors
    )
    if declared > MAX_ACTIVATION_BYTES:
        raise BundleError(
            f"The layers compute {declared:,} bytes for one image; at most"
            f" {MAX_ACTIVATION_BYTES:,} are allowed."
        )


def _check_declared(path: Path, max_weights: int) -> None:
    """Count the weights of a network without allocating them."""
    import keras

    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    config.pop("compile_config", None)  # an optimizer has variables of its own
    with keras.StatelessScope(initialize_variables=False):
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
    declared = sum(math.prod(weight.shape) for weight in model.weights)
    if declared > max_weights:
        raise BundleError(
            f"{KERAS_FILE} declares {declared} weights; at most {max_weights} are expected."
        )


class KerasRuntime:
    """Runs a Keras model directly: the reference for the compiled model."""

    CHUNK = 500  # images per call; a layer of the classic network needs 100 kB for each

    def __init__(self, model: "keras.Model") -> None:
        """Take a Sequential or Functional model."""
        self._model = model

    def predict(self, images: Pixels) -> Outputs:
        """Return the outputs for `[N, 28, 28]` images, 0..255, ink high."""
        pixels = images.astype(np.float32)[..., None]
        parts = [
            predict_outputs(self._model, pixels[start : start + self.CHUNK])
            for start in range(0, max(1, len(images)), self.CHUNK)
        ]
        return Outputs(
            **{
                name: np.concatenate([np.asarray(part[name]) for part in parts])
                for name in parts[0]
            }
        )

    def inspect(self, images: Pixels) -> dict[str, NDArray[np.float32]]:
        """Return every layer's output for `[N, 28, 28]` images, by the layer's path."""
        pixels = images.astype(np.float32)[..., None]
        return {name: np.asarray(out) for name, out in layer_outputs(self._model, pixels).items()}


def predict_outputs(
    model: "keras.Model", image: Any, lowering: Lowering | None = None
) -> dict[str, Any]:
    """Run a model and return the outputs of the signature `predict`.

    Args:
        model: Sequential or Functional, with or without models inside it.
        image: Its input, `[N, 28, 28, 1]`.
        lowering: See `layer_outputs`.

    Returns:
        `probabilities`, `[N, classes]`. `logits`: the input of the final softmax; where the
        probabilities are the mean of several networks', their logarithm plus the mean energy of
        the networks (the log-sum-exp of their logits), so that these logits have that energy too.
        `features`: the output of a layer of that name, or else the input of the logits' dense
        layer, of several networks one after the other.
    """
    from keras import ops

    steps, output = read_steps(json.loads(model.to_json()))
    outputs = layer_outputs(model, image, lowering)
    probabilities = outputs[steps[output].name]
    heads = _softmax_inputs(steps, output)
    if is_softmax(steps[output]):
        logits = outputs[steps[heads[0]].name]
    else:
        logits = ops.log(ops.maximum(probabilities, MIN_PROBABILITY))
        energies = [ops.logsumexp(outputs[steps[at].name], axis=-1, keepdims=True) for at in heads]
        if energies:
            logits = logits + sum(energies) / len(energies)
    dense = [steps[at].inputs[0] if steps[at].kind == "Dense" else at for at in heads]
    features = [outputs[steps[at].name] for at in dense] or [logits]
    if "features" in outputs:
        features = [outputs["features"]]
    return {
        "probabilities": probabilities,
        "logits": logits,
        "features": ops.concatenate(features, axis=-1) if len(features) > 1 else features[0],
    }


def _softmax_inputs(steps: list[Step], at: int) -> list[int]:
    """Return the inputs of the softmax at a step, or of each softmax that the step averages."""
    step = steps[at]
    if is_softmax(step):
        return [step.inputs[0]]
    if step.kind == "Average":
        return [head for part in step.inputs for head in _softmax_inputs(steps, part)]
    return []


def layer_outputs(
    model: "keras.Model", image: Any, lowering: Lowering | None = None
) -> dict[str, Any]:
    """Run a model and return the output of every layer, including layers of models inside it.

    Args:
        model: Sequential or Functional, with or without models inside it.
        image: Its input, `[N, 28, 28, 1]`.
        lowering: How some layers are computed; None runs each layer as Keras does.

    Returns:
        The outputs by path, as `app.network.graph` names them: `conv_1_1`, `member_1/conv_1_1`. The
        path of a layer's second call ends in `@1`, that of its second output in `:1`.
    """
    walk = _Walk(lowering)
    walk.run(model, "", image)
    return walk.outputs


@dataclass(frozen=True)
class _Call:
    """A call of a layer: its path in the outputs, and its first input."""

    path: str
    layer: Any
    inputs: Any


class _Walk:
    """Runs a model layer by layer and keeps every output."""

    def __init__(self, lowering: Lowering | None) -> None:
        self.outputs: dict[str, Any] = {}
        self._lowering = lowering
        self._calls: dict[str, int] = {}  # by path: the number of the layer's last call
        self._sources: dict[int, _Call] = {}  # by id of an output, which `outputs` keeps alive

    def run(self, model: Any, prefix: str, values: Any) -> Any:
        """Run the layers of a model; their paths start with `prefix`."""
        import keras

        if isinstance(model, keras.Sequential):
            for layer in model.layers:
                values = self._call(layer, prefix, values)
            return values
        # Keras's own walk through a Functional model; its public API gives no access to each layer.
        return model._run_through_graph(
            values,
            operation_fn=lambda layer: partial(self._call, layer, prefix),
        )

    def _call(self, layer: Any, prefix: str, *args: Any, **kwargs: Any) -> Any:
        import keras

        path = prefix + layer.name
        if isinstance(layer, keras.Model):
            return self.run(layer, f"{path}/", args[0])
        number = self._calls[path] = self._calls.get(path, -1) + 1
        path = f"{path}@{number}" if number else path
        if isinstance(layer, keras.layers.Layer):
            kwargs |= {"training": False} if layer._call_has_training_arg else {}
        out = self._lowered(layer, args)
        if out is None:
            out = layer(*args, **kwargs)
        first, *others = out if isinstance(out, list | tuple) else [out]
        self.outputs[path] = first
        self.outputs |= {f"{path}:{nth}": part for nth, part in enumerate(others, 1)}
        self._sources[id(first)] = _Call(path, layer, args[0] if args else None)
        return out

    def _lowered(self, layer: Any, args: tuple[Any, ...]) -> Any | None:
        """Return a layer's output as the compiler has it computed; None if it has no way."""
        if not self._lowering or not args:
            return None
        before = self._sources.get(id(args[0]))
        folded = before and self._lowering.fold(before.layer, before.inputs, layer)
        if not before or not folded:
            return self._lowering.substitute(layer, args[0])
        self.outputs[before.path], out = folded
        return out
