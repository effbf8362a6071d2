"""Response bodies of `/explain`, `/ablate` and `/neighbours`."""

from pydantic import Field

from app.web.schemas.base import ResponseBody
from app.web.schemas.layers import LayerName
from app.web.schemas.predictions import PredictionAnswer


class CompletenessAnswer(ResponseBody):
    """Whether integrated gradients account for all of what they explain."""

    map_sum: float = Field(description="What the map adds up to.")
    difference: float = Field(description="What it should: the value less that of a black image.")
    error: float = Field(description="How far these are apart.")
    relative_error: float = Field(description="The same as a share of `difference`.")


class DeletionAnswer(ResponseBody):
    """What is left of the value while ink is blacked out, in the map's order and in random ones."""

    fractions: list[float] = Field(description="Shares of the ink's pixels that are deleted.")
    by_map: list[float]
    at_random: list[float] = Field(description="Mean over eight random orders of the same pixels.")
    area_by_map: float = Field(description="Mean of the curve; lower is better.")
    area_at_random: float
    better_than_random: bool


class RandomisedAnswer(ResponseBody):
    """The same map on the network with every kernel shuffled (Adebayo et al., 2018)."""

    map: list[list[float]]
    similarity: float | None = Field(
        description=(
            "Spearman's rank correlation of the sizes over all pixels; null if a map is constant."
            " Near 1, the map shows the image rather than what was learned."
        )
    )
    similarity_on_ink: float | None = Field(description="The same over pixels with ink.")


class ChecksAnswer(ResponseBody):
    """What the map is worth."""

    deletion: DeletionAnswer
    randomised: RandomisedAnswer


class ExplanationAnswer(ResponseBody):
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


class ChangeAnswer(ResponseBody):
    """The prediction with some channels off."""

    channels: list[int]
    digit: int
    probabilities: list[float] = Field(min_length=10, max_length=10)
    logits: list[float] = Field(min_length=10, max_length=10)
    logit_change: float = Field(description="Of the digit that is read with all channels.")
    probability_change: float
    changed: bool = Field(description="Whether another digit is read.")


class AblationAnswer(ResponseBody):
    """What is read without some channels of a layer."""

    prediction: PredictionAnswer
    layer: LayerName
    target: int = Field(description="The digit whose logit is watched.")
    baseline_logit: float
    ablations: list[ChangeAnswer] = Field(
        description="One for the channels named; else one for each channel, by size of the change."
    )


class NeighbourAnswer(ResponseBody):
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


class NeighboursAnswer(ResponseBody):
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
