"""`POST /learn/step`: the answer, its formats, and wrong requests."""

import io
import json
import struct
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.samples import sample_png

ROUTE = "/learn/step"


def _post(client: TestClient, query: str, **headers: str) -> Any:
    return client.post(f"{ROUTE}?{query}", content=sample_png(4), headers=_PNG | headers)


_PNG = {"Content-Type": "image/png"}


def test_a_step_lowers_the_loss(client: TestClient) -> None:
    """The answer holds rows before and after, the layers, and those that changed most."""
    answer = _post(client, "label=9&learning_rate=0.0001&steps=3&optimizer=momentum").json()
    assert (answer["label"], answer["label_name"], answer["momentum"]) == (9, "9", 0.9)
    assert (answer["requested_steps"], answer["steps"]) == (3, 3)
    assert len(answer["loss"]) == len(answer["probabilities"]) == 4
    assert answer["loss"][3] < answer["loss"][0]
    for loss, row in zip(answer["loss"], answer["probabilities"], strict=True):
        assert loss == pytest.approx(-np.log(row[9]))
    assert answer["prediction"]["digit"] == 4
    np.testing.assert_allclose(
        answer["probabilities"][0], answer["prediction"]["probabilities"], atol=1e-5
    )
    assert not answer["diverged"]
    assert answer["samples"] == {"count": 10, "right_before": 10, "right_after": 10}
    assert "the loss falls from" in answer["text"]
    assert "Batch normalisation uses its stored mean" in answer["inference_mode"]
    weights = {one["name"]: [w["name"] for w in one["weights"]] for one in answer["layers"]}
    assert weights["logits"] == ["kernel", "bias"]
    assert weights["bn_1_1"] == ["gamma", "beta"]  # not the measured mean and variance
    assert weights["normalise"] == weights["softmax"] == []
    assert set(answer["most_changed"]) == {name for name, found in weights.items() if found}
    shares = {
        one["name"]: sum(w["change_norm"] ** 2 for w in one["weights"])
        / sum(w["norm"] ** 2 for w in one["weights"])
        for one in answer["layers"]
        if one["weights"]
    }
    assert answer["most_changed"] == sorted(shares, key=lambda name: -shares[name])


def test_a_network_that_forgets_the_other_digits_says_so(client: TestClient) -> None:
    """A rate that is too large makes it read one class for every digit."""
    answer = _post(client, "label=9&learning_rate=10").json()
    assert answer["samples"]["right_after"] == 1
    assert "reads 1 of 10" in answer["text"]


def test_a_map_holds_the_gradient_of_every_layer(client: TestClient) -> None:
    """The format is that of `/inspect`; byte 127 is 0, and the values are those of the npy."""
    response = _post(client, "label=9&include=map")
    assert response.headers["Content-Type"] == "application/vnd.digitscope.map"
    (length,) = struct.unpack_from("<I", response.content)
    head = json.loads(response.content[4 : 4 + length])
    assert head["step"] == _post(client, "label=9").json()
    levels = np.frombuffer(response.content, np.uint8, offset=4 + length)
    assert sum(np.prod(one["shape"]) for one in head["layers"]) == len(levels)
    start = 0
    for one in head["layers"]:
        size, (*places, channels) = int(np.prod(one["shape"])), one["shape"]
        values = levels[start : start + size].astype(float)
        values = one["low"] + values / 255 * (one["high"] - one["low"])
        start += size
        if one["name"] in ("conv_1_1", "dense", "logits"):
            exact = _npy(client, f"label=9&format=npy&layer={one['name']}")
            values = np.moveaxis(values.reshape(channels, *places), 0, -1)
            step = (one["high"] - one["low"]) / 255
            np.testing.assert_allclose(values, exact, atol=0.51 * step)
            np.testing.assert_allclose(values[exact == 0], 0, atol=1e-6 * step)


def _npy(client: TestClient, query: str) -> np.ndarray:
    response = _post(client, query)
    assert response.headers["Content-Type"] == "application/x-npy"
    return np.load(io.BytesIO(response.content))


def test_the_gradient_of_one_array(client: TestClient) -> None:
    """Npy and PNG hold the gradient of a layer's output, or of one of its weights."""
    answer = _post(client, "label=9").json()
    layers = {one["name"]: one for one in answer["layers"]}
    logits = _npy(client, "label=9&format=npy&layer=logits")
    right = np.array(answer["probabilities"][0])
    right[9] -= 1
    np.testing.assert_allclose(logits, right, rtol=1e-6)
    kernel = _npy(client, "label=9&format=npy&layer=conv_1_2&of=kernel")
    assert kernel.dtype == np.float32
    (weight,) = (one for one in layers["conv_1_2"]["weights"] if one["name"] == "kernel")
    assert list(kernel.shape) == weight["shape"]
    assert np.linalg.norm(kernel) == pytest.approx(weight["gradient_norm"], rel=1e-5)
    shown = _post(client, "label=9&layer=conv_1_2&of=kernel", Accept="image/png")
    assert float(shown.headers["X-Value-Limit"]) == pytest.approx(np.abs(kernel).max())
    assert Image.open(io.BytesIO(shown.content)).mode == "RGB"
    shown = _post(client, "label=9&layer=relu_1_1&of=activations&format=png")
    assert Image.open(io.BytesIO(shown.content)).size == (6 * 29 - 1, 6 * 29 - 1)


@pytest.mark.parametrize("query", ["model=compact", "model=dropconnect", "model=ensemble"])
def test_every_published_network_learns(client: TestClient, query: str) -> None:
    """Networks without a final softmax, such as an average of several, learn as others do."""
    answer = _post(client, f"label=9&learning_rate=0.0001&{query}").json()
    assert answer["loss"][1] < answer["loss"][0]
    assert all(one["gradient_norm"] is not None for one in answer["layers"])


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 422, "label"),
        ("label=10", 422, "'label' is 10; the model 'classic' has the classes 0 to 9"),
        ("label=-1", 422, "label"),
        ("label=x", 422, "label"),
        (f"label={'9' * 5000}", 422, "label"),
        ("label=9&learning_rate=nan", 422, "learning_rate"),
        ("label=9&learning_rate=inf", 422, "learning_rate"),
        ("label=9&learning_rate=-1", 422, "learning_rate"),
        ("label=9&learning_rate=0", 422, "learning_rate"),
        ("label=9&learning_rate=1e308", 422, "learning_rate"),
        ("label=9&steps=0", 422, "steps"),
        ("label=9&steps=51", 422, "steps"),
        ("label=9&steps=1.5", 422, "steps"),
        ("label=9&optimizer=adam", 422, "optimizer"),
        ("label=9&include=sheets", 422, "include"),
        ("label=9&format=gif", 422, "format"),
        ("label=9&format=npy", 422, "give its 'layer'"),
        ("label=9&layer=logits", 422, "need the format npy or png"),
        ("label=9&of=kernel", 422, "need the format npy or png"),
        ("label=9&include=map&format=npy&layer=logits", 422, "without 'include'"),
        ("label=9&format=npy&layer=conv_9", 404, "no layer"),
        ("label=9&format=npy&layer=logits&of=gamma", 404, "no weight 'gamma'"),
        ("label=9&format=npy&layer=bn_1_1&of=moving_mean", 404, "no weight 'moving_mean'"),
        ("label=9&format=npy&layer=logits&of=", 404, "no weight ''"),
        ("label=9&nonsense=1", 422, "nonsense"),
        ("label=9&model=nope", 404, "no model"),
    ],
)
def test_wrong_requests_are_problems(
    client: TestClient, query: str, status: int, words: str
) -> None:
    """Each wrong parameter has its status and a message that names it."""
    response = _post(client, query)
    assert (response.status_code, response.headers["Content-Type"]) == (
        status,
        "application/problem+json",
    )
    assert words in response.json()["detail"]


def test_a_body_that_is_no_image_is_a_problem(client: TestClient) -> None:
    """So is a missing body."""
    for content in (b"", b"no image"):
        response = client.post(f"{ROUTE}?label=9", content=content, headers=_PNG)
        assert response.status_code in (400, 422)
        assert response.headers["Content-Type"] == "application/problem+json"
