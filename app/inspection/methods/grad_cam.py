"""Grad-CAM: the channels of a layer, weighted by their mean gradient."""

import numpy as np

from app.errors import InvalidInputError
from app.inspection.methods.method import Attribution, MapCost, MapRequest, Method
from app.inspection.receptive_field import receptive_fields
from app.inspection.score import Map, score_gradient
from app.network.functions import Array
from app.network.geometry import ReceptiveField
from app.network.network import Layer, Network


def _compute(request: MapRequest) -> Attribution:
    """Weight each layer's channels, keep what is positive, and resize it to the image.

    A network with several branches has several last convolutions; their maps are added.

    Raises:
        InvalidInputError: A layer has no rows and columns.
    """
    network, image = request.network, request.image
    layers = [request.layer] if request.layer else last_convolutions(network)
    if not layers or not all(layer.positions for layer in layers):
        raise InvalidInputError(
            "Grad-CAM needs a layer with rows and channels.",
            valid=[layer.name for layer in network.layers if layer.positions],
        )
    batch = image[None, ..., None]
    outputs = network.forward(batch)
    seeds = score_gradient(network, outputs, request.question)
    wanted = [layer.index for layer in layers]
    gradients = network.gradients(batch, outputs, seeds, wanted=wanted)
    fields, coarse = receptive_fields(network), None
    total: Array = np.zeros_like(image)
    for layer in layers:
        if layer.index not in gradients:
            continue
        coarse = _weighted_channels(outputs[layer.index][0], gradients[layer.index][0])
        total = total + _resize(coarse, layer, fields[layer.index])
    names = ", ".join(layer.name for layer in layers)
    return Attribution(total.astype(np.float32), coarse if len(layers) == 1 else None, names)


def last_convolutions(network: Network) -> list[Layer]:
    """Return, for each branch, the last convolution's maps after its normalisation and activation.

    These are the layers with the most abstract features that still have positions.
    """
    return [
        _after_activation(network, layer)
        for layer in network.layers
        if layer.is_convolution
        and not any(network.layers[at].is_convolution for at in network.downstream(layer))
    ]


def _after_activation(network: Network, layer: Layer) -> Layer:
    """Follow elementwise layers as long as each is the only user of the one before."""
    while True:
        users = [other for other in network.layers if layer.index in other.inputs]
        if len(users) != 1 or not users[0].elementwise:
            return layer
        layer = users[0]


def _weighted_channels(values: Array, gradient: Array) -> Map:
    """Return the positive part of the channels' weighted sum, `[H, W]`; W is 1 for `[T, C]`."""
    weights = gradient.mean(axis=tuple(range(gradient.ndim - 1)))
    coarse = np.maximum((values * weights).sum(axis=-1), 0)
    return np.asarray(coarse.reshape(len(coarse), -1), np.float32)


def _resize(coarse: Map, layer: Layer, field: ReceptiveField) -> Array:
    """Place each unit at the centre of its receptive field and interpolate linearly, `[28, 28]`.

    Beyond the outermost units, the map falls to 0 over the distance between neighbouring units.
    Units of an output `[T, C]` see whole rows, so there the map has whole rows, too.
    """
    field = field.row or field
    if field.stride is None or field.offset is None:
        raise InvalidInputError(
            f"The units of the layer {layer.name!r} have no position on the image; choose a layer"
            " before it for Grad-CAM."
        )
    rows, columns = (
        float(field.offset[axis])
        + (float(field.size[axis]) - 1) / 2
        + float(field.stride[axis]) * np.arange(coarse.shape[axis])
        for axis in (0, 1)
    )
    pixels = np.arange(28)
    padded = np.pad(coarse, 1)
    tall = np.stack([np.interp(pixels, _extend(rows), column) for column in padded.T], axis=1)
    if not layer.spatial:
        return np.repeat(tall[:, 1:2], len(pixels), axis=1)
    return np.stack([np.interp(pixels, _extend(columns), row) for row in tall])


def _extend(centres: Array) -> Array:
    """Add one position before and one after evenly spaced positions."""
    step = centres[1] - centres[0] if centres.size > 1 else 28.0
    return np.concatenate([[centres[0] - step], centres, [centres[-1] + step]])


GRAD_CAM = Method(
    name="grad-cam",
    title="Grad-CAM",
    description="Where the channels of the last convolution respond that raise the score.",
    limits="The map is as coarse as the layer, and shows only what raises the score.",
    empty="no channel of the layer that responds to the image raises the score",
    reference="Selvaraju et al., 2017, arXiv:1610.02391",
    unit="none; compare values within one map",
    parameters=("layer",),
    response_fields=("layer", "coarse"),
    ranks_by_magnitude=False,
    needs_gradients=True,
    compute=_compute,
    cost=lambda steps, max_gradients: MapCost(gradients=1, scores=0),
)
