"""Compiles a Keras model for LiteRT.

Needs TensorFlow, and imports it when it is first used.
"""

import re
import tempfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.errors import BundleError
from app.inference.keras_runtime import Lowering, layer_outputs, predict_outputs
from app.inference.native_logs import without_native_logs

if TYPE_CHECKING:
    import keras

# Largest offset, in units of a convolution's own output, of a batch normalisation that is folded.
# Subtracting the offset again costs this many float32 rounding errors (6e-8) of precision.
MAX_FOLDED_OFFSET = 1000
MIN_LENGTH = 1e-12  # Keras's epsilon: a shorter vector is divided by this
MAX_REASON = 300  # characters of an error of the converter, which lists every operation's origin


def compile_model(model: "keras.Model") -> bytes:
    """Compile a Keras model for LiteRT.

    Batch normalisation is folded into the layer before it, in both signatures alike, so that the
    file holds each weight once. The converter would fold it in `predict` only.

    Args:
        model: Sequential or Functional, input `[N, 28, 28, 1]` 0..255, output `[N, classes]`.

    Returns:
        A `.tflite` file with two signatures that take `image`, float32 `[N, 28, 28, 1]`. `predict`
        returns `probabilities`, `logits` and `features`. `inspect` returns the output of every
        layer by its path (see `layer_outputs`).

    Raises:
        BundleError: LiteRT has no operation for a part of the network, or cannot convert it.
    """
    with without_native_logs():
        import tensorflow as tf

    lowering = Lowering(fold_normalization, substitute)
    signatures = {
        "predict": lambda image: predict_outputs(model, image, lowering),
        "inspect": lambda image: layer_outputs(model, image, lowering),
    }
    with without_native_logs(), tempfile.TemporaryDirectory() as folder:
        save_signatures(model, signatures, folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=list(signatures)
        )
        try:
            compiled: bytes = converter.convert()
        except Exception as error:
            raise BundleError(f"LiteRT cannot convert this network: {_reason(error)}.") from error
    return compiled


def _reason(error: Exception) -> str:
    """Return the operations that LiteRT lacks, or the beginning of another error."""
    missing = re.findall(r"^(?:Custom|Flex) ops: (.+)$", str(error), re.MULTILINE)
    if missing:
        return f"it has no operation for {', '.join(sorted(set(missing)))}"
    return " ".join(f"{type(error).__name__}: {error}".split())[:MAX_REASON]


def save_signatures(
    model: "keras.Model", signatures: Mapping[str, Callable[[Any], dict[str, Any]]], folder: str
) -> None:
    """Write a TensorFlow SavedModel for LiteRT's converter.

    Args:
        model: Holds the weights.
        signatures: By name: a function that returns the named outputs for `image`,
            `[N, 28, 28, 1]`.
        folder: Folder to write.
    """
    import keras
    import tensorflow as tf

    image = tf.TensorSpec([None, 28, 28, 1], tf.float32, name="image")
    # Keras's own archive: a plain tf.Module loses the weights on the way to LiteRT
    # (TensorFlow 2.21).
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, signature in signatures.items():
        archive.add_endpoint(name, _endpoint(signature), input_signature=[image])
    archive.write_out(folder, verbose=False)


def _endpoint(signature: Callable[[Any], dict[str, Any]]) -> Any:
    import tensorflow as tf

    def run(image: Any) -> Any:
        # Identity gives each output its own tensor: at inference, a Dropout's output is its input.
        return {name: tf.identity(values) for name, values in signature(image).items()}

    return run


def fold_normalization(
    layer: "keras.layers.Layer", inputs: Any, normalization: "keras.layers.Layer"
) -> tuple[Any, Any] | None:
    """Compute a layer and the batch normalisation after it with one set of scaled weights.

    The normalisation of a convolution's output `y` is `scale * y + offset`. Scaled weights give
    that directly; `y` itself is `(normalised - offset) / scale`, computed only where it is asked
    for.

    Args:
        layer: The layer before the normalisation.
        inputs: The input of `layer`.
        normalization: The layer that follows.

    Returns:
        The outputs of `layer` and of `normalization`, or None if the two cannot be folded: other
        kinds of layers, an activation between them, another axis than the channels, or a scale so
        small that `y` would lose precision.
    """
    import keras
    from keras import ops

    if not (
        isinstance(normalization, keras.layers.BatchNormalization)
        and isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)
        and layer.activation is keras.activations.linear
        and getattr(layer, "data_format", "channels_last") == "channels_last"
        and normalization.axis in (-1, len(inputs.shape) - 1)
    ):
        return None
    scale, offset = _scale_and_offset(normalization)
    with np.errstate(divide="ignore", invalid="ignore"):
        if not (np.abs(offset / scale) <= MAX_FOLDED_OFFSET).all():
            return None
    kernel = (_values(layer.kernel) * scale).astype(np.float32)
    bias = _values(layer.bias) * scale if layer.use_bias else 0.0
    if isinstance(layer, keras.layers.Dense):
        product = ops.matmul(inputs, kernel)
    else:
        product = layer.convolution_op(inputs, kernel)
    normalised = product + (bias + offset).astype(np.float32)
    return (normalised - offset) / scale, normalised


def substitute(layer: "keras.layers.Layer", inputs: Any) -> Any | None:
    """Compute a layer in a way that LiteRT runs as Keras does.

    LiteRT's reciprocal root of 0 is not a number, so a vector of zeros is divided by its length.

    Args:
        layer: The layer.
        inputs: Its input.

    Returns:
        The layer's output, or None for a layer that needs no other way.
    """
    import keras
    from keras import ops

    if not isinstance(layer, keras.layers.UnitNormalization):
        return None
    squares = ops.sum(ops.square(inputs), axis=layer.axis, keepdims=True)
    return inputs / ops.maximum(ops.sqrt(squares), MIN_LENGTH)


def _scale_and_offset(normalization: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what a batch normalisation multiplies by and adds at inference, `[C]` each."""
    deviation = np.sqrt(_values(normalization.moving_variance) + normalization.epsilon)
    gamma = _values(normalization.gamma) if normalization.scale else 1.0
    beta = _values(normalization.beta) if normalization.center else 0.0
    scale = gamma / deviation
    offset = beta - _values(normalization.moving_mean) * scale
    return scale.astype(np.float32), offset.astype(np.float32)


def _values(variable: Any) -> NDArray[np.float64]:
    """Return a variable's values, also while TensorFlow traces a function."""
    import tensorflow as tf

    with tf.init_scope():
        return np.asarray(variable.value, np.float64)
