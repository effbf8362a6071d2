"""Builds the binary responses of `POST /inspect?include=map` and `POST /learn/step?include=map`.

It consists of the length of the head (4 bytes, little-endian), the head (a `MapHead` as JSON), and
for each layer in the head's order one byte for each value, channel by channel.
"""

import struct
from collections.abc import Sequence
from math import prod

from starlette.responses import Response

from app.cancellation import check_cancelled
from app.errors import InvalidInputError
from app.inspection.activation_map import LayerMap, map_layer
from app.inspection.activations import InspectedImage
from app.network.network import Layer
from app.web.responses.content_negotiation import MAP
from app.web.responses.json_arrays import rounded_list
from app.web.responses.predictions import prediction_answer
from app.web.schemas.inspection import MapHead, MapLayer

MAX_MAP_VALUES = 1 << 23  # of all layers of a map, a byte each; our ensemble has 2.7 million


def check_map_size(layers: Sequence[Layer]) -> None:
    """Refuse a map of very many values.

    Raises:
        InvalidInputError: The layers have more than `MAX_MAP_VALUES` values together.
    """
    size = sum(prod(layer.shape) for layer in layers)
    if size > MAX_MAP_VALUES:
        raise InvalidInputError(
            f"The layers have {size} values together; a map holds at most {MAX_MAP_VALUES}. Name"
            " fewer of them in 'layers'."
        )


def map_response(inspected: InspectedImage, layers: Sequence[Layer]) -> Response:
    """Return the prediction and the values of some layers, from the same run of the network.

    Args:
        inspected: The image and every layer's output.
        layers: The layers, in the order of the response.

    Raises:
        WorkCancelled: Nobody waits for the response any more.
    """
    maps = []
    for layer in layers:
        check_cancelled()
        maps.append(map_layer(layer, inspected.of(layer)))
    head = MapHead(
        prediction=prediction_answer(inspected.prediction, inspected.model.bundle),
        layers=[map_layer_answer(one) for one in maps],
    )
    return encode_map(head, maps)


def encode_map(head: MapHead, maps: Sequence[LayerMap]) -> Response:
    """Return a head and the values of its layers in the binary format."""
    text = head.model_dump_json().encode()
    levels = [one.levels.tobytes() for one in maps]
    return Response(b"".join((struct.pack("<I", len(text)), text, *levels)), media_type=MAP)


def map_layer_answer(one: LayerMap) -> MapLayer:
    """Return the entry of a layer in the head."""
    low, high, percentile = rounded_list([one.low, one.high, one.percentile])
    return MapLayer(
        name=one.layer.name,
        shape=list(one.layer.shape),
        low=low,
        high=high,
        percentile=percentile,
        constant=one.constant,
    )
