"""Response bodies that describe a model's layers and their weights."""

from typing import Any

from pydantic import Field

from app.web.schemas.base import ResponseBody
from app.web.schemas.predictions import ModelName


class FieldAnswer(ResponseBody):
    """What units see of the 28x28, were nothing cut off at its border; rows first."""

    size: tuple[int, int]
    stride: tuple[int, int] | None = Field(
        description="How far the fields of neighbours lie apart; null where units have no place."
    )
    offset: tuple[int, int] | None = Field(
        description="First row and column that unit (0, 0) sees; negative where padding lies."
    )


class WeightAnswer(ResponseBody):
    """One array of numbers that a layer holds."""

    name: str
    shape: list[int]


class LayerName(ResponseBody):
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
    changes_values: bool = Field(
        description="False if every output value is copied from the input, or a zero of a padding."
    )
    keeps_channels: bool = Field(
        description="Whether output channel c depends only on channel c of the layer's one input."
    )
    convolution: str | None = Field(
        description=(
            "The layer whose kernels make this layer's channels (itself, for a convolution); null"
            " where no layer does, or where channels are mixed afterwards."
        )
    )
    activation: str | None = Field(
        description="Activation function that makes the output, such as `relu`; null without one."
    )
    ablatable: bool = Field(description="Whether `/ablate` can switch off its channels.")


class LayersAnswer(ResponseBody):
    """Every layer of a model, in an order in which they can be computed."""

    model: ModelName
    input_shape: list[int]
    parameters: int
    multiply_adds: int
    layers: list[LayerAnswer]


class WeightsAnswer(ResponseBody):
    """A layer's weights."""

    model: ModelName
    layer: LayerName
    weights: dict[str, Any] = Field(description="Nested lists by name.")
