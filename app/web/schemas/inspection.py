"""The bodies of the inspecting routes' answers, as the OpenAPI document shows them."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.web.schemas.predictions import ModelName, PredictionAnswer


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class FieldAnswer(_Answer):
    """What units see of the 28x28, were nothing cut off at its border; rows first."""

    size: tuple[int, int]
    stride: tuple[int, int] | None = Field(
        description="How far the fields of neighbours lie apart; null where units have no place."
    )
    offset: tuple[int, int] | None = Field(
        description="First row and column that unit (0, 0) sees; negative where padding lies."
    )


class WeightAnswer(_Answer):
    """One array of numbers that a layer holds."""

    name: str
    shape: list[int]


class LayerName(_Answer):
    """Which layer: index, name (a path in a model of models) and Keras class."""

    index: int
    name: str
    type: str


class LayerAnswer(LayerName):
    """One layer and what it does."""

    description: str = Field(description="What it does, in plain words.")
    formula: str
    config: dict[str, Any]
    inputs: list[str] = Field(description="The layers that feed it; `image` is the input.")
    input_shapes: list[list[int]] = Field(description="Without the batch: rows, columns, channels.")
    output_shape: list[int]
    parameters: int
    weights: list[WeightAnswer]
    multiply_adds: int = Field(description="For one image.")
    receptive_field: FieldAnswer
    active_at_inference: bool = Field(description="False for what works in training only.")
    computable: bool = Field(
        description="Whether the service knows its arithmetic: equations, ablations, explanations."
    )


class LayersAnswer(_Answer):
    """Every layer of a model, in an order in which they can be computed."""

    model: ModelName
    input_shape: list[int]
    parameters: int
    multiply_adds: int
    layers: list[LayerAnswer]


class WeightsAnswer(_Answer):
    """A layer's weights."""

    model: ModelName
    layer: LayerName
    weights: dict[str, Any] = Field(description="Nested lists by name.")


class StatisticsAnswer(_Answer):
    """Figures of one layer."""

    min: float
    max: float
    mean: float
    std: float
    zeros: float = Field(description="Share of values that are exactly 0.")
    argmax: list[int] = Field(description="Index of the largest value.")


class ChannelsAnswer(_Answer):
    """Figures of each channel, one entry for each."""

    min: list[float]
    max: list[float]
    mean: list[float]
    std: list[float]
    zeros: list[float]
    argmax: list[tuple[int, int]] = Field(description="Row and column of the largest value.")


class SheetAnswer(_Answer):
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


class InspectionAnswer(_Answer):
    """One image as every layer saw it."""

    prediction: PredictionAnswer
    layers: list[LayerActivity]


class ActivationsAnswer(_Answer):
    """One layer's values, rounded to about seven digits; `.npy` has them exactly."""

    prediction: PredictionAnswer
    layer: LayerName
    shape: list[int]
    values: list[Any] = Field(description="Rows, columns, channels; or units.")


class BoxOnImage(_Answer):
    """A rectangle of whole pixels on the 28x28, or of units in a layer's output."""

    x: int = Field(description="First column.")
    y: int = Field(description="First row.")
    width: int = Field(description="Number of columns.")
    height: int = Field(description="Number of rows.")
    top: int = Field(deprecated=True, description="First row. Use `y`.")
    left: int = Field(deprecated=True, description="First column. Use `x`.")
    bottom: int = Field(deprecated=True, description="Last row, inclusive. Use `y` and `height`.")
    right: int = Field(deprecated=True, description="Last column, inclusive. Use `x` and `width`.")


class RegionOnUpload(_Answer):
    """A rectangle in the upload's own pixels; may extend past its border."""

    x: float = Field(description="Left edge, in pixels from the upload's left edge.")
    y: float = Field(description="Top edge, in pixels from the upload's top edge.")
    width: float = Field(description="Width, in pixels.")
    height: float = Field(description="Height, in pixels.")


class UnitAddress(_Answer):
    """Which unit; `y` and `x` are null in layers without places."""

    channel: int
    y: int | None
    x: int | None


class PlaceAnswer(LayerName):
    """The part of a layer's output that the unit depends on."""

    box: BoxOnImage


class TraceAnswer(_Answer):
    """What the unit sees, from its own layer back to the upload."""

    layers: list[PlaceAnswer] = Field(description="Layers with places, the unit's own first.")
    image: BoxOnImage | None = Field(description="On the 28x28; null if only padding is seen.")
    upload: RegionOnUpload | None


class UnitAnswer(_Answer):
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


class ChangeAnswer(_Answer):
    """The prediction with some channels off."""

    channels: list[int]
    digit: int
    probabilities: list[float] = Field(min_length=10, max_length=10)
    logits: list[float] = Field(min_length=10, max_length=10)
    logit_change: float = Field(description="Of the digit that is read with all channels.")
    probability_change: float
    changed: bool = Field(description="Whether another digit is read.")


class AblationAnswer(_Answer):
    """What is read without some channels of a layer."""

    prediction: PredictionAnswer
    layer: LayerName
    target: int = Field(description="The digit whose logit is watched.")
    baseline_logit: float
    ablations: list[ChangeAnswer] = Field(
        description="One for the channels named; else one for each channel, by size of the change."
    )


class NeighbourAnswer(_Answer):
    """One training digit."""

    index: int = Field(description="Position in MNIST's training split.")
    label: int
    distance: float = Field(
        description=(
            "Between the directions of the features that enter the logits: 0 for the same, about"
            " 1.4 for two that have nothing in common."
        )
    )
    image: str = Field(description="28x28 grey PNG as base64.")


class NeighboursAnswer(_Answer):
    """Where the image lies among the training digits."""

    prediction: PredictionAnswer
    neighbours: list[NeighbourAnswer]
    votes: dict[int, int] = Field(description="How many of the neighbours show which digit.")
    among: int = Field(description="How many training digits were looked at.")
    percentile: float = Field(
        ge=0,
        le=100,
        description=(
            "Of held-out digits, how many in a hundred lie nearer to their nearest training digit."
            " Near 100, the image is unlike anything seen."
        ),
    )
    typical_distance: float = Field(description="Median over held-out digits.")
    text: str


class LayerComparisonAnswer(_Answer):
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


class ComparisonAnswer(_Answer):
    """Two images in one model, or one image in two, layer by layer."""

    predictions: tuple[PredictionAnswer, PredictionAnswer]
    layers: list[LayerComparisonAnswer] = Field(description="Those with the same name.")
    only_first: list[str]
    only_second: list[str]
    parted: LayerName | None = Field(description="The first layer in which they are unlike.")
    text: str


class CompletenessAnswer(_Answer):
    """Whether integrated gradients account for all of what they explain."""

    map_sum: float = Field(description="What the map adds up to.")
    difference: float = Field(description="What it should: the value less that of a black image.")
    error: float = Field(description="How far these are apart.")
    relative_error: float = Field(description="The same as a share of `difference`.")


class DeletionAnswer(_Answer):
    """What is left of the value while ink is blacked out, in the map's order and in random ones."""

    fractions: list[float] = Field(description="Shares of the ink's pixels that are deleted.")
    by_map: list[float]
    at_random: list[float] = Field(description="Mean over eight random orders of the same pixels.")
    area_by_map: float = Field(description="Mean of the curve; lower is better.")
    area_at_random: float
    better_than_random: bool


class RandomisedAnswer(_Answer):
    """The same map on the network with every kernel shuffled (Adebayo et al., 2018)."""

    map: list[list[float]]
    similarity: float | None = Field(
        description=(
            "Spearman's rank correlation of the sizes over all pixels; null if a map is constant."
            " Near 1, the map shows the image rather than what was learned."
        )
    )
    similarity_on_ink: float | None = Field(description="The same over pixels with ink.")


class ChecksAnswer(_Answer):
    """What the map is worth."""

    deletion: DeletionAnswer
    randomised: RandomisedAnswer


class ExplanationAnswer(_Answer):
    """Which pixels spoke for an answer."""

    prediction: PredictionAnswer
    method: str
    target: int
    contrast: int | None
    value: float = Field(description="The logit that is explained, or the difference of two.")
    map: list[list[float]] = Field(
        description=(
            "28 rows of 28: positive speaks for it. Gradients: logit per grey level; integrated"
            " gradients and occlusion: logit."
        )
    )
    min: float
    max: float
    png: str = Field(
        description="The map as base64 PNG, 28x28, diverging: red for, blue against, white 0."
    )
    limit: float = Field(description="The size that gets the full colour.")
    empty: bool = Field(description="Whether the map is 0 everywhere.")
    text: str
    layer: str | None = Field(description="Grad-CAM's layer.")
    coarse: list[list[float]] | None = Field(description="Grad-CAM's map on that layer.")
    completeness: CompletenessAnswer | None = Field(description="Of integrated gradients.")
    checks: ChecksAnswer | None = Field(description="Null with `checks=false`, or if empty.")
