"""Find the training digits whose features are most similar to an image's."""

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
    """A training digit.

    Attributes:
        index: Position in the official training split.
        label: The digit that it shows, 0 to 9.
        distance: Euclidean distance between the features' directions: 0 for the same direction,
            about 1.4 for orthogonal ones, 2 for opposite ones.
        image: uint8 `[28, 28]`.
    """

    index: int
    label: int
    distance: float
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class Neighbourhood:
    """How an image compares with the training digits.

    Attributes:
        prediction: The answer for the image.
        nearest: The nearest training digits, nearest first.
        searched: Number of training digits that were searched.
        percentile: Percentage of held-out digits that are nearer to their nearest training digit.
        typical_distance: Median distance of held-out digits to their nearest training digit.
    """

    prediction: Prediction
    nearest: tuple[Neighbour, ...]
    searched: int
    percentile: float
    typical_distance: float


def find_neighbours(image: ImageInput, model: Model, options: Options, count: int) -> Neighbourhood:
    """Find the `count` training digits nearest to an image.

    Features are the input of the layer that gives the logits.

    Raises:
        InvalidInputError: The model's bundle has no embeddings.
        DigitscopeError: The image cannot be read; see `app.recognise.read_image`.
    """
    embeddings = model.embeddings
    if embeddings is None:
        raise InvalidInputError(
            f"The model {model.bundle.metadata.name!r} has no {EMBEDDINGS_FILE} in its bundle."
            " Write it with 'python -m training.embeddings', or use another model."
        )
    model = model.in_float32
    prediction = recognise(image, model, options)
    features = model.runtime.predict(prediction.prepared.pixels[None]).features
    away = distances(to_directions(features), embeddings.directions)[0]
    order = np.argsort(away, kind="stable")[:count]
    held_out = embeddings.held_out
    percentiles = np.linspace(0, 100, held_out.size)
    return Neighbourhood(
        prediction=prediction,
        nearest=tuple(
            Neighbour(
                index=int(embeddings.indices[at]),
                label=int(embeddings.labels[at]),
                distance=float(away[at]),
                image=embeddings.images[at],
            )
            for at in order
        ),
        searched=len(embeddings.labels),
        percentile=float(np.interp(away[order[0]], held_out, percentiles)),
        typical_distance=float(held_out[held_out.size // 2]),
    )
