"""A few digits in a tensor take the micro-batcher, with the answers that many take from threads."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from app.samples import sample_png
from tests.conftest import Digits
from tests.imaging.samples import placed
from tests.server.grpc_client import grpc_client, infer_request
from tests.server.process import Answer, Server

OIP, TFS = "/v2/models/compact/infer", "/v1/models/compact:predict"
Images = NDArray[np.generic]


def _ask(server: Server, route: str, images: Images, **parameters: object) -> Answer:
    message: dict[str, object] = {"instances": images.tolist(), "parameters": parameters}
    if route == OIP:
        kind = "UINT8" if images.dtype == np.uint8 else "FP32"
        tensor = {"name": "image", "datatype": kind, "shape": images.shape, "data": images.tolist()}
        message = {"inputs": [tensor], "parameters": parameters}
    answer = server.ask(route, json.dumps(message).encode())
    assert answer.status == 200, answer.content
    return answer


def _probabilities(answer: Answer) -> NDArray[np.float64]:
    found = answer.json
    rows = found["predictions"] if "predictions" in found else found["outputs"][0]["data"]
    return np.array(rows).reshape(-1, 10)


def _runs(server: Server, lane: str) -> float:
    return server.metric("digitscope_queue_seconds_count", lane=lane)


@pytest.mark.parametrize("route", [OIP, TFS])
@pytest.mark.parametrize("kind", ["digits", "fractions", "unplaced", "any scale"])
def test_few_digits_have_the_answers_of_many(
    server: Server, digits: Digits, route: str, kind: str
) -> None:
    """Each digit alone, or three together, have exactly the probabilities that all together have.

    A request for all is large enough for the threads.
    """
    images: Images = digits.images[:40]
    parameters: dict[str, object] = {}
    if kind == "fractions":
        images = (images / 255).round(3)
    elif kind == "unplaced":
        rng = np.random.default_rng(4)
        images = np.stack([placed(image, rng, 12) for image in digits.images[:40]])
    elif kind == "any scale":
        images, parameters = images - 33.5, {"scale": "model"}
    together = _ask(server, route, images, **parameters)
    before = _runs(server, "quick"), _runs(server, "fast")
    alone = [_ask(server, route, images[n : n + 1], **parameters) for n in range(9)]
    three = _ask(server, route, images[9:12], **parameters)
    assert (_runs(server, "quick"), _runs(server, "fast")) == (before[0] + 10, before[1])
    few = np.concatenate([_probabilities(answer) for answer in (*alone, three)])
    np.testing.assert_array_equal(few, _probabilities(together)[:12])
    if kind != "any scale":
        warning = "Images 0, 1, 2: The digit does not have the size"
        assert (warning in three.content.decode()) == (kind == "unplaced")


@pytest.mark.parametrize("route", [OIP, TFS])
def test_few_digits_are_prepared_if_they_must_be(
    server: Server, digits: Digits, route: str
) -> None:
    """With `preprocess` `auto`, digits in MNIST's form take the micro-batcher, others threads."""
    small = placed(digits.images[0], np.random.default_rng(4), 12)[None]
    for images, lane in ((digits.images[:1], "quick"), (small, "fast")):
        before = _runs(server, lane)
        assert _probabilities(_ask(server, route, images, preprocess="auto")).shape == (1, 10)
        assert _runs(server, lane) == before + 1


def test_metrics_count_few_digits_like_many(server: Server, digits: Digits) -> None:
    """Requests are counted with their route, digits with their verdict, also over gRPC."""

    def counted() -> tuple[float, ...]:
        return (
            server.metric("digitscope_requests_total", route="/v2/models/{model}/infer"),
            server.metric("digitscope_requests_total", route="/v1/models/{model}:predict"),
            server.metric("digitscope_verdicts_total", model="compact"),
            server.metric("digitscope_queue_seconds_count", lane="quick"),
        )

    before = counted()
    for route in (OIP, TFS):
        _ask(server, route, digits.images[:2])
    with grpc_client(server) as client:
        client.infer(infer_request(digits.images[:3], model="compact"))
    assert np.subtract(counted(), before).tolist() == [1, 1, 7, 3]


def test_files_and_slow_networks_take_threads(server: Server, digits: Digits) -> None:
    """Image files and a network that is not fast are left to the threads."""
    before = _runs(server, "fast")
    pixels = json.dumps({"instances": digits.images[:1].tolist()}).encode()
    assert server.ask("/v1/models/ensemble:predict", pixels).status == 200
    assert server.ask(OIP, sample_png(5), Inference_Header_Content_Length="0").status == 200
    assert _runs(server, "fast") == before + 2
