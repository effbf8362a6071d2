"""`POST /learn/step` and `/layers/{layer}/gradient-unit`: answers, formats, wrong requests."""

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
    assert "reads 1 of 10 sample digits right" in answer["text"]


def test_a_large_network_gets_fewer_steps(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the answer comes before the deadline; it says so."""
    monkeypatch.setattr("app.inspection.cost_limits.MAX_GRADIENT_PRODUCTS", 600_000_000)
    answer = _post(client, "label=9&learning_rate=0.0001&steps=50").json()
    assert (answer["steps"], answer["requested_steps"], answer["samples"]) == (2, 50, None)
    assert len(answer["loss"]) == answer["steps"] + 1
    assert "The network is too large for 50 steps" in answer["text"]


def test_a_map_holds_the_gradient_of_every_layer(client: TestClient) -> None:
    """The format is that of `/inspect`; byte 127 is 0, and the values are those of the npy."""
    response = _post(client, "label=9&include=map")
    assert response.headers["Content-Type"] == "application/vnd.digitscope.map"
    (length,) = struct.unpack_from("<I", response.content)
    head = json.loads(response.content[4 : 4 + length])
    answer = _post(client, "label=9").json()
    assert head["step"]["loss"] == pytest.approx(answer["loss"])
    assert head["step"].keys() == answer.keys()
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


def _gradient(client: TestClient, layer: str, query: str) -> Any:
    route = f"/layers/{layer}/gradient-unit?{query}"
    return client.post(route, content=sample_png(4), headers=_PNG)


def test_the_gradient_of_a_weight(client: TestClient) -> None:
    """It is the number of the npy, the sum of its products, and what is measured."""
    answer = _gradient(client, "conv_1_2", "label=9&weight=kernel&index=2,0,23,5&terms=3").json()
    kernel = _npy(client, "label=9&format=npy&layer=conv_1_2&of=kernel")
    assert answer["gradient"] == pytest.approx(kernel[2, 0, 23, 5], rel=1e-6)
    assert answer["weight"] == {"name": "kernel", "index": [2, 0, 23, 5]}
    assert (answer["unit"], answer["layer"]["name"]) == (None, "conv_1_2")
    assert len(answer["terms"]) == 3
    assert answer["count"] == answer["omitted"]["count"] + 3
    total = sum(term["product"] for term in answer["terms"]) + answer["omitted"]["sum"]
    assert total == pytest.approx(answer["gradient"])
    for term in answer["terms"]:
        value, gradient = term["factors"]
        assert value["value"] * gradient["value"] == pytest.approx(term["product"])
        assert (value["kind"], value["layer"]["name"]) == ("input", "relu_1_1")
        unit = "&".join(f"{key}={at}" for key, at in value["unit"].items())
        seen = client.post(
            f"/layers/relu_1_1/unit?{unit}", content=sample_png(4), headers=_PNG
        ).json()
        assert seen["observed"] == pytest.approx(value["value"], rel=1e-4)
    measured = answer["finite_difference"]
    assert measured["relative_error"] < 1e-6
    assert not measured["kink"]
    slope = (measured["loss_plus"] - measured["loss_minus"]) / (2 * measured["epsilon"])
    assert measured["gradient"] == slope
    assert "used by 22 units" in answer["sentence"]
    assert "Each of them adds one product" in answer["sentence"]
    assert answer["equation"].startswith("2.23452 = 2.64505 · 0.130419 + ")


def test_the_gradient_of_an_activation_can_be_followed(client: TestClient) -> None:
    """Its largest factor is the address of the next request."""
    answer = _gradient(client, "relu_dense", "label=9").json()
    (slope, factor) = answer["terms"][0]["factors"]
    assert slope["what"] == "1, because the value is passed on"
    unit = factor["unit"]
    assert unit == answer["unit"]
    after = _gradient(client, factor["layer"]["name"], f"label=9&channel={unit['channel']}").json()
    assert after["gradient"] == pytest.approx(factor["value"])
    last = after["terms"][0]["factors"][1]
    assert last["layer"]["name"] == "logits"
    end = _gradient(client, "logits", f"label=9&channel={last['unit']['channel']}").json()
    assert end["gradient"] == pytest.approx(last["value"])
    assert "probability minus the label" in end["sentence"]
    kinds = {one["kind"] for term in end["terms"] for one in term["factors"]}
    assert kinds == {"probability", "label"}


def test_a_gradient_of_the_first_layer_reads_pixels(client: TestClient) -> None:
    """A pixel has an address, but no layer; a unit that is off has no product."""
    answer = _gradient(client, "conv_1", "label=9&weight=kernel&model=compact").json()
    assert answer["terms"][0]["factors"][0]["layer"]["name"] == "normalise"
    answer = _gradient(client, "normalise", "label=9&model=compact&channel=0&y=0&x=0").json()
    assert answer["unit"] == {"channel": 0, "y": 0, "x": 0}
    off = _gradient(client, "dense", "label=9&channel=0").json()
    assert (off["gradient"], off["terms"], off["count"]) == (0, [], 0)
    assert "every product is 0" in off["sentence"]
    assert off["equation"] == "0 = 0"
    assert off["finite_difference"]["relative_error"] == 0


@pytest.mark.parametrize(
    ("layer", "query", "status", "words"),
    [
        ("logits", "", 422, "label"),
        ("logits", "label=10", 422, "'label' is 10"),
        ("conv_9", "label=9", 404, "no layer"),
        ("9" * 5000, "label=9", 404, "no layer"),
        ("logits", "label=9&weight=gamma", 404, "no weight 'gamma'"),
        ("relu_1_1", "label=9&weight=kernel", 404, "no weight 'kernel'"),
        ("logits", "label=9&index=0,1", 422, "'index' needs 'weight'"),
        ("logits", "label=9&weight=kernel&channel=1", 422, "not both"),
        ("logits", "label=9&weight=kernel&index=0", 422, "its index has 2 numbers, not 1"),
        ("logits", "label=9&weight=kernel&index=0,10", 404, "no number at"),
        ("logits", "label=9&weight=kernel&index=0,-1", 422, "'index' is '0,-1'"),
        ("logits", "label=9&weight=kernel&index=", 422, "'index' is ''"),
        ("logits", "label=9&weight=kernel&index=0,%D9%A1%D9%A2,", 422, "'index' is"),
        ("logits", f"label=9&weight=kernel&index={'9' * 10**4}", 422, "'index' is"),
        ("logits", f"label=9&weight=kernel&index={'0,' * 10**4}0", 422, "'index' is"),
        ("logits", "label=9&channel=10", 404, "no such unit"),
        ("logits", "label=9&channel=-1", 404, "no such unit"),
        ("logits", f"label=9&channel={'9' * 4000}", 404, "no such unit"),
        ("logits", "label=9&y=1&x=1", 422, "no rows and columns"),
        ("conv_1_1", "label=9&y=1", 422, "both y and x"),
        ("logits", "label=9&terms=0", 422, "terms"),
        ("logits", "label=9&terms=1001", 422, "terms"),
        ("logits", "label=9&nonsense=1", 422, "nonsense"),
    ],
)
def test_wrong_addresses_are_problems(
    client: TestClient, layer: str, query: str, status: int, words: str
) -> None:
    """Each wrong address has its status and a message that names it."""
    response = _gradient(client, layer, query)
    assert (response.status_code, response.headers["Content-Type"]) == (
        status,
        "application/problem+json",
    )
    assert words in response.json()["detail"]
