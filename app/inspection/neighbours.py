"""The training digits that lie nearest to an image where the network decides."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.embeddings import EMBEDDINGS_FILE, distances, to_directions
from app.errors import InvalidInputError
from app.inference.model import Model
from app.predictions import Prediction
from app.recognise import ImageInput, Options, recognise


@dataclass(frozen=True)
class Neighbour:
    """One training digit.

    Attributes:
        index: Its position in the official training split.
        label: What it shows.
        distance: Between the directions of the features that enter the logits: 0 for the same, 2
            for the opposite, about 1.4 for two that have nothing in common.
        image: uint8 `[28, 28]`.
    """

    index: int
    label: int
    distance: float
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class Neighbourhood:
    """Where an image lies among the training digits.

    Attributes:
        prediction: What the network reads.
        nearest: The nearest first.
        among: How many training digits were looked at.
        percentile: Share of held-out digits, in per cent, that lie nearer to their nearest.
        typical: The median of held-out digits' distances to their nearest.
    """

    prediction: Prediction
    nearest: tuple[Neighbour, ...]
    among: int
    percentile: float
    typical: float


def find_neighbours(image: ImageInput, model: Model, options: Options, count: int) -> Neighbourhood:
    """Find the training digits nearest to an image.

    Raises:
        InvalidInputError: The model's bundle holds no embeddings.
        DigitscopeError: What `app.recognise.read_image` raises.
    """
    known = model.embeddings
    if known is None:
        raise InvalidInputError(
            f"The bundle of the model {model.bundle.metadata.name!r} holds no {EMBEDDINGS_FILE};"
            " write it with 'python -m training.embeddings', or ask another model."
        )
    model = model.in_float32
    prediction = recognise(image, model, options)
    features = model.runtime.predict(prediction.prepared.pixels[None]).features
    away = distances(to_directions(features), known.directions)[0]
    order = np.argsort(away, kind="stable")[:count]
    held_out = known.held_out
    ranks = np.linspace(0, 100, held_out.size)
    return Neighbourhood(
        prediction=prediction,
        nearest=tuple(
            Neighbour(
                int(known.indices[at]), int(known.labels[at]), float(away[at]), known.images[at]
            )
            for at in order
        ),
        among=len(known.labels),
        percentile=float(np.interp(away[order[0]], held_out, ranks)),
        typical=float(held_out[held_out.size // 2]),
    )
