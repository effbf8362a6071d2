"""Send requests to a service on this machine: by `wrk`, or a given number of them."""

import http.client
import json
import re
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import numpy as np

from app.samples import sample_pixels, sample_png

DIGIT, PATIENCE_S = 7, 120
PNG, PIXELS = sample_png(DIGIT), sample_pixels(DIGIT)
BOUNDARY = "a-boundary"


@dataclass(frozen=True)
class Body:
    """The body of a request: content type, bytes and further headers."""

    kind: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_headers(self) -> dict[str, str]:
        """Return the headers, with the content type."""
        return {"Content-Type": self.kind, **self.headers}


@dataclass(frozen=True)
class Load:
    """What `wrk` saw: answers, their rate per second, p50 and p99 in ms, and failures."""

    answers: int
    rate: float
    middle: float
    tail: float
    failed: int


def form_body(name: str, count: int = 1) -> Body:
    """Return a form that holds the digit in a field of a name, once or many times."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="7.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    part = head.encode() + PNG + b"\r\n"
    return Body(
        f"multipart/form-data; boundary={BOUNDARY}", count * part + f"--{BOUNDARY}--\r\n".encode()
    )


def v1_json() -> Body:
    """Return TensorFlow Serving's row format."""
    return Body("application/json", json.dumps({"instances": [PIXELS.tolist()]}).encode())


def v2_json() -> Body:
    """Return the Open Inference Protocol's JSON."""
    tensor = {**_tensor(), "data": PIXELS.ravel().tolist()}
    return Body("application/json", json.dumps({"inputs": [tensor]}).encode())


def v2_binary() -> Body:
    """Return the same with a binary tensor, for a binary answer, as Triton's client sends it."""
    tensor = {**_tensor(), "parameters": {"binary_data_size": PIXELS.size}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return Body(
        "application/octet-stream",
        head + PIXELS.tobytes(),
        {"Inference-Header-Content-Length": str(len(head))},
    )


def _tensor() -> dict[str, object]:
    return {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8"}


def answered_digit(content: bytes) -> int:
    """Return the digit of a response in any of the formats, the first one of many.

    Raises:
        ValueError: The response has none of the formats.
    """
    if not content.startswith(b"[") and not content.rstrip().endswith(b"}"):
        head, _ = json.JSONDecoder().raw_decode(content.decode("latin-1"))
        size = sum(each["parameters"]["binary_data_size"] for each in head["outputs"])
        start = len(content) - size  # the probabilities are the first output
        return int(np.argmax(struct.unpack("<10f", content[start : start + 40])))
    answer = json.loads(content)
    if isinstance(answer, list):
        answer = answer[0]
    if "digit" in answer:
        return int(answer["digit"])
    if "outputs" in answer:
        return int(np.argmax(answer["outputs"][0]["data"][:10]))
    if "predictions" in answer:
        first = answer["predictions"][0]
        return int(np.argmax(first["probabilities"] if isinstance(first, dict) else first))
    raise ValueError(f"not an answer: {content[:300]!r}")


def until_answered(process: subprocess.Popen[bytes], port: int, path: str, body: Body) -> bytes:
    """Return the first successful response of a service.

    Raises:
        RuntimeError: It has ended, or does not answer for long.
    """
    until, content = time.monotonic() + PATIENCE_S, b"no answer"
    while time.monotonic() < until and process.poll() is None:
        try:
            status, content = post(port, path, body)
            if status == 200:
                return content
        except (OSError, http.client.HTTPException):
            pass  # not listening yet
        time.sleep(0.02)
    raise RuntimeError(f"no service answers at {path}: {content[:300]!r}")


def post(port: int, path: str, body: Body) -> tuple[int, bytes]:
    """Return the status and content that one request on a new connection gets."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("POST", path, body.content, body.all_headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def ask(port: int, path: str, body: Body, count: int) -> tuple[bytes, int]:
    """Send so many requests over one connection; return the last response and how many were 504.

    Raises:
        RuntimeError: A request fails otherwise.
    """
    connection, content, late = http.client.HTTPConnection("127.0.0.1", port), b"", 0
    for _ in range(count):
        connection.request("POST", path, body.content, body.all_headers)
        answer = connection.getresponse()
        content = answer.read()
        late += answer.status == HTTPStatus.GATEWAY_TIMEOUT
        if answer.status not in (HTTPStatus.OK, HTTPStatus.GATEWAY_TIMEOUT):
            raise RuntimeError(f"{path} gave {answer.status}: {content[:300]!r}")
    connection.close()
    return content, late


def wrk(port: int, path: str, body: Body, connections: int, seconds: int) -> Load:
    """Send requests for some time, each connection its next one after the response."""
    with tempfile.TemporaryDirectory() as folder:
        content, script = Path(folder, "body"), Path(folder, "post.lua")
        content.write_bytes(body.content)
        headers = "".join(
            f'wrk.headers["{name}"] = "{value}"\n' for name, value in body.all_headers.items()
        )
        script.write_text(
            f'local file = io.open("{content}", "rb")\n'
            'wrk.method, wrk.body = "POST", file:read("*a")\n'
            f"{headers}"
        )
        said = subprocess.run(
            [
                *("wrk", "--threads", "1", "--connections", str(connections), "--latency"),
                *("--duration", f"{seconds}s", "--timeout", "30s", "--script", script),
                f"http://127.0.0.1:{port}{path}",
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    answers = re.search(r"(\d+) requests in", said)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    if rate is None or answers is None:
        raise RuntimeError(f"wrk said: {said}")
    return Load(
        int(answers[1]),
        float(rate[1]),
        _milliseconds(said, "50%"),
        _milliseconds(said, "99%"),
        int(failed[1]) if failed else 0,
    )


def _milliseconds(said: str, share: str) -> float:
    found = re.search(rf"{share}\s+([\d.]+)(us|ms|s|m)\b", said)
    if found is None:
        raise RuntimeError(f"wrk said: {said}")
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[found[2]]
