"""`POST /predict`: every body form, every parameter, the shape of the answer."""

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from app.samples import sample_pixels, sample_png
from tests.conftest import Digits
from tests.forms import encode, every_form

FORMS = list(every_form(np.zeros((28, 28), np.uint8)))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_answer(client: TestClient, digits: Digits, form: str) -> None:
    """The same pixels give the same answer in whatever form they come, and it is right."""
    pixels, label = digits.images[0], digits.labels[0]
    expected = client.post("/predict", json={"pixels": pixels.tolist()}).json()
    answer = client.post("/predict", **every_form(pixels)[form])
    assert answer.status_code == 200, answer.text
    assert answer.json()["probabilities"] == expected["probabilities"]
    assert answer.json()["digit"] == label


@pytest.mark.parametrize("digit", range(10))
def test_sample_digits_are_read_rightly(client: TestClient, digit: int) -> None:
    """Each of the ten sample digits is read as what it is, with the verdict `digit`."""
    answer = client.post("/predict", files={"file": sample_png(digit)}).json()
    assert (answer["digit"], answer["verdict"]) == (digit, "digit")


def test_answer_holds_together(client: TestClient) -> None:
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
    """Naming the default model gives the default answer."""
    files = {"file": sample_png(8)}
    named = client.post("/predict", params={"model": "classic"}, files=files).json()
    assert named == client.post("/predict", files=files).json()


def test_dark_ink_on_light_paper(client: TestClient) -> None:
    """A digit is read whichever of ink and paper is darker."""
    pixels = 255 - np.pad(_pixels(2), 10)
    answer = client.post("/predict", files={"file": encode(pixels)}).json()
    assert (answer["digit"], answer["input"]["polarity"]) == (2, "dark-on-light")


def test_preprocess_none_takes_the_image_as_it_is(client: TestClient) -> None:
    """With preprocess=none a 28x28 image is not touched, and any other size is refused."""
    pixels = _pixels(5)
    as_is = client.post("/predict?preprocess=none", files={"file": encode(pixels)})
    assert as_is.json()["digit"] == 5
    refused = client.post("/predict?preprocess=none", files={"file": encode(np.pad(pixels, 1))})
    assert refused.status_code == 422
    assert "28" in refused.json()["detail"]
    assert "30" in refused.json()["detail"]


def test_request_id_is_echoed(client: TestClient) -> None:
    """A harmless request id of the client's comes back; a harmful one is replaced."""
    files = {"file": sample_png(1)}
    kept = client.post("/predict", files=files, headers={"X-Request-ID": "scan-17"})
    assert kept.headers["X-Request-ID"] == "scan-17"
    replaced = client.post("/predict", files=files, headers={"X-Request-ID": "a b;<script>"})
    assert replaced.headers["X-Request-ID"].isalnum()


def _pixels(digit: int) -> NDArray[np.uint8]:
    return sample_pixels(digit)
