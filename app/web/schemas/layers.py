"""Response bodies that describe a model's layers and their weights."""

from typing import Any

from pydantic import Field

from app.web.schemas.base import ResponseBody
from app.web.schemas.predictions import ModelName


class FieldAnswer(ResponseBody):
    """The part of the 28x28 image that a unit depends on, as if the image had no border.

    All pairs are rows first, then columns.
    """

    size: tuple[int, int] = Field(description="Rows and columns of the image that a unit sees.")
    stride: tuple[int, int] | None = Field(
        description=(
            "Distance between neighbouring units' fields; null if units have no position, see the"
            " whole image, or lie between pixels."
        )
    )
    offset: tuple[int, int] | None = Field(
        description=(
            "First row and column that unit (0, 0) sees; negative in the padding, null as `stride`."
        )
    )


class WeightAnswer(ResponseBody):
    """Name and shape of one array of a layer's weights."""

    name: str
    shape: list[int]


class LayerName(ResponseBody):
    """The fields that identify a layer."""

    index: int = Field(description="Position in the list of layers, from 0.")
    name: str = Field(description="Name; in a model that contains models, a path with slashes.")
    type: str = Field(description="Keras class.")


class LayerAnswer(LayerName):
    """A layer: what it does, its shapes and its cost."""

    description: str = Field(description="What the layer does, in words.")
    formula: str = Field(description="What the layer computes for one unit.")
    config: dict[str, Any] = Field(description="Its Keras options, without those for training.")
    inputs: list[str] = Field(description="Names of the layers that feed it; `image` is the input.")
    input_shapes: list[list[int]] = Field(
        description="Rows, columns and channels, or units, of each input."
    )
    output_shape: list[int] = Field(description="Rows, columns and channels, or units.")
    parameters: int = Field(description="Number of weights.")
    weights: list[WeightAnswer]
    multiply_adds: int = Field(description="Multiplications, most with an addition, for one image.")
    receptive_field: FieldAnswer
    active_at_inference: bool = Field(description="False if the layer acts during training only.")
    computable: bool = Field(
        description="Whether the service can compute it, for equations, ablations and explanations."
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
    classes: list[str] = Field(description="Names of the classes, in the order of probabilities.")
    input_shape: list[int] = Field(description="Rows, columns and channels of the image.")
    parameters: int = Field(description="Number of weights of all layers.")
    multiply_adds: int = Field(
        description=(
            "Multiplications of all layers, for one image; in `/models`, `multiply_adds` counts"
            " convolutions and dense layers only."
        )
    )
    layers: list[LayerAnswer]


class WeightsAnswer(ResponseBody):
    """A layer's weights."""

    model: ModelName
    layer: LayerName
    weights: dict[str, Any] = Field(description="Arrays as nested lists, by name.")
