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


def test_images_of_the_digits_are_sent_on_request(client: TestClient, digits: Digits) -> None:
    """With `include=images` each digit has its 28x28, which gives the same digit unprepared."""
    page, _ = _page([_some(digits, "42")])
    plain, answer = (
        client.post(f"/read{query}", files={"file": encode(page)}).json()
        for query in ("", "?include=images")
    )
    found = [digit for line in answer["lines"] for digit in line["digits"]]
    assert [digit["image"] for line in plain["lines"] for digit in line["digits"]] == [None, None]
    for digit in found:
        again = client.post("/predict?preprocess=none", json={"image": digit["image"]}).json()
        assert again["digit"] == digit["digit"]
        assert again["confidence"] == pytest.approx(digit["confidence"], abs=0.02)
    wrong = client.post("/read?include=pictures", files={"file": encode(page)})
    assert (wrong.status_code, wrong.headers["Content-Type"]) == (422, "application/problem+json")


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


@pytest.mark.parametrize(("side", "warns"), [(20, False), (40, True)])
def test_page_with_too_many_digits_carries_a_warning(
    client: TestClient, digits: Digits, side: int, warns: bool
) -> None:
    """If digits are left out, the answer says how many of about how many were read."""
    (seven,) = _some(digits, "7")
    page = 255 - np.tile(seven, (side, side))
    answer = client.post("/read", files={"file": encode(page)}).json()
    assert sum(len(line["digits"]) for line in answer["lines"]) == 400
    warnings = answer["input"]["warnings"]
    if warns:
        (warning,) = warnings
        assert "Only the 400 marks with the most ink were read, of about 1600." in warning
    else:
        assert warnings == []


def test_specks_are_not_counted_as_marks(client: TestClient, digits: Digits) -> None:
    """A page with more specks than marks may be read needs no warning: no digit is left out."""
    page, _ = _page([_some(digits, "268")], factor=4)
    page = np.pad(page, ((0, 300), (0, 0)), constant_values=255)
    for row in range(2):  # 3,000 dots below the digits
        page[-160 + row :: 8, ::8] = page[-160 + row :: 8, 1::8] = 0
    answer = client.post("/read", files={"file": encode(page)}).json()
    assert answer["text"] == "268"
    assert answer["input"]["warnings"] == []


def test_touching_digits_that_are_not_cut_apart_carry_a_warning(
    client: TestClient, digits: Digits
) -> None:
    """On a page with many touching digits, the last ones are read as one; the answer says so."""
    pair = np.concatenate([_ink(image) for image in _some(digits, "0") * 2], axis=1)
    cell = np.zeros((30, 56), np.uint8)
    cell[5 : 5 + len(pair), 5 : 5 + pair.shape[1]] = pair
    page = 255 - np.tile(cell, (18, 18))
    answer = client.post("/read", files={"file": encode(page)}).json()
    (warning,) = answer["input"]["warnings"]
    assert "wide marks were not cut apart" in warning


def test_unsure_digits_carry_a_warning(client: TestClient, digits: Digits) -> None:
    """The text does not show which digits are unsure, so the answer counts them."""
    page, _ = _page([_some(digits, "268")], factor=4)
    noisy = np.random.default_rng(3).normal(0, 90, page.shape)
    answer = client.post(
        "/read", files={"file": encode(np.clip(page + noisy, 0, 255).astype(np.uint8))}
    ).json()
    read = [digit for line in answer["lines"] for digit in line["digits"]]
    unsure = [digit for digit in read if digit["verdict"] == "unsure"]
    known = [digit for digit in read if digit["verdict"] != "not-a-digit"]
    expected = f"{len(unsure)} of {len(known)} digits are unsure: see the verdict of each."
    assert (expected in answer["input"]["warnings"]) == bool(unsure)
    assert unsure


def test_background_taken_for_ink_carries_a_warning(client: TestClient, digits: Digits) -> None:
    """Ink on most of a page is rather its background; the warning names the other polarity."""
    page, _ = _page([_some(digits, "268")], factor=4)
    wrong = client.post("/read?polarity=light-on-dark", files={"file": encode(page)}).json()
    (warning,) = wrong["input"]["warnings"]
    assert "may be its background" in warning
    assert "polarity=dark-on-light" in warning
    right = client.post("/read", files={"file": encode(page)}).json()
    assert right["input"]["warnings"] == []


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
