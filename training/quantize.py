"""Compiles a network with int8 convolutions, for serving.

Post-training quantisation (Jacob et al., 2018, arXiv:1712.05877): weights have a scale per output
channel, activations one per tensor, which calibration images determine. Logits and softmax stay
float32, so that probabilities keep their fine steps. The first convolution stays float32, too: int8
multiplies channels in groups of eight, and the image has one channel, so seven would be empty.
"""

import tempfile
import warnings
from collections.abc import Iterator

import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from app.bundle import Flips
from app.inference.keras_compiler import save_signatures
from app.inference.keras_runtime import predict_outputs
from app.inference.native_logs import without_native_logs
from app.inference.runtime import Runtime
from training.data import Split

CALIBRATION_IMAGES = 500
FLOAT32_OPERATIONS = ["FULLY_CONNECTED", "SOFTMAX"]
MIN_CHANNELS = 8  # input channels; with fewer, int8 is not faster


def compile_int8(model: keras.Model, images: NDArray[np.uint8]) -> bytes:
    """Compile a network's signature `predict` with int8 convolutions, except the first.

    Args:
        model: The network. All its dense layers stay float32.
        images: `[N, 28, 28]`, 0..255, ink high; the first ones set the value ranges.

    Returns:
        A `.tflite` file with the same float32 input and outputs as the float32 model.
    """
    import tensorflow as tf

    def calibration_inputs() -> Iterator[dict[str, NDArray[np.float32]]]:
        for image in images[:CALIBRATION_IMAGES]:
            yield {"image": image[None, :, :, None].astype(np.float32)}

    with without_native_logs(), tempfile.TemporaryDirectory() as folder:
        save_signatures(model, {"predict": lambda image: predict_outputs(model, image)}, folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["predict"])
        few_channels = _with_few_channels(converter.convert())
        options = tf.lite.experimental.QuantizationDebugOptions(
            denylisted_ops=FLOAT32_OPERATIONS, denylisted_nodes=few_channels
        )
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = calibration_inputs
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "[^.]*tf.lite.Interpreter is deprecated", UserWarning)
            # Only the debugger of the converter lets operations stay float32.
            debugger = tf.lite.experimental.QuantizationDebugger(
                converter=converter, debug_dataset=calibration_inputs, debug_options=options
            )
        compiled: bytes = debugger.get_nondebug_quantized_model()
    return compiled


def _with_few_channels(compiled: bytes) -> list[str]:
    """Return the output names of operations with fewer than `MIN_CHANNELS` input channels."""
    graph = schema.ModelT.InitFromPackedBuf(compiled, 0).subgraphs[0]
    return [
        graph.tensors[operation.outputs[0]].name.decode()
        for operation in graph.operators
        if graph.tensors[operation.inputs[0]].shape[-1] < MIN_CHANNELS
    ]


def count_flips(float32: Runtime, int8: Runtime, digits: Split) -> Flips:
    """Compare the answers of a network in float32 and in int8 on the same digits."""
    ours = float32.predict(digits.images).probabilities
    theirs = int8.predict(digits.images).probabilities
    right, still_right = (each.argmax(axis=1) == digits.labels for each in (ours, theirs))
    return Flips(
        digits=len(digits),
        changed=int((ours.argmax(axis=1) != theirs.argmax(axis=1)).sum()),
        mended=int((~right & still_right).sum()),
        spoilt=int((right & ~still_right).sum()),
        mean_difference=float(np.abs(ours - theirs).mean()),
        largest_difference=float(np.abs(ours - theirs).max()),
    )
