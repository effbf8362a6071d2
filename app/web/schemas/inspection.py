"""Response bodies about one image inside a network: activations, single units, comparisons."""

from typing import Any

from pydantic import Field

from app.web.schemas.base import ResponseBody
from app.web.schemas.layers import LayerName
from app.web.schemas.predictions import PredictionAnswer

MAX_LISTED_VALUES = 1 << 15  # of one layer in `values`; JSON of them takes about 0.3 MB


class StatisticsAnswer(ResponseBody):
    """Statistics of all values of a layer."""

    min: float = Field(description="Smallest value.")
    max: float = Field(description="Largest value.")
    mean: float = Field(description="Mean.")
    std: float = Field(description="Standard deviation.")
    zeros: float = Field(description="Share of values that are exactly 0.")
    argmax: list[int] = Field(description="Index of the largest value.")


class ChannelsAnswer(ResponseBody):
    """Statistics of each channel; every list has one entry for each channel."""

    min: list[float] = Field(description="Smallest value.")
    max: list[float] = Field(description="Largest value.")
    mean: list[float] = Field(description="Mean.")
    std: list[float] = Field(description="Standard deviation.")
    zeros: list[float] = Field(description="Share of values that are exactly 0.")
    argmax: list[tuple[int, int]] = Field(
        description="Row and column of the largest value; column 0 in an output `[rows, channels]`."
    )


class SheetAnswer(ResponseBody):
    """An 8-bit picture of a layer, with one tile for each channel.

    Tile `c` is in row `c // columns` and column `c % columns`. Its top left pixel is at
    `row * (tile[0] + gap)`, `column * (tile[1] + gap)`. A unit's value is about
    `vmin + pixel / 255 * (vmax - vmin)`. An output `[rows, channels]` is one tile with a column for
    each channel. A layer without rows and columns is one tile that shows its units row by row.
    """

    png: str = Field(description="Grey PNG as base64.")
    vmin: float | list[float] = Field(
        description="Value of black; with `scale=channel`, a list with one value for each channel."
    )
    vmax: float | list[float] = Field(
        description="Value of white; with `scale=channel`, a list with one value for each channel."
    )
    tile: tuple[int, int] = Field(description="Height and width of a tile, in pixels.")
    columns: int = Field(description="Number of tiles in a row.")
    gap: int = Field(description="Pixels between tiles.")
    tiles: int = Field(description="Number of tiles.")


class LayerActivity(LayerName):
    """A layer's output for the image."""

    shape: list[int] = Field(description="Rows, columns and channels; rows and channels; or units.")
    statistics: StatisticsAnswer
    channels: ChannelsAnswer | None = Field(description="Null for layers without rows.")
    values: list[float] | None = Field(
        description=(
            "Every value, row by row, of a layer without columns that has at most"
            f" {MAX_LISTED_VALUES}; else null."
        )
    )
    dead: list[int] = Field(description="Channels, or units, whose values are all 0.")
    saturated: list[int] = Field(
        description="Channels of a bounded activation whose values are nearly all at a bound."
    )
    sheet: SheetAnswer | None = Field(
        description="Null without `include=sheets`, and for layers of more than two million values."
    )


class InspectionAnswer(ResponseBody):
    """The output of every layer for one image."""

    prediction: PredictionAnswer
    layers: list[LayerActivity]


class MapLayer(ResponseBody):
    """One layer of a map."""

    name: str = Field(description="The layer's name.")
    shape: list[int] = Field(description="Rows, columns and channels; rows and channels; or units.")
    low: float = Field(description="Value of byte 0, the smallest of the layer.")
    high: float = Field(description="Value of byte 255, the largest of the layer.")
    percentile: float = Field(
        description="The magnitude that 99.6 % of the values do not exceed; draw it in full colour."
    )
    constant: list[int] = Field(description="Channels whose values are all the same.")


class MapHead(ResponseBody):
    """The JSON at the start of a map, after its own length in 4 bytes, little-endian.

    After it follows one byte for each value of each layer, layer by layer in this order. A value is
    about `low + byte / 255 * (high - low)`. The bytes of a layer lie channel by channel: with the
    shape `[28, 28, 32]`, the first 784 bytes are the rows of channel 0.
    """

    prediction: PredictionAnswer
    layers: list[MapLayer]


class ActivationsAnswer(ResponseBody):
    """A layer's output, rounded to about seven digits; the format npy has the exact values."""

    prediction: PredictionAnswer
    layer: LayerName
    shape: list[int] = Field(description="Rows, columns and channels, or units.")
    values: list[Any] = Field(description="Nested lists in this shape.")


class BoxOnImage(ResponseBody):
    """A rectangle of whole pixels on the 28x28, or of units in a layer's output."""

    x: int = Field(description="First column.")
    y: int = Field(description="First row.")
    width: int = Field(description="Number of columns.")
    height: int = Field(description="Number of rows.")
    top: int = Field(deprecated=True, description="First row. Use `y`.")
    left: int = Field(deprecated=True, description="First column. Use `x`.")
    bottom: int = Field(deprecated=True, description="Last row, inclusive. Use `y` and `height`.")
    right: int = Field(deprecated=True, description="Last column, inclusive. Use `x` and `width`.")


class RegionOnUpload(ResponseBody):
    """A rectangle in the upload's own pixels; may extend past its border."""

    x: float = Field(description="Left edge, in pixels from the upload's left edge.")
    y: float = Field(description="Top edge, in pixels from the upload's top edge.")
    width: float = Field(description="Width, in pixels.")
    height: float = Field(description="Height, in pixels.")


class UnitAddress(ResponseBody):
    """The position of a unit in a layer's output."""

    channel: int = Field(description="Channel, or the unit of a layer without rows and columns.")
    y: int | None = Field(description="Row; null in a layer without rows.")
    x: int | None = Field(description="Column; null in a layer without columns.")


class PlaceAnswer(LayerName):
    """The part of a layer's output that the unit depends on."""

    box: BoxOnImage


class TraceAnswer(ResponseBody):
    """What the unit depends on, from its own layer back to the upload."""

    layers: list[PlaceAnswer] = Field(
        description="Layers with rows and columns, the unit's own first."
    )
    image: BoxOnImage | None = Field(
        description="On the 28x28; null if the unit sees only padding."
    )
    upload: RegionOnUpload | None = Field(description="The same box on the upload.")


class UnitAnswer(ResponseBody):
    """Where one number comes from."""

    prediction: PredictionAnswer
    layer: LayerName
    unit: UnitAddress
    inputs: list[str] = Field(description="Names of the layers that feed it; `image` is the input.")
    formula: str = Field(description="What the layer computes for one unit.")
    equation: str = Field(
        description="The formula with this unit's numbers; long sums show only their largest terms."
    )
    operands: dict[str, Any] = Field(
        description="Every number in the equation, such as a convolution's patch and kernel."
    )
    channel_sums: list[float] | None = Field(
        description="Contribution of each input channel to a weighted sum, or null."
    )
    bias: float | None = Field(description="The bias in a weighted sum, or null.")
    pre_activation: float | None = Field(
        description="Input of the layer's activation function; null if it has none."
    )
    reconstructed: float = Field(description="Result of the equation.")
    observed: float = Field(description="The network's own value.")
    abs_error: float = Field(description="Distance between `reconstructed` and `observed`.")
    trace: TraceAnswer


class LayerComparisonAnswer(ResponseBody):
    """How similar the two outputs of a layer are."""

    layer: LayerName
    other: LayerName
    cosine: float | None = Field(
        description="Cosine of the two outputs; null if their shapes differ or one is all 0."
    )
    relative_distance: float | None = Field(
        description=(
            "Length of the difference, divided by the mean length of the two outputs; null if their"
            " shapes differ."
        )
    )
    max_difference: float | None = Field(
        description="Largest absolute difference of two values; null if the shapes differ."
    )
    alignment: float | None = Field(
        description="Linear CKA over positions, 0 to 1, which ignores the order of channels."
    )
    channels: list[int] = Field(description="Channels with the largest difference, largest first.")


class ComparisonAnswer(ResponseBody):
    """Two images in one model, or one image in two models, layer by layer."""

    predictions: tuple[PredictionAnswer, PredictionAnswer]
    layers: list[LayerComparisonAnswer] = Field(
        description="Layers whose names occur in both models."
    )
    only_first: list[str] = Field(description="Names of layers that only the first model has.")
    only_second: list[str] = Field(description="Names of layers that only the second model has.")
    parted: LayerName | None = Field(description="The first layer whose outputs are not similar.")
    text: str = Field(description="The result in words.")
