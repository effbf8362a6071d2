"""Scaled pixels are read in both protocols, or refused with the reason; never read as black."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import UndecodableError
from app.protocols import oip_messages, tensors
from tests.conftest import Digits
from tests.imaging.samples import placed
from tests.server.process import Answer, Server

OIP, TFS = "/v2/models/classic/infer", "/v1/models/classic:predict"


def _ask(server: Server, route: str, images: NDArray[np.generic], **parameters: object) -> Answer:
    """Send images `[N, 28, 28]` as JSON numbers."""
    message: dict[str, Any] = {"instances": images.tolist()}
    if route == OIP:
        shape = list(images.shape)
        tensor = {"name": "image", "datatype": "FP32", "shape": shape, "data": images.tolist()}
        message = {"inputs": [tensor]}
    if parameters:
        message["parameters"] = parameters
    return server.ask(route, json.dumps(message).encode(), content_type="application/json")


def _probabilities(answer: Answer) -> NDArray[np.float32]:
    assert answer.status == 200, answer.content
    found = answer.json
    rows = found["predictions"] if "predictions" in found else found["outputs"][0]["data"]
    return np.array(rows, np.float32).reshape(-1, 10)


def _digits(answer: Answer) -> list[int]:
    digits: list[int] = _probabilities(answer).argmax(axis=1).tolist()
    return digits


@pytest.mark.parametrize("route", [OIP, TFS])
def test_pixels_from_0_to_1_are_read_like_those_to_255(
    server: Server, digits: Digits, route: str
) -> None:
    """Floats of x/255 give the probabilities of x, and zeros and ones those of black and white."""
    images = digits.images[:5]
    whole = _probabilities(_ask(server, route, images))
    scaled = _probabilities(_ask(server, route, images.astype(np.float32) / 255))
    np.testing.assert_allclose(scaled, whole, atol=1e-4)
    bilevel = (images > 127).astype(np.uint8)
    as_white = _probabilities(_ask(server, route, bilevel * 255))
    np.testing.assert_allclose(_probabilities(_ask(server, route, bilevel)), as_white, atol=1e-6)


@pytest.mark.parametrize("route", [OIP, TFS])
@pytest.mark.parametrize(
    ("low", "high"), [(-1, 1), (-0.42, 2.8), (0, 1.01), (0, 16), (0, 32), (-20, 255), (0, 256)]
)
def test_other_scales_are_refused(
    server: Server, digits: Digits, route: str, low: float, high: float
) -> None:
    """Numbers of another range get 400 with the range; as `scale` `model` they are passed on."""
    images = low + digits.images[:2].astype(np.float32) / 255 * (high - low)
    refused = _ask(server, route, images)
    assert refused.status == 400
    assert f"got {low:g} to {high:g}" in refused.json["error"]
    assert '"scale": "model"' in refused.json["error"]
    assert len(_digits(_ask(server, route, images, scale="model"))) == 2


@pytest.mark.parametrize("route", [OIP, TFS])
def test_raw_numbers_reach_the_network_unchanged(
    server: Server, digits: Digits, route: str
) -> None:
    """With `scale` `model`, 0..1 is what it is: an almost black image."""
    images = digits.images[:3].astype(np.float32) / 255
    raw = _probabilities(_ask(server, route, images, scale="model"))
    black = _probabilities(_ask(server, route, np.zeros((3, 28, 28), np.float32)))
    np.testing.assert_allclose(raw, black, atol=0.2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("scale", ["auto", "model"])
def test_values_that_are_not_finite_are_refused(bad: float, scale: str) -> None:
    """Raw bytes may hold NaN and infinity, which no scale accepts."""
    values = np.full((1, 28, 28), 200, np.float32)
    values[0, 3, 3] = bad
    with pytest.raises(UndecodableError):
        tensors.to_pixels(values, scale)  # type: ignore[arg-type]


def test_integer_tensors_of_a_client_may_be_binary_masks(digits: Digits) -> None:
    """A UINT8 tensor of zeros and ones is scaled, in raw bytes, too."""
    mask = (digits.images[:2] > 127).astype(np.uint8)
    found = tensors.to_pixels(tensors.from_bytes(mask.tobytes(), "UINT8", mask.shape))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, mask * 255)


@pytest.mark.parametrize("value", [256, -1, 3.5])
def test_uint8_data_are_integers_up_to_255(value: float) -> None:
    """JSON numbers that UINT8 cannot hold are refused with every scale."""
    data = [value, *[0] * 783]
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 784], "data": data}
    body = json.dumps({"inputs": [tensor], "parameters": {"scale": "model"}}).encode()
    with pytest.raises(UndecodableError, match="UINT8 data must be integers from 0 to 255"):
        oip_messages.parse_request(body, None, 10)


@pytest.mark.parametrize("route", [OIP, TFS])
def test_unplaced_digits_carry_a_warning_unless_they_are_prepared(
    server: Server, digits: Digits, route: str
) -> None:
    """A small digit gets a warning with its index; `preprocess` `auto` reads it without one."""
    rng = np.random.default_rng(2)
    small = [placed(image, rng, 10) for image in digits.images[:7]]
    images = np.stack([digits.images[8], *small])
    plain, prepared = (
        _ask(server, route, images, **parameters) for parameters in ({}, {"preprocess": "auto"})
    )
    warnings = _warnings(plain)
    assert "Images 1, 2, 3, 4, 5 and 2 more: The digit does not have the size" in warnings
    assert not _warnings(prepared)
    right = (np.array(_digits(prepared)) == digits.labels[[8, *range(7)]]).sum()
    assert right >= 7
    assert right > (np.array(_digits(plain)) == digits.labels[[8, *range(7)]]).sum()
    assert not _warnings(_ask(server, route, digits.images[:4]))


def _warnings(answer: Answer) -> str:
    found = answer.json
    texts = found.get("warnings", []) or [found.get("parameters", {}).get("warnings", "")]
    return " ".join(texts)


@pytest.mark.parametrize("route", [OIP, TFS])
def test_blank_images_are_named_when_they_are_prepared(
    server: Server, digits: Digits, route: str
) -> None:
    """An image without ink gets 422 with its index."""
    images = np.stack([digits.images[0], np.zeros((28, 28), np.uint8)])
    refused = _ask(server, route, images, preprocess="auto")
    assert refused.status == 422
    assert "Element 1: No ink was found" in refused.json["error"]


@pytest.mark.parametrize("route", [OIP, TFS])
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"scale": "0..1"}, "expected one of auto, model"),
        ({"scale": 255}, "expected one of auto, model"),
        ({"preprocess": True}, "expected one of auto, none"),
        ({"preprocess": "auto", "scale": "model"}, "passes numbers on as they are"),
    ],
)
def test_unknown_options_are_refused(
    server: Server, digits: Digits, route: str, parameters: dict[str, object], message: str
) -> None:
    """An option with an unknown value is an error, never ignored."""
    refused = _ask(server, route, digits.images[:1], **parameters)
    assert refused.status == 400
    assert message in refused.json["error"]
