"""Build requests of every kind, each with the response that the application itself gives."""

import base64
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from app.imaging.decode import decode
from app.samples import sample_pixels, sample_png
from tests.forms import encode, every_form, npy
from tests.routes.test_errors import CASES
from tests.server.process import Answer

DIGITS = range(10)
MAX_BODY_BYTES = 100_000  # longer malformed bodies would dominate a load of many requests
PROTOCOLS = re.compile(r"/v[12]/")


@dataclass(frozen=True)
class Ask:
    """One request and its right response.

    Attributes:
        kind: Name of the request, for counts and messages.
        status: The right status.
        content: The right body; None if it differs from one time to the next.
    """

    kind: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int = 0
    content: bytes | None = None

    def judge(self, answer: Answer) -> str:
        """Return `right`, `refused`, `late`, `lost`, or a sentence that says what is wrong."""
        if answer.status == 0:
            return f"lost: {answer.error}"
        if answer.status == self.status:
            matches = self.content is None or _same(answer.content, self.content)
            return "right" if matches else f"{self.kind}: another answer: {answer.content[:300]!r}"
        refusals = {
            408: ("late", "slow-body"),
            503: ("refused", "queue-full"),
            504: ("late", "deadline-passed"),
        }
        if answer.status not in refusals:
            return f"{self.kind}: {answer.status} for {self.status}: {answer.content[:300]!r}"
        outcome, slug = refusals[answer.status]
        problem = answer.json
        if PROTOCOLS.match(self.path):
            fits = list(problem) == ["error"]
        else:
            fits = problem["type"] == f"urn:digitscope:problem:{slug}" and problem["status"] != 200
        if not fits or (answer.status == 503) != ("retry-after" in answer.headers):
            return f"{self.kind}: an unexpected form of refusal: {answer.content[:300]!r}"
        return outcome


def asks(client: TestClient) -> list[Ask]:
    """Build the requests and record how `client`'s application responds to each.

    Raises:
        ValueError: A digit is misread.
    """
    found = []
    for kind, method, path, given in _requests():
        request = client.build_request(method, path, **given)
        request.read()
        answer = client.send(request)
        if kind.startswith("predict") and answer.json().get("digit") != int(kind[-1]):
            raise ValueError(f"{kind} is read as {answer.text}")
        constant = path not in ("/metrics", "/version")
        found.append(
            Ask(
                kind,
                method,
                path,
                {name: value for name, value in request.headers.items() if name in _SENT},
                request.content,
                answer.status_code,
                answer.content if constant else None,
            )
        )
    return found


_SENT = ("content-type", "inference-header-content-length")


def _requests() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield kind, method, path and the arguments of an HTTP client."""
    for digit in DIGITS:
        pixels = sample_pixels(digit)
        for form in every_form(pixels).values():
            yield f"predict {digit}", "POST", "/predict", form
        yield f"predict photo {digit}", "POST", "/predict", {"files": {"file": _photo(pixels)}}
        yield from _multiple_and_inspection(digit, pixels)
        yield from _protocols(pixels)
    for path in ("/", "/models", "/models/compact/layers", "/metrics", "/version", "/livez"):
        yield f"get {path}", "GET", path, {}
    for case, (_, headers, body) in CASES.items():
        if len(body) < MAX_BODY_BYTES:
            yield f"garbage: {case}", "POST", "/predict", {"content": body, "headers": headers}
    for path in ("/nothing", "/layers/conv_9/unit"):
        yield f"garbage: {path}", "GET", path, {}


def _multiple_and_inspection(
    digit: int, pixels: np.ndarray
) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield requests that read several digits or inspect the network."""
    file = {"files": {"file": sample_png(digit)}}
    several = [sample_png((digit + at) % 10) for at in range(6)]
    items: list[Any] = [{"image": base64.b64encode(one).decode()} for one in several]
    yield "batch files", "POST", "/predict/batch", {"files": [("files", one) for one in several]}
    yield "batch json", "POST", "/predict/batch", {"json": [*items, {"image": "no image"}]}
    yield (
        "batch npy",
        "POST",
        "/predict/batch",
        {"content": npy(np.stack([pixels] * 40)), "headers": {"Content-Type": "application/x-npy"}},
    )
    row = np.hstack([decode(one, max_pixels=784).pixels for one in several])
    page = 255 - np.kron(row, np.ones((2, 2), np.uint8))
    yield "read", "POST", "/read", {"files": {"file": encode(page)}}
    for path in (
        "/preprocess",
        "/inspect",
        "/inspect?include=sheets",
        "/layers/2/unit",
        "/layers/2/activations",
        "/explain?method=gradient&checks=false",
        "/neighbours",
    ):
        yield path.partition("?")[0].strip("/"), "POST", path, file


def _protocols(pixels: np.ndarray) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    tensor = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8"}
    infer, rows = "/v2/models/compact/infer", {"instances": [pixels.tolist()]}
    yield "oip", "POST", infer, {"json": {"inputs": [{**tensor, "data": pixels.ravel().tolist()}]}}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": 784}}]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    yield "oip binary", "POST", infer, {"content": head + pixels.tobytes(), "headers": headers}
    yield "tfserving", "POST", "/v1/models/compact:predict", {"json": rows}


def _photo(pixels: np.ndarray) -> bytes:
    """Return a digit as dark ink on a large light page, as JPEG."""
    sheet = 230 - np.pad(np.kron(pixels, np.ones((9, 9), np.uint8)) // 2, 60)
    stream = io.BytesIO()
    Image.fromarray(sheet).save(stream, format="JPEG", quality=90)
    return stream.getvalue()


def _same(got: bytes, expected: bytes) -> bool:
    """Return whether two bodies are equal, except for request ids and the last decimals."""
    if got == expected:
        return True
    try:
        return _equal(json.loads(got), json.loads(expected))
    except ValueError:
        return False


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            key == "request_id" or _equal(one[key], other[key]) for key in one
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6)
    return bool(one == other)
