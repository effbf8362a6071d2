"""The activations of every layer for one image: exact values, statistics, and 8-bit sheets.

A sheet shows one tile for each channel, from the top left in rows of `ceil(sqrt(channels))`, with
one pixel between tiles. An output `[T, C]` is a single tile of T rows and C columns. Any other
output, such as that of a dense layer, is a single tile whose pixels are its values, in rows of
`ceil(sqrt(values))`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.inference.model import Model
from app.inspection.finite import check_finite
from app.network.functions import Array
from app.network.geometry import positions
from app.network.network import Layer
from app.predictions import Prediction
from app.recognise import ImageInput, Options, recognise
from app.render import grey, sheet, sheet_columns

Scale = Literal["layer", "channel"]
GAP = 1  # pixels between tiles
SATURATION_MARGIN = 0.01  # share of a function's range that counts as its end
MIN_SATURATED_SHARE = 0.99  # of a channel's units, for the channel to count as saturated


@dataclass(frozen=True)
class InspectedImage:
    """One image and the output of every layer for it.

    Attributes:
        model: The model.
        prediction: The model's prediction for the image.
        outputs: Every layer's output without the batch, float32, by the layer's name.
    """

    model: Model
    prediction: Prediction
    outputs: Mapping[str, NDArray[np.float32]]

    def of(self, layer: Layer) -> NDArray[np.float32]:
        """Return a layer's output."""
        return self.outputs[layer.name]

    @property
    def image(self) -> Array:
        """Return the network's input, float32 `[28, 28, 1]`, 0..255."""
        return self.prediction.prepared.pixels.astype(np.float32)[..., None]


@dataclass(frozen=True)
class Statistics:
    """Statistics of each channel; an output without positions counts as one channel.

    Attributes:
        low: Smallest value, float32 `[C]`.
        high: Largest value, float32 `[C]`.
        mean: Mean, float32 `[C]`.
        std: Standard deviation, float32 `[C]`.
        zeros: Share of values that are exactly 0, float64 `[C]`, 0..1.
        strongest: Row and column of the largest value, `[C, 2]`; column 0 in an output `[T, C]`.
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
        pixels: uint8 `[H, W]`; the value of a unit is about `low + pixel / 255 (high - low)`.
        low: Value of pixel 0: `[1]` for the whole layer, or `[C]` for each channel: tile, or column
            of an output `[T, C]`.
        high: Value of pixel 255, of the same shape.
        tile: Height and width of a tile, in pixels.
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
    """Run one image and keep the output of every layer.

    Always runs the float32 model, as equations do not hold in int8.

    Raises:
        UnsupportedLayerError: A layer gives values that are not finite.
        DigitscopeError: An error of `app.recognise.read_image`.
    """
    model = model.in_float32
    prediction = recognise(image, model, options)
    outputs = model.runtime.inspect(prediction.prepared.pixels[None])
    for layer in model.network.layers:
        check_finite(outputs[layer.name], layer)
    return InspectedImage(model, prediction, {name: values[0] for name, values in outputs.items()})


def statistics(values: Array) -> Statistics:
    """Return the statistics of each channel of `[H, W, C]` or `[T, C]`, or of `[D]` as a whole."""
    size = positions(values.shape)
    flat = values.reshape(-1, values.shape[-1] if size else 1)
    width = size[1] if size else 1
    return Statistics(
        low=flat.min(axis=0),
        high=flat.max(axis=0),
        mean=flat.mean(axis=0),
        std=flat.std(axis=0),
        zeros=(flat == 0).mean(axis=0),
        strongest=np.stack(np.divmod(flat.argmax(axis=0), width), axis=-1),
    )


def dead(values: Array) -> list[int]:
    """Return the channels of `[..., C]` in which every value is 0."""
    return [int(at) for at in np.flatnonzero(~values.reshape(-1, values.shape[-1]).any(axis=0))]


def saturated(layer: Layer, values: Array) -> list[int]:
    """Return the channels of a bounded activation in which nearly every value is at an end.

    Only functions with bounds saturate, such as sigmoid, tanh and a ReLU with a largest value.
    """
    function = layer.operation.activation if layer.operation else None
    if function is None or function.bounds is None:
        return []
    bounds = function.bounds
    margin = SATURATION_MARGIN * (bounds.high - bounds.low)
    at_end = values >= bounds.high - margin
    if bounds.saturates_low:
        at_end |= values <= bounds.low + margin
    share = at_end.reshape(-1, values.shape[-1]).mean(axis=0)
    return [int(at) for at in np.flatnonzero(share >= MIN_SATURATED_SHARE)]


def make_sheet(values: Array, scale: Scale = "layer") -> Sheet:
    """Draw a layer's output.

    Args:
        values: `[H, W, C]`, `[T, C]` or any other shape.
        scale: `layer` for one range of grey levels, `channel` for one for each channel.
    """
    if scale == "channel" and positions(values.shape):
        flat = values.reshape(-1, values.shape[-1])
        low, high = flat.min(axis=0), flat.max(axis=0)
    else:
        low, high = values.min(keepdims=True).reshape(1), values.max(keepdims=True).reshape(1)
    if values.ndim == 3:
        pixels = grey(values, low, high).transpose(2, 0, 1)
    elif values.ndim == 2:
        pixels = grey(values, low, high)[None]
    else:
        pixels = _as_tile(grey(values, low, high))
    return Sheet(
        sheet(pixels, gap=GAP),
        low,
        high,
        (pixels.shape[1], pixels.shape[2]),
        sheet_columns(len(pixels)),
        GAP,
    )


def _as_tile(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Arrange the units of a layer without rows and columns in about a square, `[1, H, W]`."""
    flat = pixels.reshape(-1)
    width = sheet_columns(flat.size)
    height = -(-flat.size // width)
    return np.pad(flat, (0, height * width - flat.size)).reshape(1, height, width)
