"""The network of a bundle that has not seen the held-out digits.

That is the published one, unless it was refitted on all digits: then the bundle keeps the network
before that, which is compiled here when it is asked for.
"""

import keras
import numpy as np
from numpy.typing import NDArray

from app.bundle import INT8_FILE, KERAS_FILE, PRE_REFIT_FILE, Bundle
from app.inference.keras_compiler import compile_model
from app.inference.keras_runtime import load_keras
from app.inference.litert_runtime import LiteRtRuntime, open_runtime
from training.quantize import compile_int8


def load_pre_refit(bundle: Bundle) -> keras.Model:
    """Load the Keras file of `open_pre_refit`'s network.

    Raises:
        BundleError: The file is missing, not as published or no network.
    """
    return load_keras(bundle.read(PRE_REFIT_FILE if bundle.metadata.refitted else KERAS_FILE))


def open_pre_refit(bundle: Bundle, shown: NDArray[np.uint8]) -> LiteRtRuntime:
    """Load a bundle's network as it is served, or as it would have been before its refit.

    Args:
        bundle: The bundle.
        shown: Training digits, `[N, 28, 28]`, for the ranges of a network that computes in int8.

    Returns:
        The network; each call runs on two threads.

    Raises:
        BundleError: A file is missing, not as published or no network.
    """
    if not bundle.metadata.refitted:
        return open_runtime(bundle, threads=2)
    network = load_pre_refit(bundle)
    int8 = compile_int8(network, shown) if bundle.has(INT8_FILE) else None
    return LiteRtRuntime(compile_model(network), int8=int8, interpreters=1, threads=2)
