"""Response bodies of `POST /learn/step` and `POST /layers/{layer}/gradient-unit`."""

from pydantic import Field

from app.bundle import MAX_CLASSES
from app.inspection.learning import Optimizer
from app.web.schemas.base import ResponseBody
from app.web.schemas.inspection import MapHead
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
            "Steps that were made: fewer if the numbers ended, or if the network is very large."
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
