"""A network compiled with int8 convolutions, for serving.

Post-training quantisation (Jacob et al., 2018, arXiv:1712.05877): weights per output channel,
activations per tensor, both scaled by what calibration images show. The layer of the logits and the
softmax stay float32, so that probabilities keep their fine steps, and so does what is done to the
picture itself: int8 multiplies channels in groups of eight, and of its group seven would be empty.
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
from app.inference.runtime import Runtime
from training.data import Split

CALIBRATION_IMAGES = 500
IN_FLOAT = ["FULLY_CONNECTED", "SOFTMAX"]
MIN_CHANNELS = 8  # that an operation reads, for int8 to pay


def compile_int8(model: keras.Model, images: NDArray[np.uint8]) -> bytes:
    """Compile a network's signature `predict` with int8 convolutions, but for the first.

    Args:
        model: Its only dense layer is that of the logits; others would stay float32 too.
        images: `[N, 28, 28]`, 0..255, ink high; the first ones set the ranges of the activations.

    Returns:
        A `.tflite` file: float32 images in, float32 outputs, as those of the float32 model.
    """
    import tensorflow as tf

    def shown() -> Iterator[dict[str, NDArray[np.float32]]]:
        for image in images[:CALIBRATION_IMAGES]:
            yield {"image": image[None, :, :, None].astype(np.float32)}

    with tempfile.TemporaryDirectory() as folder:
        save_signatures(model, {"predict": lambda image: predict_outputs(model, image)}, folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["predict"])
        options = tf.lite.experimental.QuantizationDebugOptions(
            denylisted_ops=IN_FLOAT, denylisted_nodes=_of_few_channels(converter.convert())
        )
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = shown
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "[^.]*tf.lite.Interpreter is deprecated", UserWarning)
            # The converter's only way to leave operations in float32.
            chooser = tf.lite.experimental.QuantizationDebugger(
                converter=converter, debug_dataset=shown, debug_options=options
            )
        compiled: bytes = chooser.get_nondebug_quantized_model()
    return compiled


def _of_few_channels(compiled: bytes) -> list[str]:
    """Return the names of operations that read fewer than `MIN_CHANNELS`."""
    graph = schema.ModelT.InitFromPackedBuf(compiled, 0).subgraphs[0]
    return [
        graph.tensors[operation.outputs[0]].name.decode()
        for operation in graph.operators
        if graph.tensors[operation.inputs[0]].shape[-1] < MIN_CHANNELS
    ]


def count_flips(exact: Runtime, quantised: Runtime, digits: Split) -> Flips:
    """Compare the answers of a network in float32 and in int8 on the same digits."""
    ours = exact.predict(digits.images).probabilities
    theirs = quantised.predict(digits.images).probabilities
    right, still_right = (each.argmax(axis=1) == digits.labels for each in (ours, theirs))
    return Flips(
        digits=len(digits),
        changed=int((ours.argmax(axis=1) != theirs.argmax(axis=1)).sum()),
        mended=int((~right & still_right).sum()),
        spoilt=int((right & ~still_right).sum()),
        mean_difference=float(np.abs(ours - theirs).mean()),
        largest_difference=float(np.abs(ours - theirs).max()),
    )
