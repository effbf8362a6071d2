"""`POST /read`: all digits on an image."""

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.conftest import Digits
from tests.forms import encode
from tests.server.process import metric


def _ink(image: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(image.max(axis=1)), np.flatnonzero(image.max(axis=0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _page(lines: list[list[np.ndarray]], *, factor: int = 3, gap: int = 6):
    """Return a white page with lines of digits, and the box of each digit."""
    page = np.zeros((20 + 34 * factor * len(lines), 1200), np.uint8)
    boxes = []
    for row, line in enumerate(lines):
        x = 25
        for image in line:
            ink = np.kron(_ink(image), np.ones((factor, factor), np.uint8))
            y = 20 + 34 * factor * row + (20 * factor - len(ink)) // 2
            page[y : y + len(ink), x : x + ink.shape[1]] |= ink
            boxes.append((x, y, ink.shape[1], len(ink)))
            x += ink.shape[1] + gap * factor
    return 255 - page, boxes


def _some(digits: Digits, wanted: str, skip: int = 0) -> list[np.ndarray]:
    return [digits.images[np.flatnonzero(digits.labels == int(d))[skip + 2]] for d in wanted]


def test_lines_are_read_in_order_with_boxes(client: TestClient, digits: Digits) -> None:
    """Two lines are returned from top to bottom, with the box of each digit."""
    page, boxes = _page([_some(digits, "90210"), _some(digits, "3141592", 1)])
    answer = client.post("/read", files={"file": encode(page)}).json()
    assert answer["text"] == "90210\n3141592"
    assert [line["text"] for line in answer["lines"]] == ["90210", "3141592"]
    found = [digit["box"] for line in answer["lines"] for digit in line["digits"]]
    for box, expected in zip(found, boxes, strict=True):
        came = (box["x"], box["y"], box["width"], box["height"])
        assert np.abs(np.subtract(came, expected)).max() <= 5


def test_digits_may_differ_in_size(client: TestClient, digits: Digits) -> None:
    """A digit of half the size next to larger ones is read too."""
    page, _ = _page([_some(digits, "268")], factor=4)
    small, _ = _page([_some(digits, "5")], factor=2)
    page[60 : 60 + len(small) - 20, 500:700] = np.minimum(
        page[60 : 60 + len(small) - 20, 500:700], small[20:, :200]
    )
    assert client.post("/read", files={"file": encode(page)}).json()["text"] == "2685"


def test_detached_stroke_stays_with_its_digit(client: TestClient, digits: Digits) -> None:
    """A 5 with a detached bar is one digit, not two."""
    (five,) = _some(digits, "5", 1)
    split = np.zeros((34, 28), np.uint8)
    middle = 9
    split[:middle], split[middle + 2 : 30] = five[:middle], five[middle:]
    page, _ = _page([[*_some(digits, "7"), split, *_some(digits, "2")]], factor=4)
    assert len(client.post("/read", files={"file": encode(page)}).json()["lines"][0]["digits"]) == 3


@pytest.mark.parametrize("wanted", ["74", "00", "38", "256"])
def test_touching_digits_are_separated(client: TestClient, digits: Digits, wanted: str) -> None:
    """Digits that touch are read one by one."""
    page, _ = _page([_some(digits, wanted)], factor=5, gap=0)
    assert client.post("/read", files={"file": encode(page)}).json()["text"] == wanted


def test_mark_that_is_no_digit_is_a_question_mark(client: TestClient, digits: Digits) -> None:
    """A cross between digits has the verdict `not-a-digit` and is `?` in the text."""
    cross = np.zeros((28, 28), np.uint8)
    for at in range(4, 24):
        cross[at, at - 1 : at + 2] = cross[at, 26 - at : 29 - at] = 255
    page, _ = _page([[*_some(digits, "4", 1), cross, *_some(digits, "7")]])
    answer = client.post("/read", files={"file": encode(page)}).json()
    assert answer["text"] == "4?7"
    assert answer["lines"][0]["digits"][1]["verdict"] == "not-a-digit"


def test_metrics_count_every_digit_of_a_page(client: TestClient, digits: Digits) -> None:
    """Each digit counts with its verdict and confidence, as a single image does."""

    def counted() -> list[float]:
        text = client.get("/metrics").text
        names = ("digitscope_verdicts_total", "digitscope_confidence_count")
        return [metric(text, name) for name in names]

    page, _ = _page([_some(digits, "90210")])
    before = counted()
    assert client.post("/read", files={"file": encode(page)}).json()["text"] == "90210"
    assert counted() == [count + 5 for count in before]


def test_blank_page_and_preprocess_none_give_422(client: TestClient) -> None:
    """A page needs ink, and it is always prepared."""
    blank = encode(np.full((300, 300), 255, np.uint8))
    assert client.post("/read", files={"file": blank}).status_code == 422
    refused = client.post("/read?preprocess=none", files={"file": blank})
    assert "preprocess=none" in refused.json()["detail"]


def test_noise_is_answered_in_time(client: TestClient) -> None:
    """A page full of noise gives 200 or 422 instead of endless work."""
    noise = np.random.default_rng(0).integers(0, 2, (1500, 1500), np.uint8) * 255
    assert client.post("/read", files={"file": encode(noise)}).status_code in (200, 422)
