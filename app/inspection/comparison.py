"""Compare two images in one model, or one image in two models, layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.inspection.activations import InspectedImage
from app.network.functions import Array
from app.network.geometry import positions
from app.network.network import Layer

MAX_CHANNELS = 5  # channels listed for each layer
MIN_SIMILARITY = 0.9  # cosine or alignment below which a layer counts as diverging


@dataclass(frozen=True)
class LayerComparison:
    """How similar two layers' outputs are.

    Attributes:
        layer: The first model's layer.
        other: The second model's layer of the same name.
        cosine: Cosine of the two outputs as vectors; None if their shapes differ or one is all 0.
        relative_distance: Euclidean length of the difference, divided by the mean length of the
            two outputs; None if their shapes differ or both are all 0.
        max_difference: Largest absolute difference of two values; None if the shapes differ.
        alignment: Linear CKA over positions, 0 to 1, which ignores the order of channels; None for
            layers without rows and columns, or with different numbers of them.
        channels: The channels with the largest mean difference, largest first; at most
            `MAX_CHANNELS`.
    """

    layer: Layer
    other: Layer
    cosine: float | None
    relative_distance: float | None
    max_difference: float | None
    alignment: float | None
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """Two inspected images, layer by layer.

    Attributes:
        first: The first image in its model.
        second: The second image in its model.
        layers: The layers whose names occur in both models.
        only_first: Names of layers that only the first model has.
        only_second: Names of layers that only the second model has.
        diverging: The first layer whose similarity is below `MIN_SIMILARITY`, or None. Similarity
            is the cosine within one model and the alignment between two.
    """

    first: InspectedImage
    second: InspectedImage
    layers: tuple[LayerComparison, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    diverging: Layer | None


def compare(first: InspectedImage, second: InspectedImage) -> Comparison:
    """Compare two inspected images in every layer that both models have, matched by name."""
    first_layers, second_layers = first.model.network.by_name, second.model.network.by_name
    comparisons = [
        _compare_layer(layer, second_layers[name], first.of(layer), second.of(second_layers[name]))
        for name, layer in first_layers.items()
        if name in second_layers
    ]
    return Comparison(
        first,
        second,
        tuple(comparisons),
        tuple(name for name in first_layers if name not in second_layers),
        tuple(name for name in second_layers if name not in first_layers),
        _first_diverging(
            comparisons,
            classes=len(first.model.bundle.metadata.classes),
            same_model=first.model is second.model,
        ),
    )


def _first_diverging(
    comparisons: Sequence[LayerComparison], *, classes: int, same_model: bool
) -> Layer | None:
    """Return the first dissimilar layer.

    Two models order their channels differently, so between them only the alignment counts, and the
    cosine of layers with a unit for each class, which are the same in both.
    """
    for comparison in comparisons:
        comparable = comparison.alignment is not None or comparison.layer.shape == (classes,)
        if not same_model and not comparable:
            continue
        uses_cosine = same_model or comparison.alignment is None
        similarity = comparison.cosine if uses_cosine else comparison.alignment
        if similarity is not None and similarity < MIN_SIMILARITY:
            return comparison.layer
    return None


def _compare_layer(layer: Layer, other: Layer, a: Array, b: Array) -> LayerComparison:
    a, b = a.astype(np.float64), b.astype(np.float64)
    same_positions = positions(a.shape) is not None and a.shape[:-1] == b.shape[:-1]
    alignment = _linear_cka(a, b) if same_positions else None
    if a.shape != b.shape:
        return LayerComparison(layer, other, None, None, None, alignment, ())
    difference = a - b
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    mean_length = (lengths[0] + lengths[1]) / 2
    by_channel = np.abs(difference).reshape(-1, a.shape[-1]).mean(axis=0)
    largest = np.argsort(-by_channel, kind="stable")[:MAX_CHANNELS]
    return LayerComparison(
        layer,
        other,
        cosine=float((a * b).sum() / (lengths[0] * lengths[1])) if all(lengths) else None,
        relative_distance=float(np.linalg.norm(difference) / mean_length) if mean_length else None,
        max_difference=float(np.abs(difference).max()),
        alignment=alignment,
        channels=tuple(int(at) for at in largest if by_channel[at] > 0),
    )


def _linear_cka(a: Array, b: Array) -> float | None:
    """Return linear CKA of two sets of channels over the same positions; None if one is constant.

    Kornblith et al., 2019, arXiv:1905.00414.

    Args:
        a: `[H, W, C1]`.
        b: `[H, W, C2]`.
    """
    x, y = (values.reshape(-1, values.shape[-1]) for values in (a, b))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    shared = np.linalg.norm(x.T @ y) ** 2
    own = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(shared / own) if own else None
