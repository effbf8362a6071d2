"""`POST /predict/batch`: many images in one request."""

import base64

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.samples import sample_png
from tests.conftest import Digits
from tests.forms import encode, npy
from tests.server.process import metric

NPY = {"Content-Type": "application/x-npy"}


def test_npy_batch_equals_single_predictions(client: TestClient, digits: Digits) -> None:
    """The predictions for a batch are those of its images one by one, in order."""
    images = digits.images[::100]
    batch = client.post("/predict/batch", content=npy(images), headers=NPY).json()
    for image, answer in zip(images, batch, strict=True):
        alone = client.post("/predict", json={"pixels": image.tolist()}).json()
        assert answer["digit"] == alone["digit"]
        assert answer["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)


def test_batch_equals_predict_byte_for_byte(client: TestClient, digits: Digits) -> None:
    """The response is the list of `/predict`'s responses, for prepared and unprepared images."""
    images = np.concatenate([digits.images[:150:2], 255 - digits.images[:150:25]])
    for query in ("", "?polarity=light-on-dark", "?preprocess=none"):
        each = [
            client.post(f"/predict{query}", content=npy(image), headers=NPY) for image in images
        ]
        assert {answer.status_code for answer in each} == {200}
        expected = b"[" + b",".join(answer.content for answer in each) + b"]"
        batch = client.post(f"/predict/batch{query}", content=npy(images), headers=NPY)
        assert batch.content == expected
        listed = [{"pixels": image.tolist()} for image in images]
        assert client.post(f"/predict/batch{query}", json=listed).content == expected


def test_metrics_count_every_image_of_a_batch(client: TestClient, digits: Digits) -> None:
    """The metrics grow by the readable images, and by one batch of this size."""
    names = ("verdicts_total", "confidence_count", "batch_size_sum", "batch_size_count")

    def counts() -> list[float]:
        text = client.get("/metrics").text
        return [metric(text, f"digitscope_{name}") for name in names]

    before = counts()
    files = [("files", (f"{n}.png", encode(digits.images[n]))) for n in range(70)]
    answers = client.post("/predict/batch", files=[*files, ("files", ("x", b"nonsense"))]).json()
    assert [answer["error"]["status"] for answer in answers if "error" in answer] == [400]
    grown = [after - first for after, first in zip(counts(), before, strict=True)]
    assert grown == [70, 70, 70, 1]


def test_every_body_form_gives_the_same_digits(client: TestClient) -> None:
    """Form files and JSON give the same digits in the same order."""
    order = [3, 1, 4, 1, 5, 9]
    files = [("files", (f"{digit}.png", sample_png(digit))) for digit in order]
    listed = [{"image": base64.b64encode(sample_png(digit)).decode()} for digit in order]
    by_files = client.post("/predict/batch", files=files).json()
    by_json = client.post("/predict/batch", json=listed).json()
    assert [answer["digit"] for answer in by_files] == order
    assert by_files == by_json


def test_unreadable_image_does_not_affect_the_others(client: TestClient) -> None:
    """Each unreadable image has its error at its index; the others have predictions."""
    items = [
        {"image": base64.b64encode(sample_png(7)).decode()},
        {"image": "bm8gaW1hZ2U="},
        {"pixels": [[0] * 28] * 27},
        "seven",
        {"pixels": [[0] * 28] * 28},
        {"image": base64.b64encode(sample_png(2)).decode()},
    ]
    answers = client.post("/predict/batch", json=items).json()
    assert [answer.get("digit") for answer in answers] == [7, None, None, None, None, 2]
    statuses = [answer["error"]["status"] for answer in answers if "error" in answer]
    assert statuses == [400, 422, 422, 422]


def test_batch_of_unreadable_images_is_answered(client: TestClient) -> None:
    """If every image is unreadable, the response is 200 with a list of errors."""
    answers = client.post("/predict/batch", files=[("files", ("x.png", b"nonsense"))]).json()
    assert [answer["error"]["status"] for answer in answers] == [400]


@pytest.mark.parametrize(
    "body", [{"json": []}, {"content": npy(np.zeros((0, 28, 28), np.uint8)), "headers": NPY}]
)
def test_empty_batch_gives_422(client: TestClient, body: dict) -> None:
    """A batch without images is refused."""
    assert client.post("/predict/batch", **body).status_code == 422


def test_too_many_images_give_413(client: TestClient) -> None:
    """A batch over the limit is refused in every body form."""
    many = np.zeros((1025, 28, 28), np.uint8)
    files = [("files", (f"{n}.png", b"x")) for n in range(1025)]
    assert client.post("/predict/batch", content=npy(many), headers=NPY).status_code == 413
    assert client.post("/predict/batch", json=[{}] * 1025).status_code == 413
    assert client.post("/predict/batch", files=files).status_code == 413


@pytest.mark.parametrize(
    ("files", "data", "said"),
    [
        ([("file", sample_png(7))], {}, "no field 'files'; it has 'file'."),
        ([("image", sample_png(7)), ("x", b"")], {}, "no field 'files'; it has 'image', 'x'."),
        ([("file", sample_png(7))], {"files": "text"}, "The field 'files' is text"),
        ([("files", sample_png(7))], {"files": "text"}, "The field 'files' is text"),
    ],
)
def test_wrong_field_names_are_named(
    client: TestClient, files: list[tuple[str, bytes]], data: dict[str, str], said: str
) -> None:
    """A form whose files have another name gets an error that says which names came."""
    answer = client.post("/predict/batch", files=files, data=data)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
