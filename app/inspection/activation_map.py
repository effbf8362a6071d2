"""A layer's output with one byte for each value, to draw a whole network many times a second.

The values lie channel by channel, so that each channel's picture is one run of bytes. They are
exact to half of 1/255 of the layer's range; `app.inspection.activations` gives exact values.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.network.functions import Array
from app.network.network import Layer
from app.render import grey

FULL_COLOUR_SHARE = 0.996  # of a layer's values; a few very large ones would leave the rest pale


@dataclass(frozen=True)
class LayerMap:
    """One layer's output in bytes.

    Attributes:
        layer: The layer.
        levels: uint8 `[C, ...]`: the axes of the layer's shape, its last axis first. A value is
            about `low + level / 255 (high - low)`.
        low: Value of level 0.
        high: Value of level 255.
        percentile: The smallest magnitude that `FULL_COLOUR_SHARE` of the values do not exceed.
        constant: Channels whose values are all the same; none in a layer without rows.
    """

    layer: Layer
    levels: NDArray[np.uint8]
    low: float
    high: float
    percentile: float
    constant: list[int]


def map_layer(layer: Layer, values: Array, ends: tuple[float, float] | None = None) -> LayerMap:
    """Return a layer's output as bytes.

    Args:
        layer: The layer.
        values: Its output, finite and in its shape.
        ends: Values of levels 0 and 255; None for the smallest and largest of the layer.
    """
    low, high = ends or (values.min(), values.max())
    return LayerMap(
        layer=layer,
        levels=np.moveaxis(grey(values, low, high), -1, 0),
        low=float(low),
        high=float(high),
        percentile=_percentile(values),
        constant=_constant_channels(values),
    )


def _percentile(values: Array) -> float:
    sizes = np.abs(values).reshape(-1)
    at = math.ceil(FULL_COLOUR_SHARE * sizes.size) - 1
    return float(np.partition(sizes, at)[at])


def _constant_channels(values: Array) -> list[int]:
    if values.ndim < 2:
        return []
    flat = values.reshape(-1, values.shape[-1])
    return [int(at) for at in np.flatnonzero((flat == flat[0]).all(axis=0))]
