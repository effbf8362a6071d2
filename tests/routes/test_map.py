"""`POST /inspect?include=map`: the prediction and a byte for each value, in one binary response."""

import gzip
import io
import json
import struct
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from app.cancellation import WorkCancelled, cancel_scope
from app.errors import InvalidInputError
from app.inference.model import Model
from app.inspection.activation_map import FULL_COLOUR_SHARE, map_layer
from app.inspection.activations import inspect_image
from app.network.operation import Shapes
from app.recognise import Options
from app.samples import sample_pixels, sample_png
from app.web.responses.activation_map import MAX_MAP_VALUES, check_map_size, map_response
from app.web.responses.content_negotiation import MAP
from app.web.schemas.inspection import MapHead

FILE = {"file": sample_png(4)}
ROUTE = "/inspect?include=map"
LIMIT = np.finfo(np.float32).max


def read_map(content: bytes) -> tuple[dict[str, Any], dict[str, NDArray[np.uint8]]]:
    """Return the head, and the bytes of each layer as `[C, ...]`, by its name."""
    (length,) = struct.unpack_from("<I", content)
    head = json.loads(content[4 : 4 + length])
    at, levels = 4 + length, {}
    for layer in head["layers"]:
        *places, channels = layer["shape"]
        size = int(np.prod(layer["shape"]))
        levels[layer["name"]] = np.frombuffer(content, np.uint8, size, at).reshape(
            channels, *places
        )
        at += size
    assert at == len(content)
    return head, levels


def test_a_map_holds_every_value(client: TestClient) -> None:
    """Bytes and ranges give every layer's values within half a level, channel by channel."""
    response = client.post(ROUTE, files=FILE)
    assert response.headers["Content-Type"] == MAP
    head, levels = read_map(response.content)
    assert head["prediction"] == client.post("/inspect", files=FILE).json()["prediction"]
    exact = client.post("/layers/0/activations?layers=all", files=FILE).content
    with np.load(io.BytesIO(exact)) as values:
        assert list(levels) == list(values)
        for layer in head["layers"]:
            wanted = np.moveaxis(values[layer["name"]], -1, 0)
            span = layer["high"] - layer["low"]
            found = layer["low"] + levels[layer["name"]] / 255 * span
            np.testing.assert_allclose(found, wanted, rtol=0, atol=0.51 * span / 255)
            flat = wanted.reshape(len(wanted), -1)
            is_flat = np.ptp(flat, axis=1) == 0 if wanted.ndim > 1 else []
            assert layer["constant"] == np.flatnonzero(is_flat).tolist()
            within = np.abs(wanted) <= layer["percentile"] * (1 + 1e-5)
            assert within.mean() >= FULL_COLOUR_SHARE
            assert (np.abs(wanted) < layer["percentile"] * (1 - 1e-5)).mean() < FULL_COLOUR_SHARE


def test_layers_are_chosen_in_order_and_once(client: TestClient) -> None:
    """Names and indices select layers, in the order of the request; a repeated one comes once."""
    chosen = "softmax,relu_1_1,4,softmax," + ",".join(["0"] * 5000)
    head, levels = read_map(client.post(f"{ROUTE}&layers={chosen}", files=FILE).content)
    assert [layer["name"] for layer in head["layers"]] == ["softmax", "relu_1_1", "normalise"]
    assert levels["relu_1_1"].shape == (32, 28, 28)
    assert levels["softmax"].argmax() == head["prediction"]["digit"] == 4


@pytest.mark.slow
def test_members_of_an_ensemble_are_layers(client: TestClient) -> None:
    """The layers of every member can be chosen by their paths."""
    names = "deep/softmax,classic/relu_1_1,vote"
    content = client.post(f"{ROUTE}&model=ensemble&layers={names}", files=FILE).content
    head, levels = read_map(content)
    assert ",".join(levels) == names
    assert levels["vote"].argmax() == head["prediction"]["digit"]


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("include=map&layers=conv_9", 404, "no layer 'conv_9'"),
        ("include=map&layers=", 404, "no layer ''"),
        ("include=map&layers=relu_1_1,99999999999999999999", 404, "no layer"),
        ("include=map&layers=relu_1_1%00", 404, "no layer"),
        ("include=map&scale=channel", 422, "leave 'scale' out"),
        ("include=sheets&layers=relu_1_1", 422, "needs include=map"),
        ("layers=relu_1_1", 422, "needs include=map"),
        ("include=maps", 422, "include"),
        ("include=map&model=nope", 404, "no model"),
    ],
)
def test_wrong_requests_are_problems(
    client: TestClient, query: str, status: int, words: str
) -> None:
    """Each wrong parameter has its status and a message that names it."""
    response = client.post(f"/inspect?{query}", files=FILE)
    assert (response.status_code, response.headers["Content-Type"]) == (
        status,
        "application/problem+json",
    )
    assert words in response.json()["detail"]
    if "no layer" in words:
        assert "relu_1_1" in response.json()["valid"]


def test_wrong_images_are_problems(client: TestClient) -> None:
    """A body that is no image is 400, a blank one 422."""
    image = {"Content-Type": "image/png"}
    assert client.post(ROUTE, content=b"nothing", headers=image).status_code == 400
    blank = {"pixels": np.zeros((28, 28), int).tolist()}
    assert client.post(ROUTE, json=blank).json()["type"].endswith("blank-image")


def test_a_map_is_compressed_if_the_client_likes(client: TestClient) -> None:
    """A compressed map has the same content, and at most 60 % of the bytes."""
    plain = client.post(ROUTE, files=FILE, headers={"Accept-Encoding": "identity"}).content
    packed = {"Accept-Encoding": "gzip"}
    with client.stream("POST", ROUTE, files=FILE, headers=packed) as response:
        raw = b"".join(response.iter_raw())
    assert response.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(raw) == plain
    assert len(raw) < 0.6 * len(plain)


def test_descriptions_of_layers_are_compressed(client: TestClient) -> None:
    """An ensemble's descriptions shrink to a tenth."""
    with client.stream("GET", "/models/classic/layers", headers={"Accept-Encoding": "gzip"}) as one:
        raw = b"".join(one.iter_raw())
    assert one.headers["Content-Encoding"] == "gzip"
    assert len(raw) < 0.2 * len(gzip.decompress(raw))


@pytest.mark.parametrize("shape", [(5,), (4, 3), (6, 5, 3), (2, 3, 4, 5)])
def test_any_shape_lies_channel_by_channel(classic: Model, shape: tuple[int, ...]) -> None:
    """The last axis of a shape comes first in the bytes, whatever the layer."""
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    levels = map_layer(classic.network.layers[0], values).levels
    assert levels.shape == (shape[-1], *shape[:-1])
    ranks = np.moveaxis(values, -1, 0) / values.max() * 255
    np.testing.assert_array_equal(levels, np.rint(ranks))


@pytest.mark.parametrize("ends", [(-LIMIT, LIMIT), (0, 0), (LIMIT, LIMIT), (0, 1e-45)])
def test_extreme_values_are_mapped(classic: Model, ends: tuple[float, float]) -> None:
    """The largest numbers of float32 do not overflow, and equal values are level 0."""
    values = np.array(ends * 6, np.float32).reshape(3, 2, 2)
    levels = map_layer(classic.network.layers[0], values).levels
    low = (levels[0] == 0).all()
    assert low
    assert set(levels[1].ravel()) <= {0, 255}
    if ends[1] == LIMIT > ends[0]:
        assert (levels[1] == 255).all()


def test_a_map_has_a_largest_size(classic: Model) -> None:
    """Layers with too many values together are refused before anything is computed."""
    layer = classic.network.layers[0]
    large = replace(layer, shapes=Shapes(layer.shapes.inputs, (MAX_MAP_VALUES,)))
    check_map_size([large])
    with pytest.raises(InvalidInputError, match="at most 8388608"):
        check_map_size([large, layer])


def test_a_map_ends_when_nobody_waits(classic: Model) -> None:
    """A request that is cancelled stops between two layers."""
    inspected = inspect_image(sample_pixels(4), classic, Options())
    cancelled = threading.Event()
    cancelled.set()
    with cancel_scope(cancelled), pytest.raises(WorkCancelled):
        map_response(inspected, classic.network.layers)


def test_the_head_is_documented(client: TestClient) -> None:
    """The document has the media type, and an example of the head; `test_openapi` compares it."""
    document = client.get("/openapi.json").json()
    content = document["paths"]["/inspect"]["post"]["responses"]["200"]["content"]
    assert list(content) == ["application/json", MAP]
    example = document["components"]["schemas"]["MapHead"]["example"]
    assert MapHead.model_validate(example).layers[-1].name == "softmax"
