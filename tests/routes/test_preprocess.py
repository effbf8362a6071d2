"""`POST /preprocess`: every stage from the upload to the 28x28 image."""

import base64
import io

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from app.samples import sample_pixels, sample_png
from tests.forms import encode


def _page(digit: int) -> np.ndarray:
    pixels = sample_pixels(digit)
    return 255 - np.pad(np.kron(pixels, np.ones((5, 5), np.uint8)), ((100, 0), (160, 0)))


def _picture(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_last_stage_is_the_network_s_input(client: TestClient) -> None:
    """Stages have images and parameters; the last image gives the same digit with /predict."""
    answer = client.post("/preprocess", files={"file": encode(_page(6))}).json()
    names = [stage["name"] for stage in answer["stages"]]
    assert names == ["grey", "polarity", "background", "clean", "scale", "stroke", "centre"]
    np.testing.assert_array_equal(_picture(answer["stages"][-1]["image"]), answer["pixels"])
    np.testing.assert_array_equal(_picture(answer["image"]), answer["pixels"])
    again = client.post("/predict?preprocess=none", json={"pixels": answer["pixels"]}).json()
    assert again["digit"] == answer["prediction"]["digit"] == 6
    assert all(stage["description"] and stage["parameters"] for stage in answer["stages"])


def test_prediction_without_each_stage_is_returned(client: TestClient) -> None:
    """Every stage that can be left out has a prediction without it, in numbers and words."""
    answer = client.post("/preprocess", files={"file": encode(_page(7))}).json()
    without = {entry["stage"]: entry for entry in answer["without"]}
    assert list(without) == ["background", "clean", "stroke", "centre"]
    for stage, entry in without.items():
        assert stage in entry["text"]
        shown = Image.open(io.BytesIO(base64.b64decode(entry["image"])))
        assert shown.size == (28, 28)
        differs = (entry["digit"], entry["verdict"]) != (
            answer["prediction"]["digit"],
            answer["prediction"]["verdict"],
        )
        assert entry["changed"] == differs


def test_sentence_says_which_digit_a_stage_prevents(client: TestClient) -> None:
    """If a stage matters, the sentence names the digit without it."""
    page = _page(3)
    page[40:43] = page[-30:-27] = 40
    answer = client.post("/preprocess", files={"file": encode(page)}).json()
    (clean,) = [entry for entry in answer["without"] if entry["stage"] == "clean"]
    assert answer["prediction"]["digit"] == 3
    assert clean["changed"]


def _framed(digit: int) -> np.ndarray:
    page = np.full((60, 60), 255, np.uint8)
    page[2:58, 2:58] = 255 - np.kron(sample_pixels(digit), np.ones((2, 2), np.uint8))
    page[4:56, [4, 55]] = page[[4, 55], 4:56] = 20
    return page


def test_frame_is_a_stage_with_the_answer_without_it(client: TestClient) -> None:
    """If a printed frame is removed, the stages show it, and what its ink would be read as."""
    answer = client.post("/preprocess", files={"file": encode(_framed(4))}).json()
    assert answer["prediction"]["digit"] == 4
    (stage,) = [stage for stage in answer["stages"] if stage["name"] == "frames"]
    assert stage["parameters"] == {"frames": 1}
    without = {entry["stage"]: entry for entry in answer["without"]}
    assert list(without) == ["background", "frames", "clean", "stroke", "centre"]
    assert without["frames"]["changed"]
    assert without["frames"]["image"] != answer["image"]


def test_desk_is_a_stage_with_the_answer_without_it(client: TestClient) -> None:
    """If the desk around a sheet is left out, the stages show it, and the answer with the desk."""
    page = np.full((400, 420), 40, np.uint8)
    page[60:340, 70:350] = 235 - 0.8 * np.kron(sample_pixels(7), np.ones((10, 10)))
    answer = client.post("/preprocess", files={"file": encode(page)}).json()
    assert answer["prediction"]["digit"] == 7
    names = [stage["name"] for stage in answer["stages"]]
    assert names[:3] == ["grey", "desk", "polarity"]
    (desk,) = [entry for entry in answer["without"] if entry["stage"] == "desk"]
    assert desk["image"] != answer["image"]


def test_mnist_shaped_image_has_no_stages(client: TestClient) -> None:
    """A MNIST-shaped image is passed through: it has one stage and none can be left out."""
    answer = client.post("/preprocess", files={"file": sample_png(1)}).json()
    assert answer["passthrough"]
    assert ([stage["name"] for stage in answer["stages"]], answer["without"]) == (["input"], [])


def test_npz_has_every_stage_as_an_array(client: TestClient) -> None:
    """With format=npz each stage is an array, and `pixels` is the 28x28 image."""
    response = client.post("/preprocess?format=npz", files={"file": encode(_page(2))})
    assert response.headers["Content-Type"] == "application/x-npz"
    with np.load(io.BytesIO(response.content)) as arrays:
        assert {"pixels", "grey", "clean", "centre"} <= set(arrays)
        np.testing.assert_array_equal(arrays["pixels"], arrays["centre"])
