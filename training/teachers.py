"""Teachers: networks whose answers another network learns, as they were before their refit.

A refitted network has seen the held-out digits. Its answers would carry them to the pupil, which is
then measured on the same digits, so the pupil learns from the network before the refit. That
network is not served and not part of a bundle; it lies in the folder `teachers` next to the
bundles. A network of 20 MB is not kept there for good: its answers on the training digits are
(`write_answers`), which are enough to teach unless a pupil needs answers on changed digits.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from app.bundle import INT8_FILE, KERAS_FILE, Bundle, open_bundle
from app.cli import read_settings
from app.inference.keras_compiler import compile_model
from app.inference.keras_runtime import load_keras
from app.inference.litert_runtime import LiteRtRuntime, open_runtime
from training import data
from training.errors import PublishError
from training.quantize import compile_int8

TEACHERS = "teachers"
MIN_STORED = 1e-4  # smaller probabilities are stored as 0


def teacher_path(bundle: Path) -> Path:
    """Return the file of the network before its refit, for a bundle's folder."""
    return bundle.parent / TEACHERS / f"{bundle.name}-before-refit.keras"


def answers_path(bundle: Path) -> Path:
    """Return the file of a model's answers on the training digits, for a bundle's folder."""
    return bundle.parent / TEACHERS / f"{bundle.name}-answers.npz"


def write_answers(bundle: Bundle, probabilities: NDArray[np.float32]) -> None:
    """Store the answers of a model, as it was before its refit, on MNIST's training split.

    Args:
        bundle: The model.
        probabilities: `[60000, 10]`, in the official order; stored in 16 bits.
    """
    rounded = np.where(probabilities < MIN_STORED, 0, probabilities).astype(np.float16)
    path = answers_path(bundle.folder)
    np.savez_compressed(
        path, allow_pickle=False, probabilities=rounded, version=bundle.metadata.version
    )


def stored_answers(bundle: Bundle) -> NDArray[np.float32]:
    """Return what `write_answers` stored, rows summing to 1.

    Raises:
        PublishError: There are no answers of this version of the model.
    """
    path = answers_path(bundle.folder)
    name, version = bundle.metadata.name, bundle.metadata.version
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            if int(stored["version"]) == version:
                values = stored["probabilities"].astype(np.float32)
                return np.asarray(values / values.sum(axis=1, keepdims=True))
    raise PublishError(
        f"{name} cannot teach: {path}, its answers on the training digits, does not exist or is not"
        f" of version {version}. Train {name} again: that writes the network before its refit, from"
        f" which `python -m training.teachers {name} --data mnist.npz` writes the answers."
    )


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
    return open_compiled(load_teacher(bundle), images if bundle.has(INT8_FILE) else None)


def open_compiled(network: keras.Model, images: NDArray[np.uint8] | None) -> LiteRtRuntime:
    """Compile a network and open it; each call uses two threads.

    Args:
        network: The network.
        images: Training digits, uint8 `[N, 28, 28]`, that set the value ranges in int8; None
            compiles in float32 alone.
    """
    int8 = None if images is None else compile_int8(network, images)
    return LiteRtRuntime(compile_model(network), int8=int8, interpreters=1, threads=2)


def main() -> None:
    """Let a model answer MNIST's training digits as it was before its refit, and store that."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, default=None)
    arguments = parser.parse_args()
    bundle = open_bundle(read_settings().model_dir / arguments.model)
    images = data.load(arguments.data, "train").images
    teacher = open_teacher(bundle, images)
    write_answers(bundle, teacher.predict(images).probabilities)


if __name__ == "__main__":
    main()
