"""`POST /layers/{layer}/maximise`: what a channel looks for."""

import base64
import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

ROUTE = "/layers/relu_1_2/maximise"


def test_a_picture_in_three_formats(client: TestClient) -> None:
    """JSON, npy and PNG hold the same 28x28."""
    answer = client.post(f"{ROUTE}?channel=3&steps=8").json()
    assert (answer["layer"]["name"], answer["steps"]) == ("relu_1_2", 8)
    assert answer["unit"] == {"channel": 3, "y": None, "x": None}
    assert answer["model"]["name"] == "classic"
    assert answer["after"] > answer["before"]
    pixels = np.array(answer["pixels"])
    assert pixels.shape == (28, 28)
    shown = Image.open(io.BytesIO(base64.b64decode(answer["image"])))
    np.testing.assert_array_equal(np.asarray(shown), pixels)
    raw = client.post(f"{ROUTE}?channel=3&steps=8&format=npy")
    np.testing.assert_array_equal(np.load(io.BytesIO(raw.content)), pixels)
    png = client.post(f"{ROUTE}?channel=3&steps=8", headers={"Accept": "image/png"})
    large = np.asarray(Image.open(io.BytesIO(png.content)))
    np.testing.assert_array_equal(large[5::10, 5::10], pixels)


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 422, "channel"),
        ("channel=32", 404, "no channel 32"),
        ("channel=99999999999999999999", 404, "no channel"),
        ("channel=-1", 422, "channel"),
        ("channel=1.5", 422, "channel"),
        ("channel=0&x=3", 422, "'x' needs 'y'"),
        ("channel=0&y=3", 422, "axes besides"),
        ("channel=0&y=3&x=99999999999999999999", 404, "no unit"),
        ("channel=0&steps=0", 422, "steps"),
        ("channel=0&steps=257", 422, "steps"),
        ("channel=0&format=gif", 422, "format"),
        ("channel=0&nonsense=1", 422, "nonsense"),
        ("channel=0&model=nope", 404, "no model"),
    ],
)
def test_wrong_requests_are_problems(
    client: TestClient, query: str, status: int, words: str
) -> None:
    """Each wrong parameter has its status and a message that names it."""
    response = client.post(f"{ROUTE}?{query}")
    assert (response.status_code, response.headers["Content-Type"]) == (
        status,
        "application/problem+json",
    )
    assert words in response.json()["detail"]


def test_an_unknown_layer_is_404(client: TestClient) -> None:
    """The answer lists the layers; a body is ignored."""
    response = client.post("/layers/conv_9/maximise?channel=0", content=b"x" * 100)
    assert response.status_code == 404
    assert "relu_1_2" in response.json()["valid"]
