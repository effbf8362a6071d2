"""Imports an `.onnx` file: maps it to Keras layers and compares it with ONNX Runtime."""

from typing import Any

import keras
import numpy as np

from training.errors import ImportingError
from training.importing.adapter import InputForm, arrange, form_of
from training.importing.digits import load_digits
from training.importing.onnx_file import OnnxFile, read_onnx
from training.importing.onnx_network import OnnxBuilder
from training.importing.onnx_operators import OPERATORS

COMPARED = 20  # digits
TOLERANCE = 1e-4  # largest difference of an output, relative to the largest output


def load_onnx(content: bytes) -> keras.Model:
    """Return the network of an `.onnx` file as a Keras model that takes the file's input form.

    Raises:
        ImportingError: The file cannot be read, has an operator that is not known, or the Keras
            model answers differently from ONNX Runtime.
    """
    file = read_onnx(content)
    form = form_of(file.shape, name=file.input, integers=file.integers)
    model = OnnxBuilder(file, OPERATORS).build(form.shape)
    _compare(model, content, file, form)
    return model


def _compare(model: keras.Model, content: bytes, file: OnnxFile, form: InputForm) -> None:
    """Compare the Keras model with ONNX Runtime on digits."""
    session = _open_session(content)
    image = keras.Input((28, 28, 1))
    arranged = keras.Model(image, keras.layers.Identity()(arrange(form, form.fits[0])(image)))
    digits = load_digits().scaled.images[:COMPARED].astype(np.float32)[..., None] / 255
    values = np.asarray(arranged(digits))
    try:
        expected = np.concatenate(
            [session.run([file.output], {file.input: value[None]})[0] for value in values]
        )
    except Exception as error:  # ONNX Runtime has its own for each operator
        reason = " ".join(str(error).split())[:200]
        raise ImportingError(f"ONNX Runtime cannot run the file: {reason}") from error
    actual = np.asarray(model(values, training=False)).reshape(expected.shape)
    difference = float(np.abs(actual - expected).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise ImportingError(
            "The Keras layers answer differently from ONNX Runtime: an output by"
            f" {difference:.2g}. Please report this network."
        )


def _open_session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ImportingError(f"ONNX Runtime cannot open the file: {reason}") from error
