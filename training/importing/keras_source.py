"""Loads the network of a `.keras` or legacy `.h5` file in Keras, after it was checked as data."""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from app.errors import BundleError
from app.inference.keras_runtime import check_activations
from app.inference.native_logs import without_native_logs
from training.errors import ImportingError, short_reason
from training.importing.config_check import LAMBDA, check_safe, read_config
from training.importing.formats import Source

MAX_MESSAGE = 300  # characters of an error of Keras


def load_network(source: Source, trusted: Mapping[str, Any]) -> keras.Model:
    """Load the network of a file.

    Args:
        source: The file.
        trusted: What `training.importing.trust` returns; its scope is open.

    Returns:
        A Sequential or Functional model, built.

    Raises:
        ImportingError: The file is damaged, needs trust, or holds another kind of model.
    """
    config, stored = read_config(source.content, source.format)
    kind = config.get("class_name")
    if kind not in ("Sequential", "Functional", "Model"):
        raise ImportingError(
            f"The file holds a subclassed model ({kind}); only the layers of Sequential and"
            " Functional models are in the file. Build the network with keras.Model(inputs,"
            " outputs) and save it again."
        )
    check_safe(config, trusted)
    safe_mode = LAMBDA not in trusted
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model.{source.format}"
        path.write_bytes(source.content)
        try:
            with without_native_logs():
                if source.format == "keras":
                    _check_declared(config, stored, safe_mode=safe_mode)
                model: keras.Model = keras.models.load_model(
                    path, compile=False, safe_mode=safe_mode
                )
        except ImportingError:
            raise
        # Keras raises errors of many kinds for damaged files and unknown options.
        except Exception as error:
            reason = short_reason(error, MAX_MESSAGE)
            raise ImportingError(
                f"Keras {keras.__version__} cannot load the file: {reason}"
            ) from error
    return _checked(model)


def _check_declared(config: Mapping[str, Any], stored: int, *, safe_mode: bool) -> None:
    """Count the weights of a network without allocating them."""
    without_training = {key: part for key, part in config.items() if key != "compile_config"}
    with keras.StatelessScope(initialize_variables=False):
        model = keras.saving.deserialize_keras_object(without_training, safe_mode=safe_mode)
    declared = sum(math.prod(weight.shape) for weight in model.weights)
    if declared > stored:
        raise ImportingError(
            f"The network declares {declared:,} weights, but the file holds {stored:,}."
        )


def _checked(model: keras.Model) -> keras.Model:
    if not model.built or not model.inputs:
        raise ImportingError(
            "The network was saved without the shape of its input. Give it one with"
            " keras.Input(shape=...) as the first layer, and save it again."
        )
    if not any(weight.shape for weight in model.weights):
        raise ImportingError("The network has no weights; nothing was learned.")
    try:
        check_activations(model)
    except BundleError as error:
        raise ImportingError(error.detail) from error
    return model
