"""Compiles a trained network for serving and checks it against the Keras file."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from app import bundle
from app.inference.keras_compiler import compile_model
from app.inference.keras_runtime import KerasRuntime, load_keras
from app.inference.litert_runtime import LiteRtRuntime
from training import quantize
from training.data import Images
from training.errors import PublishError

TOLERANCE = 1e-5  # largest difference of a probability from that of the Keras file
CHECKED_IMAGES = 1000


@dataclass(frozen=True)
class Compiled:
    """The runtimes of a compiled network.

    Attributes:
        float32: Computes in float32.
        served: The runtime that is served: int8 if the recipe asks for it, else `float32`.
    """

    float32: LiteRtRuntime
    served: LiteRtRuntime


def compile_network(
    network: keras.Model, folder: Path, *, int8: bool, check: Images, calibration: Images
) -> Compiled:
    """Write a network and its compiled forms into a new folder.

    Args:
        network: The calibrated network.
        folder: The folder to create.
        int8: Whether to compile an int8 network, too.
        check: Images on which the compiled model must agree with the Keras file.
        calibration: Images that set the value ranges of the int8 network.

    Raises:
        PublishError: The compiled model does not agree with the Keras file.
    """
    folder.mkdir()
    network.save(folder / bundle.KERAS_FILE)
    reloaded = load_keras((folder / bundle.KERAS_FILE).read_bytes())
    compiled = compile_model(reloaded)
    (folder / bundle.COMPILED_FILE).write_bytes(compiled)
    float32 = LiteRtRuntime(compiled, interpreters=1, threads=2)
    _check(KerasRuntime(reloaded), float32, check[:CHECKED_IMAGES])
    if not int8:
        return Compiled(float32, float32)
    quantized = quantize.compile_int8(network, calibration)
    (folder / bundle.INT8_FILE).write_bytes(quantized)
    return Compiled(float32, LiteRtRuntime(compiled, int8=quantized, interpreters=1, threads=2))


def open_on_one_thread(folder: Path, *, int8: bool) -> LiteRtRuntime:
    """Load the served network from a folder that `compile_network` wrote."""
    quantized = (folder / bundle.INT8_FILE).read_bytes() if int8 else None
    compiled = (folder / bundle.COMPILED_FILE).read_bytes()
    return LiteRtRuntime(compiled, int8=quantized, interpreters=1)


def count_multiply_adds(model: keras.Model) -> int:
    """Count the multiplications of all convolutions and dense layers for one image."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += count_multiply_adds(layer)
        elif isinstance(layer, keras.layers.Conv2D):
            total += int(np.prod(layer.output.shape[1:3])) * int(np.prod(layer.kernel.shape))
        elif isinstance(layer, keras.layers.Dense):
            total += int(np.prod(layer.kernel.shape))
    return total


def _check(reference: KerasRuntime, compiled: LiteRtRuntime, images: Images) -> None:
    expected, actual = reference.predict(images), compiled.predict(images)
    difference = float(np.abs(expected.probabilities - actual.probabilities).max())
    if not difference <= TOLERANCE:
        raise PublishError(
            "The compiled model and the Keras file give different probabilities: they differ by up"
            f" to {difference:.2e}, more than {TOLERANCE:.0e}, on {len(images)} held-out digits."
        )
