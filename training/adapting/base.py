"""Opens the network that is adapted: as it is served, and as the layers that stay and learn."""

import hashlib
from dataclasses import dataclass

from app.bundle import DIGITS, KERAS_FILE, METADATA, Bundle
from app.inference.keras_compiler import compile_model
from app.inference.keras_runtime import load_keras
from app.inference.loading import LoadOptions, load_model, read_compiled
from app.inference.model import Model
from training.adapting.tail import SplitNetwork, split_network
from training.errors import AdaptError


@dataclass(frozen=True)
class Base:
    """The network that is adapted.

    Attributes:
        bundle: Its bundle.
        model: The network as it is served.
        split: The network whose tail learns.
    """

    bundle: Bundle
    model: Model
    split: SplitNetwork

    @property
    def name(self) -> str:
        """Return the name of the model."""
        return self.bundle.metadata.name

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of its metadata, which hold those of all files."""
        return hashlib.sha256((self.bundle.folder / METADATA).read_bytes()).hexdigest()


def open_base(bundle: Bundle, *, deep: bool) -> Base:
    """Open a network.

    Args:
        bundle: Its bundle.
        deep: Whether all layers from the last convolution on learn.

    Raises:
        AdaptError: It cannot be adapted.
        BundleError: A file of the bundle is damaged.
    """
    _check(bundle)
    network = load_keras(bundle.read(KERAS_FILE))
    split = split_network(network, bundle.metadata.name, deep=deep)
    compiled = read_compiled(bundle) if bundle.is_compiled else compile_model(network)
    options = LoadOptions(interpreters=1)
    model = load_model(bundle, compiled, options, preloaded=1, on_batch=lambda images: None)
    return Base(bundle, model, split)


def _check(bundle: Bundle) -> None:
    """Check that a network can be adapted.

    Raises:
        AdaptError: It does not read the ten digits, or its weights cannot be trained.
    """
    metadata = bundle.metadata
    if tuple(metadata.classes[: len(DIGITS)]) != DIGITS:
        raise AdaptError(
            f"The classes of the model {metadata.name!r} are not the ten digits, so MNIST's digits"
            " cannot tell whether it forgets. Only networks for digits can be adapted."
        )
    if metadata.runtime != "litert":
        reason = {
            "tflite": "is a .tflite file, whose weights cannot be trained; import its Keras or ONNX"
            " file instead",
            "keras": "is served by Keras, because LiteRT cannot run it",
        }[metadata.runtime]
        raise AdaptError(f"The model {metadata.name!r} {reason}. Adapt another one.")
