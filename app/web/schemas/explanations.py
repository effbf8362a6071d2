"""Response bodies of `/explain`, `/ablate` and `/neighbours`."""

from pydantic import Field

from app.bundle import MAX_CLASSES
from app.inspection.attribution import METHODS, MethodName, methods_filling
from app.inspection.checks import RANDOM_ORDERS
from app.inspection.methods.method import Parameter
from app.web.schemas.base import ResponseBody
from app.web.schemas.layers import LayerName
from app.web.schemas.predictions import PredictionAnswer

_UNITS = "; ".join(f"`{method.name}`: {method.unit}" for method in METHODS.values())


class MethodAnswer(ResponseBody):
    """An explanation method."""

    name: MethodName = Field(description="Value of the parameter `method`.")
    title: str
    description: str = Field(description="What the method does.")
    limits: str = Field(description="What its map cannot show.")
    reference: str = Field(description="The paper.")
    unit: str = Field(description="Unit of the map's values.")
    parameters: list[Parameter] = Field(description="The optional parameters that it uses.")
    needs_gradients: bool = Field(
        description=(
            "Whether it works only for networks that the service can compute itself: those whose"
            " layers up to the logits are all `computable`."
        )
    )


class MethodsAnswer(ResponseBody):
    """All explanation methods."""

    default: MethodName
    methods: list[MethodAnswer]


class CompletenessAnswer(ResponseBody):
    """Whether the map adds up to the change of the score from a black image to this one."""

    map_sum: float = Field(description="Sum of the map.")
    difference: float = Field(description="`value` minus the value for a black image.")
    error: float = Field(description="Absolute difference of `map_sum` and `difference`.")
    relative_error: float = Field(description="`error` as a share of `difference`.")


class DeletionAnswer(ResponseBody):
    """The score while ink is blacked out, in the map's order and in random orders."""

    fractions: list[float] = Field(description="Share of the ink's pixels that are deleted.")
    by_map: list[float] = Field(description="Score in the map's order, largest values first.")
    at_random: list[float] = Field(
        description="Mean score over `random_orders` random orders of the same pixels."
    )
    random_orders: int = Field(
        description=f"{RANDOM_ORDERS}, or fewer if the network is too slow for as many."
    )
    area_by_map: float = Field(description="Mean of `by_map`; lower is better.")
    area_at_random: float = Field(description="Mean of `at_random`.")
    better_than_random: bool = Field(description="Whether `area_by_map` is below `area_at_random`.")


class RandomisedAnswer(ResponseBody):
    """The same map for the network with every kernel shuffled (Adebayo et al., 2018)."""

    map: list[list[float]] = Field(description="28 rows of 28 values.")
    similarity: float | None = Field(
        description=(
            "Spearman's rank correlation of the two maps' magnitudes over all pixels; null if a"
            " map is constant. Near 1, the map shows the image rather than what was learned."
        )
    )
    similarity_on_ink: float | None = Field(
        description="The same correlation over the pixels with ink."
    )


class ChecksAnswer(ResponseBody):
    """Two checks of whether the map explains the network."""

    deletion: DeletionAnswer
    randomised: RandomisedAnswer | None = Field(
        description="Null if the service cannot compute a layer of the network."
    )


class ExplanationAnswer(ResponseBody):
    """How much each pixel contributes to an answer."""

    prediction: PredictionAnswer
    method: str = Field(description="Name of the method.")
    target: int = Field(description="The digit whose logit is explained.")
    contrast: int | None = Field(description="The digit whose logit is subtracted.")
    value: float = Field(description="The logit that is explained, or the difference of two.")
    map: list[list[float]] = Field(
        description=f"28 rows of 28 values; positive raises `value`. Units: {_UNITS}."
    )
    min: float = Field(description="Smallest value of the map.")
    max: float = Field(description="Largest value of the map.")
    png: str = Field(
        description="The map as base64 PNG, 28x28: red is positive, blue negative, white 0."
    )
    limit: float = Field(description="The magnitude that gets the full colour in `png`.")
    empty: bool = Field(description="Whether the map is 0 everywhere.")
    text: str = Field(description="The result in words.")
    layer: str | None = Field(
        description=f"The layer that the map comes from. Only {methods_filling('layer')}."
    )
    coarse: list[list[float]] | None = Field(
        description=f"The map at that layer's resolution. Only {methods_filling('coarse')}."
    )
    completeness: CompletenessAnswer | None = Field(
        description=f"Check of the map's sum. Only {methods_filling('completeness')}."
    )
    steps: int | None = Field(
        description=(
            "Number of gradients that the map is the mean of: points from black to the image, or"
            f" noisy copies. Only {methods_filling('steps')}."
        )
    )
    checks: ChecksAnswer | None = Field(
        description="Null with `checks=false`, or if the map is empty."
    )


class ChangeAnswer(ResponseBody):
    """The prediction with some channels switched off."""

    channels: list[int] = Field(description="The channels that are off.")
    digit: int = Field(description="The predicted digit without them.")
    label: str = Field(description="Name of the predicted class.")
    probabilities: list[float] = Field(min_length=2, max_length=MAX_CLASSES)
    logits: list[float] = Field(min_length=2, max_length=MAX_CLASSES)
    logit_change: float = Field(description="Logit of `target`, minus `baseline_logit`.")
    probability_change: float = Field(
        description="Probability of `target`, minus its probability with all channels."
    )
    changed: bool = Field(description="Whether the predicted digit changed.")


class AblationAnswer(ResponseBody):
    """Predictions without some channels of a layer."""

    prediction: PredictionAnswer
    layer: LayerName
    target: int = Field(description="The digit whose logit is compared.")
    baseline_logit: float = Field(description="Logit of `target` with all channels.")
    ablations: list[ChangeAnswer] = Field(
        description=(
            "One entry for the channels in the request; without these, one entry for each channel,"
            " the largest change of the logit first."
        )
    )


class NeighbourAnswer(ResponseBody):
    """A training digit."""

    index: int = Field(description="Position in MNIST's training split.")
    label: int = Field(description="The digit that it shows.")
    distance: float = Field(
        description=(
            "Euclidean distance between the directions of the features that give the logits: 0 for"
            " the same direction, about 1.4 for orthogonal ones."
        )
    )
    image: str = Field(description="Grey PNG, 28x28, as base64.")


class NeighboursAnswer(ResponseBody):
    """The training digits most similar to the image."""

    prediction: PredictionAnswer
    neighbours: list[NeighbourAnswer] = Field(description="Nearest first.")
    votes: dict[int, int] = Field(description="Number of neighbours by the digit that they show.")
    among: int = Field(description="Number of training digits that were searched.")
    percentile: float = Field(
        ge=0,
        le=100,
        description=(
            "Percentage of held-out digits that are nearer to their nearest training digit. Near"
            " 100, the image is unlike the training digits."
        ),
    )
    typical_distance: float = Field(
        description="Median distance of held-out digits to their nearest training digit."
    )
    text: str = Field(description="The result in words.")
