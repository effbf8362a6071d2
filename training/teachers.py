"""Teachers: networks whose answers another network learns, as they were before their refit.

A refitted network has seen the held-out digits. Its answers would carry them to the pupil, which is
then measured on the same digits, so the pupil learns from the network before the refit. That
network is not served and not part of a bundle; it lies in the folder `teachers` next to the
bundles.
"""

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from app.bundle import INT8_FILE, KERAS_FILE, Bundle
from app.inference.keras_compiler import compile_model
from app.inference.keras_runtime import load_keras
from app.inference.litert_runtime import LiteRtRuntime, open_runtime
from training.errors import PublishError
from training.quantize import compile_int8

TEACHERS = "teachers"


def teacher_path(bundle: Path) -> Path:
    """Return the file of the network before its refit, for a bundle's folder."""
    return bundle.parent / TEACHERS / f"{bundle.name}-before-refit.keras"


def load_teacher(bundle: Bundle) -> keras.Model:
    """Load a model's network as it was before its refit; without a refit, the published one.

    Raises:
        BundleError: The Keras file is damaged.
        PublishError: The network before the refit is missing.
    """
    if not bundle.metadata.refitted:
        return load_keras(bundle.read(KERAS_FILE))
    path = teacher_path(bundle.folder)
    if not path.is_file():
        raise PublishError(
            f"{bundle.metadata.name} cannot teach: it was refitted on the held-out digits, and"
            f" {path}, the network before the refit, is missing. Train {bundle.metadata.name}"
            " again to write it."
        )
    return load_keras(path.read_bytes())


def open_teacher(bundle: Bundle, images: NDArray[np.uint8]) -> LiteRtRuntime:
    """Compile `load_teacher`'s network the way the model is served; each call uses two threads.

    Args:
        bundle: The model.
        images: Training digits, uint8 `[N, 28, 28]`, that set the value ranges of an int8 network.

    Raises:
        BundleError: A file of the bundle is damaged.
        PublishError: The network before the refit is missing.
    """
    if not bundle.metadata.refitted:
        return open_runtime(bundle, threads=2)
    network = load_teacher(bundle)
    int8 = compile_int8(network, images) if bundle.has(INT8_FILE) else None
    return LiteRtRuntime(compile_model(network), int8=int8, interpreters=1, threads=2)
