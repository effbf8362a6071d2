"""Two looks side by side: one image in two models, or two images in one, and where they part."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.inspection.activations import InspectedImage
from app.network.functions import Array
from app.network.network import Layer

STRONGEST = 5  # channels that are named
PARTED = 0.9  # a cosine below which two layers count as different


@dataclass(frozen=True)
class LayerComparison:
    """How alike two looks are in one layer.

    Attributes:
        layer: The layer of the first.
        other: The layer of the second.
        cosine: Of the two tensors as vectors, or None where their shapes differ or one is all 0.
        distance: Length of their difference over the mean of their lengths, or None likewise.
        largest: The largest difference of two values, or None where the shapes differ.
        alignment: Linear CKA over places, 0..1, which does not care which channel is which; None
            for layers without places or with different ones.
        channels: The channels that differ most, the most different first.
    """

    layer: Layer
    other: Layer
    cosine: float | None
    distance: float | None
    largest: float | None
    alignment: float | None
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """Two looks, layer by layer.

    Attributes:
        first: One look.
        second: The other.
        layers: The layers that both have, by name.
        only_first: Names of layers that only the first has.
        only_second: Likewise.
        parted: The first layer whose cosine (alignment, between two models) is below `PARTED`, or
            None.
    """

    first: InspectedImage
    second: InspectedImage
    layers: tuple[LayerComparison, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    parted: Layer | None


def compare(first: InspectedImage, second: InspectedImage) -> Comparison:
    """Compare two looks, layer by layer."""
    ours, theirs = first.model.network.by_name, second.model.network.by_name
    layers = [
        _layer(layer, theirs[name], first.of(layer), second.of(theirs[name]))
        for name, layer in ours.items()
        if name in theirs
    ]
    return Comparison(
        first,
        second,
        tuple(layers),
        tuple(name for name in ours if name not in theirs),
        tuple(name for name in theirs if name not in ours),
        _parted(layers, same=first.model is second.model),
    )


def _parted(layers: Sequence[LayerComparison], *, same: bool) -> Layer | None:
    """Return where two looks part; channels of different models have nothing in common."""
    for one in layers:
        likeness = one.cosine if same or one.alignment is None else one.alignment
        if not same and one.alignment is None and one.layer.shape != (10,):
            continue
        if likeness is not None and likeness < PARTED:
            return one.layer
    return None


def _layer(layer: Layer, other: Layer, a: Array, b: Array) -> LayerComparison:
    a, b = a.astype(np.float64), b.astype(np.float64)
    places = a.ndim == b.ndim == 3 and a.shape[:2] == b.shape[:2]
    alignment = _alignment(a, b) if places else None
    if a.shape != b.shape:
        return LayerComparison(layer, other, None, None, None, alignment, ())
    apart = a - b
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    scale = (lengths[0] + lengths[1]) / 2
    by_channel = np.abs(apart).reshape(-1, a.shape[-1]).mean(axis=0)
    strongest = np.argsort(-by_channel, kind="stable")[:STRONGEST]
    return LayerComparison(
        layer,
        other,
        cosine=float((a * b).sum() / (lengths[0] * lengths[1])) if all(lengths) else None,
        distance=float(np.linalg.norm(apart) / scale) if scale else None,
        largest=float(np.abs(apart).max()),
        alignment=alignment,
        channels=tuple(int(at) for at in strongest if by_channel[at] > 0),
    )


def _alignment(a: Array, b: Array) -> float | None:
    """Return linear CKA of two sets of channels over the same places.

    Kornblith et al., 2019, arXiv:1905.00414.
    """
    x, y = (part.reshape(-1, part.shape[-1]) for part in (a, b))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    shared = np.linalg.norm(x.T @ y) ** 2
    own = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(shared / own) if own else None
