"""What every layer holds for one image: exact values, statistics, and sheets of 8-bit tiles.

A sheet shows one tile for each channel, from the top left in rows of `ceil(sqrt(channels))`, with a
line of one pixel between tiles. A layer without places (a dense one) is one tile whose pixels are
its units, in rows of `ceil(sqrt(units))`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.inference.model import Model
from app.network.functions import Array
from app.network.network import Layer
from app.network.operations import Convolution, Dense, Elementwise
from app.predictions import Prediction
from app.recognise import ImageInput, Options, recognise
from app.render import grey, sheet, sheet_columns

Scale = Literal["layer", "channel"]
GAP = 1  # pixels between tiles
NEAR = 0.01  # of a function's range: so close to its end a unit counts as saturated
MAX_TILES = 0.99  # share of units that make a channel saturated

# The ends of the bounded functions.
_BOUNDS = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
}


@dataclass(frozen=True)
class InspectedImage:
    """One image, as every layer of a network saw it.

    Attributes:
        model: The model.
        prediction: What it reads.
        outputs: Every layer's output without the batch, float32, by the layer's path.
    """

    model: Model
    prediction: Prediction
    outputs: Mapping[str, NDArray[np.float32]]

    def of(self, layer: Layer) -> NDArray[np.float32]:
        """Return a layer's output."""
        return self.outputs[layer.name]

    @property
    def image(self) -> Array:
        """Return what the network received, float32 `[28, 28, 1]`."""
        return self.prediction.prepared.pixels.astype(np.float32)[..., None]


@dataclass(frozen=True)
class Statistics:
    """Figures of one layer or of each of its channels.

    Attributes:
        low: Smallest value, float32 `[C]`, or `[1]` of the whole layer; the others likewise.
        high: Largest value.
        mean: Mean.
        std: Standard deviation.
        zeros: Share of values that are exactly 0, 0..1.
        strongest: Index of the largest value: `[C, 2]` row and column.
    """

    low: Array
    high: Array
    mean: Array
    std: Array
    zeros: Array
    strongest: NDArray[np.int64]


@dataclass(frozen=True)
class Sheet:
    """One 8-bit picture of a layer, and how to read it.

    Attributes:
        pixels: uint8 `[H, W]`; the value of a unit is `low + pixel / 255 (high - low)`.
        low: The value of 0, one number, or one for each channel.
        high: The value of 255, likewise.
        tile: Height and width of a tile.
        columns: Tiles in a row.
        gap: Pixels between tiles.
    """

    pixels: NDArray[np.uint8]
    low: Array
    high: Array
    tile: tuple[int, int]
    columns: int
    gap: int


def inspect_image(image: ImageInput, model: Model, options: Options) -> InspectedImage:
    """Run one image and keep what every layer gives.

    Raises:
        DigitscopeError: What `app.recognise.read_image` raises.
    """
    model = model.in_float32
    prediction = recognise(image, model, options)
    outputs = model.runtime.inspect(prediction.prepared.pixels[None])
    return InspectedImage(model, prediction, {name: values[0] for name, values in outputs.items()})


def statistics(values: Array) -> Statistics:
    """Measure each channel of `[H, W, C]`; a layer without places counts as one channel."""
    flat = values.reshape(-1, values.shape[-1]) if values.ndim == 3 else values.reshape(-1, 1)
    width = values.shape[1] if values.ndim == 3 else 1
    return Statistics(
        low=flat.min(axis=0),
        high=flat.max(axis=0),
        mean=flat.mean(axis=0),
        std=flat.std(axis=0),
        zeros=(flat == 0).mean(axis=0),
        strongest=np.stack(np.divmod(flat.argmax(axis=0), width), axis=-1),
    )


def dead(values: Array) -> list[int]:
    """Return the channels in which every value is 0 for this image."""
    return [int(at) for at in np.flatnonzero(~values.reshape(-1, values.shape[-1]).any(axis=0))]


def saturated(layer: Layer, values: Array) -> list[int]:
    """Return the channels of a bounded activation in which nearly every value is at an end.

    Only sigmoid, tanh and their like, and a ReLU with a largest value, can saturate; of a ReLU only
    the upper end counts.
    """
    ends = _ends(layer)
    if ends is None:
        return []
    low, high, lower_counts = ends
    margin = NEAR * (high - low)
    at_end = values >= high - margin
    if lower_counts:
        at_end |= values <= low + margin
    share = at_end.reshape(-1, values.shape[-1]).mean(axis=0)
    return [int(at) for at in np.flatnonzero(share >= MAX_TILES)]


def _ends(layer: Layer) -> tuple[float, float, bool] | None:
    operation = layer.operation
    if isinstance(operation, Elementwise):
        name = operation.function.name
    elif isinstance(operation, Convolution | Dense):
        name = operation.activation.name
    else:
        return None
    if name in _BOUNDS:
        return (*_BOUNDS[name], True)
    top = layer.config.get("max_value")
    if layer.config.get("activation") == "relu6":
        top = 6.0
    return (0.0, float(top), False) if name == "relu" and top is not None else None


def make_sheet(values: Array, scale: Scale = "layer") -> Sheet:
    """Draw a layer's output.

    Args:
        values: `[H, W, C]` or `[D]`.
        scale: Whether all tiles share one range, or each has its own.
    """
    tiles = values.transpose(2, 0, 1) if values.ndim == 3 else _as_tile(values)
    if scale == "channel" and values.ndim == 3:
        low, high = tiles.min(axis=(1, 2)), tiles.max(axis=(1, 2))
    else:
        low, high = values.min(keepdims=True).reshape(1), values.max(keepdims=True).reshape(1)
    pixels = grey(tiles, low[:, None, None], high[:, None, None])
    if values.ndim != 3:
        pixels.reshape(-1)[values.size :] = 0
    return Sheet(
        sheet(pixels, gap=GAP),
        low,
        high,
        (tiles.shape[1], tiles.shape[2]),
        sheet_columns(len(tiles)),
        GAP,
    )


def _as_tile(values: Array) -> Array:
    """Lay the units of a layer without places out in about a square, `[1, H, W]`."""
    flat = values.reshape(-1)
    width = sheet_columns(flat.size)
    height = -(-flat.size // width)
    return np.pad(flat, (0, height * width - flat.size)).reshape(1, height, width)
