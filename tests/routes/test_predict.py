"""`POST /predict`: every body form, every parameter and the response."""

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.samples import sample_pixels, sample_png
from tests.conftest import Digits
from tests.forms import encode, every_form

FORMS = list(every_form(np.zeros((28, 28), np.uint8)))


@pytest.mark.parametrize("form", FORMS)
def test_every_body_form_gives_the_same_result(
    client: TestClient, digits: Digits, form: str
) -> None:
    """The same pixels give the same probabilities and the right digit in every body form."""
    pixels, label = digits.images[0], digits.labels[0]
    expected = client.post("/predict", json={"pixels": pixels.tolist()}).json()
    answer = client.post("/predict", **every_form(pixels)[form])
    assert answer.status_code == 200, answer.text
    assert answer.json()["probabilities"] == expected["probabilities"]
    assert answer.json()["digit"] == label


@pytest.mark.parametrize("digit", range(10))
def test_sample_digits_are_recognised(client: TestClient, digit: int) -> None:
    """Each of the ten sample digits is recognised with the verdict `digit`."""
    answer = client.post("/predict", files={"file": sample_png(digit)}).json()
    assert (answer["digit"], answer["verdict"]) == (digit, "digit")


def test_response_is_consistent(client: TestClient) -> None:
    """Digit, confidence and runner-up follow from the probabilities, which sum to 1."""
    answer = client.post("/predict", files={"file": sample_png(4)}).json()
    probabilities = answer["probabilities"]
    order = sorted(range(10), key=lambda digit: -probabilities[digit])
    assert sum(probabilities) == pytest.approx(1, abs=1e-6)
    assert [answer["digit"], answer["runner_up"]] == order[:2]
    assert answer["confidence"] == max(probabilities)
    assert answer["model"]["name"] == "classic"
    assert answer["input"] == {
        "width": 28,
        "height": 28,
        "format": "png",
        "polarity": "light-on-dark",
        "warnings": [],
    }


def test_model_can_be_named(client: TestClient) -> None:
    """The default model gives the same response by name."""
    files = {"file": sample_png(8)}
    named = client.post("/predict", params={"model": "classic"}, files=files).json()
    assert named == client.post("/predict", files=files).json()


def test_polarity_is_detected(client: TestClient) -> None:
    """Dark ink on light paper is recognised, and the response says so."""
    pixels = 255 - np.pad(sample_pixels(2), 10)
    answer = client.post("/predict", files={"file": encode(pixels)}).json()
    assert (answer["digit"], answer["input"]["polarity"]) == (2, "dark-on-light")


def test_preprocess_none_takes_the_image_as_it_is(client: TestClient) -> None:
    """With preprocess=none a 28x28 image is not changed, and any other size gives 422."""
    pixels = sample_pixels(5)
    as_is = client.post("/predict?preprocess=none", files={"file": encode(pixels)})
    assert as_is.json()["digit"] == 5
    refused = client.post("/predict?preprocess=none", files={"file": encode(np.pad(pixels, 1))})
    assert refused.status_code == 422
    assert "28" in refused.json()["detail"]
    assert "30" in refused.json()["detail"]


def test_request_id_is_returned(client: TestClient) -> None:
    """A valid request id of the client is returned; an invalid one is replaced."""
    files = {"file": sample_png(1)}
    kept = client.post("/predict", files=files, headers={"X-Request-ID": "scan-17"})
    assert kept.headers["X-Request-ID"] == "scan-17"
    replaced = client.post("/predict", files=files, headers={"X-Request-ID": "a b;<script>"})
    assert replaced.headers["X-Request-ID"].isalnum()
