"""The `.keras` file itself: loading it, running it, and compiling its LiteRT twin.

The only part of the service that needs Keras and TensorFlow. Both are imported when first needed:
a service whose bundles hold a twin never gets here.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.errors import BundleError
from app.inference.runtime import Outputs, Pixels
from app.network.functions import MIN_PROBABILITY
from app.network.graph import Step, is_softmax, read_steps

if TYPE_CHECKING:
    import keras


def load_keras(content: bytes) -> "keras.Model":
    """Load a `.keras` file in safe mode, without compiling it for training.

    Args:
        content: The file's bytes.

    Raises:
        BundleError: The bytes are no Keras model, or need TensorFlow where it is not installed.
    """
    try:
        import keras
    except ImportError as error:
        raise BundleError(
            "This bundle has no compiled twin (model.tflite), so Keras and TensorFlow are needed to"
            " load it: install the extra 'tensorflow', or add the twin."
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(content)
        try:
            model: keras.Model = keras.models.load_model(path, compile=False, safe_mode=True)
        except (ValueError, OSError, KeyError, TypeError) as error:
            raise BundleError(f"The .keras file cannot be loaded in safe mode: {error}") from error
    return model


class KerasRuntime:
    """Runs a Keras model directly: the reference that the compiled twin is held to."""

    CHUNK = 500  # images at once: a layer of the classic network takes 100 kB of each

    def __init__(self, model: "keras.Model") -> None:
        """Take a Sequential or Functional model."""
        self._model = model

    def predict(self, images: Pixels) -> Outputs:
        """Read `[N, 28, 28]` images, 0..255, ink high."""
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


def predict_outputs(model: "keras.Model", image: Any) -> dict[str, Any]:
    """Run a model and return the outputs of the signature `predict`.

    Args:
        model: Sequential or Functional, with models inside it or without.
        image: Its input, `[N, 28, 28, 1]`.

    Returns:
        `probabilities`; `logits`, what enters the final softmax, or, where the probabilities are an
        average of several networks', their logarithms plus the mean of the networks' energies
        (log-sum-exp of the logits), which so is the energy of these logits too; `features`, the
        output of a layer of that name, or else what enters the dense layer of the logits, one
        network's after the other.
    """
    from keras import ops

    steps, output = read_steps(json.loads(model.to_json()))
    found = layer_outputs(model, image)
    probabilities = found[steps[output].name]
    heads = _heads(steps, output)
    if is_softmax(steps[output]):
        logits = found[steps[heads[0]].name]
    else:
        logits = ops.log(ops.maximum(probabilities, MIN_PROBABILITY))
        energies = [ops.logsumexp(found[steps[at].name], axis=-1, keepdims=True) for at in heads]
        if energies:
            logits = logits + sum(energies) / len(energies)
    dense = [steps[at].inputs[0] if steps[at].kind == "Dense" else at for at in heads]
    features = [found[steps[at].name] for at in dense] or [logits]
    if "features" in found:
        features = [found["features"]]
    return {
        "probabilities": probabilities,
        "logits": logits,
        "features": ops.concatenate(features, axis=-1) if len(features) > 1 else features[0],
    }


def _heads(steps: list[Step], at: int) -> list[int]:
    """Return the layers whose softmax a layer gives, or averages."""
    step = steps[at]
    if is_softmax(step):
        return [step.inputs[0]]
    if step.kind == "Average":
        return [head for part in step.inputs for head in _heads(steps, part)]
    return []


def layer_outputs(model: "keras.Model", image: Any) -> dict[str, Any]:
    """Run a model and return the output of every layer, those of models inside it too.

    Args:
        model: Sequential or Functional, with models inside it or without.
        image: Its input, `[N, 28, 28, 1]`.

    Returns:
        The outputs by path, as `app.network.graph` names them: `conv_1_1`, `member_1/conv_1_1`; a
        layer's second call ends in `@1`.
    """
    import keras

    found: dict[str, Any] = {}
    calls: dict[str, int] = {}

    def run(layer: Any, prefix: str, *args: Any, **kwargs: Any) -> Any:
        path = prefix + layer.name
        if isinstance(layer, keras.Sequential):
            (values,) = args
            for inner in layer.layers:
                values = run(inner, f"{path}/", values)
            return values
        if isinstance(layer, keras.Model):
            return graph(layer, f"{path}/", args[0])
        call = calls[path] = calls.get(path, -1) + 1
        if isinstance(layer, keras.layers.Layer):
            kwargs |= {"training": False} if layer._call_has_training_arg else {}
        out = layer(*args, **kwargs)
        found[f"{path}@{call}" if call else path] = out
        return out

    def graph(inner: Any, prefix: str, values: Any) -> Any:
        # Keras's own walk through a Functional model; it has no public one that gives each layer.
        return inner._run_through_graph(
            values,
            operation_fn=lambda layer: lambda *args, **kwargs: run(layer, prefix, *args, **kwargs),
        )

    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            image = run(layer, "", image)
    else:
        graph(model, "", image)
    return found


def compile_model(model: "keras.Model") -> bytes:
    """Compile a Keras model for LiteRT.

    Args:
        model: Sequential or Functional, input `[N, 28, 28, 1]` 0..255, output `[N, 10]`.

    Returns:
        A `.tflite` file with two signatures that take `image`, float32 `[N, 28, 28, 1]`: `predict`
        gives `probabilities`, `logits` and `features`; `inspect` gives every layer's output by the
        layer's path (see `layer_outputs`).
    """
    import tensorflow as tf

    views = {
        "predict": lambda image: predict_outputs(model, image),
        "inspect": lambda image: layer_outputs(model, image),
    }
    with tempfile.TemporaryDirectory() as folder:
        save_signatures(model, views, folder)
        twin: bytes = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=list(views)
        ).convert()
    return twin


def save_signatures(
    model: "keras.Model", views: Mapping[str, Callable[[Any], dict[str, Any]]], folder: str
) -> None:
    """Write a TensorFlow SavedModel for LiteRT's converter.

    Args:
        model: Holds the weights.
        views: By signature: what gives the named outputs for `image`, `[N, 28, 28, 1]`.
        folder: Where it goes.
    """
    import keras
    import tensorflow as tf

    image = tf.TensorSpec([None, 28, 28, 1], tf.float32, name="image")
    # Keras's own archive, because a plain tf.Module loses the weights on the way to LiteRT
    # (TensorFlow 2.21).
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, view in views.items():
        archive.add_endpoint(name, _endpoint(view), input_signature=[image])
    archive.write_out(folder, verbose=False)


def _endpoint(view: Callable[[Any], dict[str, Any]]) -> Any:
    import tensorflow as tf

    def run(image: Any) -> Any:
        # Identity gives each output a tensor of its own: a Dropout's output is its input at
        # inference.
        return {name: tf.identity(values) for name, values in view(image).items()}

    return run
