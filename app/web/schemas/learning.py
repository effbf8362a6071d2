"""Response bodies of `POST /learn/step` and `POST /layers/{layer}/gradient-unit`."""

from pydantic import Field

from app.bundle import MAX_CLASSES
from app.inspection.descent import Optimizer
from app.inspection.gradient_terms import Kind
from app.web.schemas.base import ResponseBody
from app.web.schemas.inspection import MapHead, UnitAddress
from app.web.schemas.layers import LayerName
from app.web.schemas.predictions import PredictionAnswer


class LearnedWeightAnswer(ResponseBody):
    """One array of weights; lengths are Euclidean."""

    name: str = Field(description="Name of the array, such as `kernel`.")
    shape: list[int]
    norm: float = Field(description="Length of the weights before the first step.")
    gradient_norm: float = Field(description="Length of their gradient before the first step.")
    change_norm: float = Field(description="Length of their change by all steps together.")
    relative_change: float | None = Field(
        description="`change_norm` as a share of `norm`; null if the weights were all 0."
    )


class LearnedLayerAnswer(LayerName):
    """What the loss and the steps mean for a layer."""

    shape: list[int] = Field(description="Rows, columns and channels; rows and channels; or units.")
    gradient_norm: float | None = Field(
        description=(
            "Length of the gradient of the loss for the layer's output, before the first step; null"
            " if the loss does not depend on it."
        )
    )
    largest: float | None = Field(description="Largest magnitude in that gradient, or null.")
    shares_weights_with: str | None = Field(
        description="For a later call of a layer: name of the first call, which has the weights."
    )
    weights: list[LearnedWeightAnswer] = Field(
        description="The weights that training changes; measured means and variances are not here."
    )


class SamplesAnswer(ResponseBody):
    """How the network reads the ten sample digits, which it does not learn here."""

    count: int = Field(description="Number of samples, one of each digit.")
    right_before: int = Field(description="Read right before the first step.")
    right_after: int = Field(description="Read right after the last step.")


class LearningAnswer(ResponseBody):
    """What some steps of learning on one image do to a copy of the network."""

    prediction: PredictionAnswer = Field(description="Of the network as it is served.")
    label: int = Field(ge=0, lt=MAX_CLASSES, description="The right class, as requested.")
    label_name: str = Field(description="Name of that class.")
    optimizer: Optimizer
    learning_rate: float = Field(description="What gradients are multiplied by.")
    momentum: float | None = Field(
        description="Share of the last change that is added to the next one; null for `sgd`."
    )
    requested_steps: int = Field(description="Steps, as requested.")
    steps: int = Field(
        description=(
            "Steps that were made: fewer if the numbers ended, or if the network is too large for"
            " so many."
        )
    )
    loss: list[float] = Field(
        description="Cross-entropy in nats: before the first step, then after each step."
    )
    probabilities: list[list[float]] = Field(description="Of the classes, at the same times.")
    diverged: bool = Field(
        description=(
            "Whether a number left the range of float32, which ends the rows, or the last loss is"
            " larger than the first."
        )
    )
    samples: SamplesAnswer | None = Field(
        description="Null for a network of other classes than ten digits, or a very large one."
    )
    inference_mode: str = Field(description="How layers act that differ in training.")
    text: str = Field(description="The result in words.")
    layers: list[LearnedLayerAnswer]
    most_changed: list[str] = Field(
        description="Names of layers with weights, the largest relative change first."
    )


class LearningMapHead(MapHead):
    """The JSON at the start of a map of gradients, in the format of `MapHead`.

    A value is the gradient of the loss for one value of a layer's output, before the first step.
    Byte 127 is exactly 0.
    """

    step: LearningAnswer


class FactorAnswer(ResponseBody):
    """One number in a product."""

    kind: Kind = Field(
        description=(
            "`input`: an activation, or a pixel; `gradient` of a unit, whose own sum is the next to"
            " ask for; `derivative` of a layer, such as a weight or a slope; `probability` of a"
            " class; `label`: minus 1 for the right class."
        )
    )
    what: str = Field(description="What the number is, in words.")
    value: float
    layer: LayerName | None = Field(
        description="The layer whose unit it belongs to; null for a pixel or a number of no unit."
    )
    unit: UnitAddress | None = Field(description="The unit or pixel, or null.")


class TermAnswer(ResponseBody):
    """One product in the sum that makes a gradient."""

    factors: list[FactorAnswer]
    product: float


class OmittedAnswer(ResponseBody):
    """The products that are not listed, because they are smaller than those that are."""

    count: int
    sum: float


class WeightAddress(ResponseBody):
    """One number in an array of weights."""

    name: str = Field(description="Name of the array, such as `kernel`.")
    index: list[int] = Field(description="Its index in the shape of the array.")


class FiniteDifferenceAnswer(ResponseBody):
    """The gradient, measured by changing the number a little, up and down."""

    epsilon: float = Field(description="How far the number is changed.")
    loss_plus: float = Field(description="Loss of the number plus `epsilon`.")
    loss_minus: float = Field(description="Loss of the number minus `epsilon`.")
    gradient: float = Field(description="`(loss_plus - loss_minus) / (2 epsilon)`.")
    relative_error: float = Field(
        description="Distance from the gradient above, as a share of the larger of both."
    )
    kink: bool = Field(
        description=(
            "Whether the slope of the loss jumps here: a ReLU or a maximum switches, so that there"
            " is no one gradient."
        )
    )
    left: float = Field(description="Slope of the loss below the number.")
    right: float = Field(description="Slope of the loss above the number.")
    sentence: str = Field(description="The result in words.")


class GradientUnitAnswer(ResponseBody):
    """Where one gradient comes from."""

    prediction: PredictionAnswer
    label: int = Field(ge=0, lt=MAX_CLASSES, description="The right class, as requested.")
    label_name: str = Field(description="Name of that class.")
    loss: float = Field(description="Cross-entropy in nats.")
    layer: LayerName
    weight: WeightAddress | None = Field(description="The weight; null for an activation.")
    unit: UnitAddress | None = Field(description="The activation; null for a weight.")
    value: float = Field(description="Value of the weight or activation.")
    gradient: float = Field(description="By how much the loss rises for each unit of the value.")
    sentence: str = Field(description="What the sum means, in words.")
    equation: str = Field(description="The sum with its numbers; only its largest products.")
    terms: list[TermAnswer] = Field(description="The largest products, largest first.")
    count: int = Field(description="Number of products that are not 0.")
    omitted: OmittedAnswer
    finite_difference: FiniteDifferenceAnswer
