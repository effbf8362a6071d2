"""Checks the files of a bundle without loading its model.

A model file is only data: this refuses whatever declares more than it holds, leads elsewhere or
cannot be read. Loading a model checks the same again, in the same functions.
"""

from collections.abc import Callable
from pathlib import Path

from app.archives import check_npz
from app.bundle import SOURCE_FILE, Bundle
from app.errors import BundleError
from app.inference.litert_runtime import check_compiled
from app.inference.tflite_runtime import open_tflite as check_tflite
from app.network.keras_file import check_keras_file


def check_bundle(bundle: Bundle) -> None:
    """Check every file of a bundle whose content is read when the model is used.

    Raises:
        BundleError: Files cannot be used; the message names each with the reason.
    """
    checks: dict[str, Callable[[bytes], object]] = {
        ".keras": lambda content: check_keras_file(content, bundle.metadata.parameters),
        ".tflite": check_compiled,
        ".npz": check_npz,
    }
    faults = []
    for name in bundle.metadata.files:
        check = check_tflite if name == SOURCE_FILE else checks.get(Path(name).suffix)
        if check:
            try:
                check(bundle.read(name))
            except (ValueError, BundleError) as error:
                detail = error.detail if isinstance(error, BundleError) else str(error)
                faults.append(f"{bundle.folder / name}: {detail}")
    if faults:
        raise BundleError(" ".join(faults))
