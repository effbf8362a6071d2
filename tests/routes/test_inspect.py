"""The inspection routes over HTTP: formats, units, errors and concurrent requests."""

import base64
import io
import threading

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.inference.model import Model
from app.inspection.attribution import METHODS
from app.samples import sample_pixels, sample_png
from tests.forms import encode, every_form, npy

FILE = {"file": sample_png(4)}
ROUTES = (
    "/inspect",
    "/layers/relu_1_1/activations",
    "/layers/dense/unit",
    "/explain?method=gradient&checks=false",
    "/ablate?layer=relu_2_2",
    "/neighbours",
    "/compare?other=classic",
)


def _pixels(digit: int) -> np.ndarray:
    return sample_pixels(digit)


def test_layers_are_described(client: TestClient) -> None:
    """Each layer has a sentence, a formula, shapes and costs; the costs add up to the model's."""
    answer = client.get("/models/classic/layers").json()
    details = client.get("/models/classic").json()
    assert answer["parameters"] == details["parameters"]
    normalising = [layer for layer in answer["layers"] if layer["type"].endswith("Normalization")]
    assert [layer["multiply_adds"] for layer in normalising] == [
        int(np.prod(layer["output_shape"])) for layer in normalising
    ]
    normalised = sum(layer["multiply_adds"] for layer in normalising)
    assert answer["multiply_adds"] == details["multiply_adds"] + normalised
    layers = {layer["name"]: layer for layer in answer["layers"]}
    assert [layer["index"] for layer in answer["layers"]] == list(range(26))
    assert all(layer["description"] and layer["formula"] for layer in answer["layers"])
    conv = layers["conv_1_2"]
    assert (conv["type"], conv["input_shapes"], conv["output_shape"]) == (
        "Conv2D",
        [[28, 28, 32]],
        [26, 26, 32],
    )
    assert conv["multiply_adds"] == 26 * 26 * 3 * 3 * 32 * 32
    assert conv["receptive_field"] == {"size": [5, 5], "stride": [1, 1], "offset": [-1, -1]}
    assert conv["weights"] == [{"name": "kernel", "shape": [3, 3, 32, 32]}]
    inactive = {layer["name"] for layer in answer["layers"] if not layer["active_at_inference"]}
    assert inactive == {"dropout_1", "dropout_2", "dropout_dense"}
    assert "fixed multiplication" in layers["bn_1_1"]["description"]
    relu = layers["relu_1_2"]
    assert (relu["activation"], relu["convolution"], relu["keeps_channels"]) == (
        "relu",
        "conv_1_2",
        True,
    )
    assert relu["ablatable"]
    assert relu["changes_values"]
    assert not layers["dropout_1"]["changes_values"]


def test_weights_in_three_formats(client: TestClient, classic: Model) -> None:
    """The same kernel is sent as npz, as JSON and as a PNG whose colours are symmetric about 0."""
    route, kernel = "/models/classic/layers/conv_1_1/weights", classic.network.find("2").weights
    with np.load(io.BytesIO(client.get(route).content)) as arrays:
        np.testing.assert_array_equal(arrays["kernel"], kernel["kernel"])
    listed = client.get(route, headers={"Accept": "application/json"}).json()
    np.testing.assert_allclose(listed["weights"]["kernel"], kernel["kernel"], atol=1e-6)
    picture = client.get(f"{route}?format=png")
    assert picture.headers["Content-Type"] == "image/png"
    limit = float(picture.headers["X-Value-Limit"])
    assert limit == pytest.approx(np.abs(kernel["kernel"]).max())
    colours = np.asarray(Image.open(io.BytesIO(picture.content)))
    value = kernel["kernel"][0, 0, 0, 0]
    red, _, blue = (int(part) for part in colours[0, 0])
    assert (red > blue) == (value > 0)


def test_missing_weights_are_404(client: TestClient) -> None:
    """A layer without weights, or an unknown array, is a 404 that lists the valid names."""
    none = client.get("/models/classic/layers/pool_1/weights")
    assert none.status_code == 404
    assert "conv_1_1" in none.json()["valid"]
    wrong = client.get("/models/classic/layers/bn_1_1/weights?format=png&name=kernel")
    assert (wrong.status_code, wrong.json()["valid"][0]) == (404, "gamma")


def test_inspect_covers_every_layer(client: TestClient, classic: Model) -> None:
    """Statistics agree with the exact tensor; sheets are only sent on request."""
    answer = client.post("/inspect", files=FILE).json()
    assert answer["prediction"]["digit"] == 4
    assert [layer["name"] for layer in answer["layers"]] == list(classic.network.by_name)
    assert all(layer["sheet"] is None for layer in answer["layers"])
    layer = answer["layers"][4]
    raw = client.post("/layers/relu_1_1/activations", files=FILE).content
    values = np.load(io.BytesIO(raw))
    np.testing.assert_allclose(layer["channels"]["max"], values.max(axis=(0, 1)), atol=1e-5)
    y, x = layer["channels"]["argmax"][7]
    assert values[y, x, 7] == values[..., 7].max()
    assert tuple(layer["statistics"]["argmax"]) == np.unravel_index(values.argmax(), values.shape)
    dense = next(layer for layer in answer["layers"] if layer["name"] == "relu_dense")
    assert len(dense["values"]) == 512
    assert dense["dead"] == [at for at, value in enumerate(dense["values"]) if value == 0]


@pytest.mark.parametrize("scale", ["layer", "channel"])
def test_values_can_be_read_from_a_sheet(client: TestClient, scale: str) -> None:
    """PNG, range and layout together give the tensor within half a grey level."""
    answer = client.post(f"/inspect?include=sheets&scale={scale}", files=FILE).json()
    sheet = answer["layers"][6]["sheet"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet["png"]))))
    values = np.load(io.BytesIO(client.post("/layers/6/activations", files=FILE).content))
    row, column = divmod(9, sheet["columns"])
    (height, width), gap = sheet["tile"], sheet["gap"]
    top, left = row * (height + gap), column * (width + gap)
    tile = pixels[top : top + height, left : left + width]
    low, high = (sheet[end][9] if scale == "channel" else sheet[end] for end in ("vmin", "vmax"))
    back = low + tile / 255 * (high - low)
    np.testing.assert_allclose(back, values[..., 9], rtol=0, atol=0.51 * (high - low) / 255)


def test_activations_in_every_format(client: TestClient) -> None:
    """The default is npy; npz, PNG and JSON are chosen by parameter or by Accept header."""
    route = "/layers/conv_2_1/activations"
    response = client.post(route, files=FILE)
    assert response.headers["Content-Type"] == "application/x-npy"
    exact = np.load(io.BytesIO(response.content))
    assert (exact.dtype, exact.shape) == (np.float32, (13, 13, 64))
    listed = client.post(route, files=FILE, headers={"Accept": "application/json"}).json()
    np.testing.assert_allclose(listed["values"], exact, atol=1e-5 * np.abs(exact).max())
    picture = client.post(f"{route}?format=png", files=FILE)
    assert float(picture.headers["X-Value-Max"]) == pytest.approx(exact.max())
    assert Image.open(io.BytesIO(picture.content)).size == (8 * 14 - 1, 8 * 14 - 1)
    with np.load(
        io.BytesIO(client.post(f"{route}?layers=conv_2_1,softmax", files=FILE).content)
    ) as some:
        assert list(some) == ["conv_2_1", "softmax"]
        np.testing.assert_array_equal(some["conv_2_1"], exact)
    with np.load(io.BytesIO(client.post(f"{route}?layers=all", files=FILE).content)) as every:
        assert len(list(every)) == 26
    assert client.post(f"{route}?layers=all&format=png", files=FILE).status_code == 422


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "x-npy"),
        ("image/png", "image/png"),
        ("text/html, application/json;q=0.8, image/png;q=0.9", "image/png"),
        ("image/png;q=0, application/json", "json"),
        ("text/plain", "x-npy"),
        ("image/png;q=high", "image/png"),
    ],
)
def test_accept_header_selects_the_format(client: TestClient, accept: str, form: str) -> None:
    """The response has the format that the client prefers; the default if it accepts none."""
    response = client.post("/layers/softmax/activations", files=FILE, headers={"Accept": accept})
    assert form in response.headers["Content-Type"]


def test_unit_is_traced_to_the_upload(client: TestClient) -> None:
    """A unit has its equation, and on a large upload its region in the upload's own pixels."""
    page = 255 - np.pad(np.kron(_pixels(4), np.ones((5, 5), np.uint8)), ((100, 0), (160, 0)))
    answer = client.post(
        "/layers/conv_1_2/unit?channel=5&y=12&x=12", files={"file": encode(page)}
    ).json()
    assert answer["unit"] == {"channel": 5, "y": 12, "x": 12}
    assert answer["abs_error"] <= 1e-4
    assert len(answer["channel_sums"]) == 32
    assert sum(answer["channel_sums"]) == pytest.approx(answer["reconstructed"])
    box = {"x": 11, "y": 11, "width": 5, "height": 5}
    deprecated = {"top": 11, "left": 11, "bottom": 15, "right": 15}
    assert answer["trace"]["image"] == box | deprecated
    assert [place["name"] for place in answer["trace"]["layers"]][-1] == "normalise"
    placement = client.post("/preprocess", files={"file": encode(page)}).json()["placement"]
    region = answer["trace"]["upload"]
    assert region["height"] == pytest.approx(5 * placement["scale_y"])
    middle = placement["offset_y"] + placement["scale_y"] * 13 + 0.5
    assert region["y"] + region["height"] / 2 == pytest.approx(middle)
    assert 100 < region["y"] < 240
    assert 160 < region["x"] < 300


def test_unknown_units_are_404(client: TestClient) -> None:
    """An unknown channel or layer is a 404 that lists the valid ones."""
    channel = client.post("/layers/conv_1_1/unit?channel=32&y=0&x=0", files=FILE)
    assert (channel.status_code, channel.json()["valid"][2]) == (404, "channel 0..31")
    layer = client.post("/layers/conv_9/unit", files=FILE)
    assert layer.status_code == 404
    assert "conv_1_1" in layer.json()["valid"]


def test_methods_are_listed(client: TestClient) -> None:
    """`GET /explain/methods` lists every method with its texts, and an unknown method is a 422."""
    answer = client.get("/explain/methods").json()
    assert [method["name"] for method in answer["methods"]] == list(METHODS)
    assert answer["default"] == "integrated-gradients"
    for method in answer["methods"]:
        assert method["title"]
        assert method["description"].endswith(".")
        assert method["limits"].endswith(".")
    refused = client.post("/explain?method=lime", files=FILE)
    assert refused.status_code == 422
    assert "integrated-gradients" in refused.json()["detail"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_explains(client: TestClient, method: str) -> None:
    """Each method gives a finite map, a picture and its checks."""
    answer = client.post(f"/explain?method={method}&contrast=9&steps=16", files=FILE).json()
    assert np.asarray(answer["map"]).shape == (28, 28)
    assert (answer["target"], answer["contrast"], answer["empty"]) == (4, 9, False)
    picture = Image.open(io.BytesIO(base64.b64decode(answer["png"])))
    assert picture.size == (28, 28)
    checks = answer["checks"]
    assert len(checks["deletion"]["by_map"]) == len(checks["deletion"]["fractions"])
    assert (answer["completeness"] is None) == (method != "integrated-gradients")
    assert (answer["layer"] is None) == (method != "grad-cam")
    steps = {"integrated-gradients": (16,), "smoothgrad": range(16, 33, 4)}.get(method, (None,))
    assert answer["steps"] in steps
    assert checks["deletion"]["random_orders"] == 8


def test_explanation_as_npy_and_png(client: TestClient) -> None:
    """The map alone can be requested as npy or PNG."""
    listed = client.post("/explain?method=occlusion", files=FILE).json()["map"]
    exact = np.load(
        io.BytesIO(client.post("/explain?method=occlusion&format=npy", files=FILE).content)
    )
    np.testing.assert_allclose(listed, exact, atol=1e-5)
    picture = client.post("/explain?method=occlusion&format=png", files=FILE)
    assert Image.open(io.BytesIO(picture.content)).size == (280, 280)


def test_empty_explanation_says_so(client: TestClient) -> None:
    """Integrated gradients of a black image are 0, without NaN or checks, and the text says so."""
    black = {"pixels": np.zeros((28, 28), int).tolist()}
    answer = client.post("/explain?preprocess=none&target=3", json=black).json()
    assert answer["empty"]
    assert "empty" in answer["text"]
    assert answer["checks"] is None
    assert answer["completeness"]["relative_error"] == 0


def test_ablation_of_all_channels_and_of_some(client: TestClient) -> None:
    """Without `channels`, each channel is ablated, largest change first; else those together."""
    answer = client.post("/ablate?layer=relu_1_2", files=FILE).json()
    changes = [abs(one["logit_change"]) for one in answer["ablations"]]
    assert len(changes) == 32
    assert changes == sorted(changes, reverse=True)
    best = answer["ablations"][0]
    single = client.post(
        f"/ablate?layer=relu_1_2&channels={best['channels'][0]}", files=FILE
    ).json()["ablations"]
    assert single[0]["logit_change"] == pytest.approx(best["logit_change"], abs=1e-4)
    wrong = client.post("/ablate?layer=relu_1_2&channels=3,x", files=FILE)
    assert (wrong.status_code, wrong.json()["title"]) == (422, "Invalid input")
    assert client.post("/ablate?layer=relu_1_2&channels=99", files=FILE).status_code == 404


@pytest.mark.slow
def test_ensemble_is_explained_without_logits(client: TestClient) -> None:
    """An ensemble has no logits; the text says that it explains a logarithm of a probability."""
    for name, score in (("classic", "the logit of 4"), ("ensemble", "probability of 4")):
        path = f"/explain?method=gradient&checks=false&model={name}"
        answer = client.post(path, files=FILE).json()
        assert score in answer["text"]
        assert (answer["value"] < 0) == (name == "ensemble")


def test_neighbours_have_pictures(client: TestClient) -> None:
    """Each neighbour has a label and a 28x28 PNG, and the labels are counted."""
    answer = client.post("/neighbours?count=3", files=FILE).json()
    assert [one["label"] for one in answer["neighbours"]] == [4, 4, 4]
    assert answer["votes"] == {"4": 3}
    picture = Image.open(io.BytesIO(base64.b64decode(answer["neighbours"][0]["image"])))
    assert picture.size == (28, 28)
    assert 0 <= answer["percentile"] <= 100


def test_two_images_are_compared(client: TestClient) -> None:
    """Two images are sent as files, JSON list or array; one image needs a second model."""
    stack = np.stack([_pixels(4), _pixels(9)])
    bodies = (
        {"files": [("files", sample_png(4)), ("files", sample_png(9))]},
        {"json": [{"pixels": image.tolist()} for image in stack]},
        {"content": npy(stack), "headers": {"Content-Type": "application/x-npy"}},
    )
    answers = [client.post("/compare", **body).json() for body in bodies]
    for answer in answers:
        assert [one["digit"] for one in answer["predictions"]] == [4, 9]
        assert answer["parted"]["name"] == answers[0]["parted"]["name"]
        assert len(answer["layers"]) == 26
    apart = client.post("/compare?other=ensemble", files=FILE).json()
    assert (apart["layers"], apart["parted"]) == ([], None)
    assert apart["text"].startswith("The models have no layer in common")
    one = client.post("/compare", files={"files": sample_png(4)})
    assert one.status_code == 422
    assert "second model" in one.json()["detail"]
    same = client.post("/compare?other=classic", content=sample_png(4)).json()
    assert same["parted"] is None
    bad = client.post("/compare", files=[("files", sample_png(4)), ("files", b"nothing")])
    assert bad.status_code == 400


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_takes_every_form(client: TestClient, route: str) -> None:
    """The response is the same for every form of the same image."""
    forms = every_form(_pixels(4))
    chosen = ("multipart", "json base64", "json pixels", "npy", "image/png", "no type")
    answers = {}
    for name in chosen:
        body = {**forms[name]}
        response = client.post(route, **body)
        assert response.status_code == 200, (name, response.text)
        if response.headers["Content-Type"] == "application/json":
            answer = response.json()
            for prediction in answer.get("predictions") or [answer["prediction"]]:
                prediction.pop("input")
            answers[name] = answer
        else:
            answers[name] = response.content
    assert all(answer == answers["multipart"] for answer in answers.values())


@pytest.mark.parametrize("route", ROUTES)
def test_errors_are_problems(client: TestClient, route: str) -> None:
    """A body that is no image is 400, an unknown model 404, an unknown parameter 422."""
    body = {"content": b"nothing", "headers": {"Content-Type": "image/png"}}
    assert client.post(route, **body).status_code == 400
    sign = "&" if "?" in route else "?"
    unknown = client.post(f"{route}{sign}model=nope", **body)
    assert unknown.status_code == 404
    assert "classic" in unknown.json()["valid"]
    assert client.post(f"{route}{sign}nonsense=1", **body).status_code == 422


@pytest.mark.slow
def test_concurrent_requests_do_not_mix(client: TestClient) -> None:
    """Eight threads send different digits to different routes; each gets its own response."""
    jobs = [
        (f"{route}{'&' if '?' in route else '?'}preprocess=none", digit)
        for digit in range(8)
        for route in ("/inspect", "/ablate?layer=relu_2_2", "/explain?method=gradient")
    ]

    def send(route: str, digit: int) -> object:
        return client.post(route, content=sample_png(digit)).json()

    expected = [send(*job) for job in jobs]
    got: dict[int, object] = {}

    def work(first: int) -> None:
        for at in range(first, len(jobs), 8):
            got[at] = send(*jobs[at])

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[at] for at in range(len(jobs))] == expected
