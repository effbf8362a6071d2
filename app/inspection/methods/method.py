"""What an explanation method consists of: its computation and every text about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from app.inspection.score import Map, Question, Score
from app.network.network import Layer, Network

Parameter = Literal["layer", "steps"]  # query parameters that only some methods use
ResponseField = Literal[
    "layer", "coarse", "completeness", "steps"
]  # fields that only some methods fill


@dataclass(frozen=True)
class MapRequest:
    """The input of every method.

    Attributes:
        network: The network, for gradients.
        score: Scores images with the same network.
        image: float32 `[28, 28]`, 0 to 255.
        question: What to explain.
        layer: The layer whose channels are weighted; None for the method's own choice.
        steps: Number of points at which a path integral is evaluated; None for the method's choice.
        max_gradients: How many gradients to compute at most if the method chooses their number, as
            far as its minimum allows.
    """

    network: Network
    score: Score
    image: Map
    question: Question
    layer: Layer | None
    steps: int | None
    max_gradients: int


@dataclass(frozen=True)
class Completeness:
    """Whether a map adds up to the change of the score that it explains.

    Attributes:
        map_sum: Sum of the map.
        difference: Score of the image minus the score of the black baseline.
    """

    map_sum: float
    difference: float

    @property
    def error(self) -> float:
        """Return how far the sum is from the difference."""
        return abs(self.map_sum - self.difference)

    @property
    def relative_error(self) -> float:
        """Return the error as a share of the difference."""
        return self.error / max(abs(self.difference), 1e-9)


@dataclass(frozen=True)
class Attribution:
    """How much each pixel contributes to the score.

    Attributes:
        values: float32 `[28, 28]`, finite; positive raises the score.
        coarse: The map at the layer's resolution, before it was resized to 28x28, or None.
        layer: Name of the layer that the map was computed from, or None.
        completeness: Check of the map's sum, or None if the method does not promise one.
        steps: Number of gradients that the map is the mean of, or None if it is no mean.
    """

    values: Map
    coarse: Map | None = None
    layer: str | None = None
    completeness: Completeness | None = None
    steps: int | None = None


class MapCost(NamedTuple):
    """What a map costs.

    Attributes:
        gradients: Images that the network is differentiated for.
        scores: Images that are scored.
    """

    gradients: int
    scores: int


@dataclass(frozen=True)
class Method:
    """An explanation method. The API, its documentation and the page are derived from these fields.

    Attributes:
        name: Value of the query parameter `method`.
        title: Name in a text, capitalised.
        description: What it does, in one or two sentences.
        limits: What its map cannot show, in one sentence.
        empty: What a map of zeros means, as a clause.
        reference: The paper.
        unit: Unit of the map's values.
        parameters: The optional query parameters that it uses; it ignores the others.
        response_fields: The optional response fields that it fills.
        ranks_by_magnitude: Whether pixels are ranked by magnitude in the deletion check. True for
            gradients, whose sign says whether a pixel should become lighter or darker.
        needs_gradients: Whether it differentiates the network, which the service must be able to
            compute for that.
        compute: Returns the map of a request.
        cost: Returns what most maps cost, for the number of steps that was asked for, or None, and
            for the most gradients.
    """

    name: str
    title: str
    description: str
    limits: str
    empty: str
    reference: str
    unit: str
    parameters: tuple[Parameter, ...]
    response_fields: tuple[ResponseField, ...]
    ranks_by_magnitude: bool
    needs_gradients: bool
    compute: Callable[[MapRequest], Attribution]
    cost: Callable[[int | None, int], MapCost]

    def ranking(self, values: Map) -> Map:
        """Return the values by which the deletion check ranks pixels, largest first."""
        return np.abs(values) if self.ranks_by_magnitude else values
