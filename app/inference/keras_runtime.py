"""The `.keras` file itself: loading it, running it, and compiling its LiteRT twin.

The only part of the service that needs Keras and TensorFlow. Both are imported when first needed:
a service whose bundles hold a twin never gets here.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import BundleError
from app.inference.runtime import Outputs, Pixels

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
            " load it: install the extra 'train', or add the twin."
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
        """Take a model that ends in layers named `logits` and `softmax`."""
        import keras

        self._model = keras.Model(model.inputs[0], predict_outputs(model))

    def predict(self, images: Pixels) -> Outputs:
        """Read `[N, 28, 28]` images, 0..255, ink high."""
        parts = [
            self._model(
                images[start : start + self.CHUNK].astype(np.float32)[..., None], training=False
            )
            for start in range(0, max(1, len(images)), self.CHUNK)
        ]
        return Outputs(
            **{
                name: np.concatenate([np.asarray(part[name]) for part in parts])
                for name in parts[0]
            }
        )


def predict_outputs(model: "keras.Model") -> dict[str, Any]:
    """Return the outputs of the signature `predict`: probabilities, logits and features."""
    logits = model.get_layer("logits")
    return {"probabilities": model.outputs[0], "logits": logits.output, "features": logits.input}


def compile_twin(model: "keras.Model") -> bytes:
    """Compile a Keras model for LiteRT.

    Args:
        model: Input `[N, 28, 28, 1]` 0..255; its last layers are named `logits` and `softmax`.

    Returns:
        A `.tflite` file with two signatures that take `image`, float32 `[N, 28, 28, 1]`: `predict`
        gives `probabilities`, `logits` and `features`; `inspect` gives every layer's output by the
        layer's name.
    """
    import keras
    import tensorflow as tf

    views = {
        "predict": keras.Model(model.inputs[0], predict_outputs(model)),
        "inspect": keras.Model(
            model.inputs[0], {layer.name: layer.output for layer in model.layers}
        ),
    }
    image = tf.TensorSpec([None, 28, 28, 1], tf.float32, name="image")
    # Keras's own archive, because a plain tf.Module loses the weights on the way to LiteRT
    # (TensorFlow 2.21).
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, view in views.items():
        archive.add_endpoint(name, _endpoint(view), input_signature=[image])
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        twin: bytes = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=list(views)
        ).convert()
    return twin


def _endpoint(view: "keras.Model") -> Any:
    import tensorflow as tf

    def run(image: Any) -> Any:
        # Identity gives each output a tensor of its own: a Dropout's output is its input at
        # inference.
        return {name: tf.identity(values) for name, values in view(image, training=False).items()}

    return run
