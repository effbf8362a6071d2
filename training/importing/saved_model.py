"""Converts a TensorFlow SavedModel for LiteRT. It holds a program, so it must be trusted."""

import shlex
from collections.abc import Collection
from pathlib import Path

from app.inference.native_logs import without_native_logs
from training.errors import ImportingError

SAVED_MODEL = "savedmodel"  # what `--trust` takes
MAX_BYTES = 1 << 29  # of all files


def convert_saved_model(path: Path, trust: Collection[str]) -> bytes:
    """Return the content of a `.tflite` file that does the same.

    Raises:
        ImportingError: The SavedModel is not trusted, is too large, or cannot be converted.
    """
    if SAVED_MODEL not in trust:
        raise ImportingError(
            f"{path} is a SavedModel, which holds a program and not only data. If you trust it, add"
            f" --trust {SAVED_MODEL}; better, save the network with model.save('model.keras') and"
            f" import that instead of {shlex.quote(str(path))}."
        )
    if sum(each.stat().st_size for each in path.rglob("*") if each.is_file()) > MAX_BYTES:
        raise ImportingError(f"{path} has more than {MAX_BYTES:,} bytes.")
    with without_native_logs():
        import tensorflow as tf

        try:
            converter = tf.lite.TFLiteConverter.from_saved_model(str(path))
            content: bytes = converter.convert()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise ImportingError(f"LiteRT cannot convert {path}: {reason}.") from error
    return content
