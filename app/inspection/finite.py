"""Refuses values that are not finite: a network that is fed an unusual image may give them."""

import numpy as np

from app.errors import UnsupportedLayerError
from app.network.functions import Array
from app.network.network import Layer


def check_finite(values: Array, layer: Layer) -> None:
    """Check that a layer's values, or numbers computed from them, are finite.

    Raises:
        UnsupportedLayerError: Some are infinite or not a number.
    """
    if not np.isfinite(values).all():
        raise UnsupportedLayerError(
            f"The layer {layer.name!r} ({layer.kind}) gives values that are infinite or not a"
            " number, for this image or one that the explanation compares it with. Another image"
            " may work.",
            layer=layer.name,
        )
