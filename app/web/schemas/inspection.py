"""Response bodies about one image inside a network: activations, single units, comparisons."""

from typing import Any

from pydantic import Field

from app.web.schemas.base import ResponseBody
from app.web.schemas.layers import LayerName
from app.web.schemas.predictions import PredictionAnswer


class StatisticsAnswer(ResponseBody):
    """Figures of one layer."""

    min: float
    max: float
    mean: float
    std: float
    zeros: float = Field(description="Share of values that are exactly 0.")
    argmax: list[int] = Field(description="Index of the largest value.")


class ChannelsAnswer(ResponseBody):
    """Figures of each channel, one entry for each."""

    min: list[float]
    max: list[float]
    mean: list[float]
    std: list[float]
    zeros: list[float]
    argmax: list[tuple[int, int]] = Field(description="Row and column of the largest value.")


class SheetAnswer(ResponseBody):
    """One 8-bit picture of a layer.

    Tile `c` stands in row `c // columns` and column `c % columns`; its top left pixel is at
    `row * (tile[0] + gap)`, `column * (tile[1] + gap)`. A unit's value is about
    `vmin + pixel / 255 * (vmax - vmin)`. A layer without places is one tile, its units row by row.
    """

    png: str = Field(description="Grey PNG as base64.")
    vmin: float | list[float] = Field(description="A list, by channel, with `scale=channel`.")
    vmax: float | list[float]
    tile: tuple[int, int] = Field(description="Height and width.")
    columns: int
    gap: int
    tiles: int


class LayerActivity(LayerName):
    """What a layer holds for this image."""

    shape: list[int]
    statistics: StatisticsAnswer
    channels: ChannelsAnswer | None = Field(description="Null for layers without places.")
    values: list[float] | None = Field(description="Every unit, for layers without places.")
    dead: list[int] = Field(description="Channels (or units) in which every value is 0.")
    saturated: list[int] = Field(
        description="Channels of a bounded activation in which nearly all values are at an end."
    )
    sheet: SheetAnswer | None = Field(description="Only with `include=sheets`.")


class InspectionAnswer(ResponseBody):
    """One image as every layer saw it."""

    prediction: PredictionAnswer
    layers: list[LayerActivity]


class ActivationsAnswer(ResponseBody):
    """One layer's values, rounded to about seven digits; `.npy` has them exactly."""

    prediction: PredictionAnswer
    layer: LayerName
    shape: list[int]
    values: list[Any] = Field(description="Rows, columns, channels; or units.")


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
    """Which unit; `y` and `x` are null in layers without places."""

    channel: int
    y: int | None
    x: int | None


class PlaceAnswer(LayerName):
    """The part of a layer's output that the unit depends on."""

    box: BoxOnImage


class TraceAnswer(ResponseBody):
    """What the unit sees, from its own layer back to the upload."""

    layers: list[PlaceAnswer] = Field(description="Layers with places, the unit's own first.")
    image: BoxOnImage | None = Field(description="On the 28x28; null if only padding is seen.")
    upload: RegionOnUpload | None


class UnitAnswer(ResponseBody):
    """Where one number comes from."""

    prediction: PredictionAnswer
    layer: LayerName
    unit: UnitAddress
    inputs: list[str]
    formula: str = Field(description="What the layer computes.")
    equation: str = Field(
        description="The same with this unit's numbers; long sums name their largest terms."
    )
    operands: dict[str, Any] = Field(
        description="Every number that entered: patch and kernel, the row of a dense layer, ..."
    )
    channel_sums: list[float] | None = Field(description="What each input channel adds.")
    bias: float | None
    pre_activation: float | None = Field(description="What entered the layer's activation.")
    reconstructed: float = Field(description="The equation, worked out.")
    observed: float = Field(description="What the network gave.")
    abs_error: float
    trace: TraceAnswer


class LayerComparisonAnswer(ResponseBody):
    """How alike the two are in one layer."""

    layer: LayerName
    other: LayerName
    cosine: float | None = Field(description="Null where shapes differ or one is all 0.")
    relative_distance: float | None = Field(
        description="Length of the difference over the mean length."
    )
    max_difference: float | None
    alignment: float | None = Field(
        description="Linear CKA over places, 0..1; does not care which channel is which."
    )
    channels: list[int] = Field(description="Those that differ most, the most different first.")


class ComparisonAnswer(ResponseBody):
    """Two images in one model, or one image in two, layer by layer."""

    predictions: tuple[PredictionAnswer, PredictionAnswer]
    layers: list[LayerComparisonAnswer] = Field(description="Those with the same name.")
    only_first: list[str]
    only_second: list[str]
    parted: LayerName | None = Field(description="The first layer in which they are unlike.")
    text: str
