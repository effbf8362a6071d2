"""Digits through the micro-batcher: a full queue, a missed deadline, a cancellation."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from starlette.types import ASGIApp, Message

from app.inference.model import Model
from app.web.execution import micro_batcher
from app.web.execution.micro_batcher import MicroBatcher
from app.web.service import Service
from tests.forms import npy
from tests.web.paused_runtime import PausedRuntime

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The service runs on asyncio."""
    return "asyncio"


@dataclass
class OneModel:
    """A registry with one model, which is fast."""

    model: Model

    def is_loaded(self, name: str | None) -> bool:
        """Return true."""
        return True

    def get(self, name: str | None) -> Model:
        """Return the model."""
        return self.model


@dataclass
class Answer:
    """The response of the application."""

    status: int = 0
    headers: dict[str, str] | None = None
    content: bytes = b""

    async def take(self, message: Message) -> None:
        """Store one ASGI message of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {key.decode(): value.decode() for key, value in message["headers"]}
        self.content += message.get("body", b"")

    @property
    def json(self) -> dict:
        """Return the body."""
        return json.loads(self.content)

    @property
    def message(self) -> str:
        """Return the message of an error."""
        return self.json.get("error") or f"{self.json['title']}: {self.json['detail']}"

    @property
    def digit(self) -> int:
        """Return the digit that a response of any of the routes names."""
        found = self.json
        if "predictions" in found:
            return int(np.argmax(found["predictions"]))
        return found["outputs"][1]["data"][0] if "outputs" in found else found["digit"]


class Site:
    """The real application with a network that can be paused; every request is a new client.

    The network takes the first pixel of an image as its digit.
    """

    def __init__(self, app: ASGIApp, service: Service, model: Model, path: str) -> None:
        """Serve a fast model whose network is paused, and send images to one of `FORMS`."""
        self.app, self.runtime, self.path = app, PausedRuntime(), path
        self.runtime.go.clear()
        quick = replace(
            model, runtime=self.runtime, event_loop_runtime=None, seconds_per_image=50e-6
        )
        registry = OneModel(quick)
        self.service = replace(service, registry=registry, micro_batcher=MicroBatcher())
        self.clients = 0

    async def ask(self, digit: int, **headers: str) -> Answer:
        """Send one image and return the response."""
        self.clients += 1
        image = np.zeros((28, 28), np.uint8)
        image[4:24, 4:24], image[0, 0] = 200, digit  # MNIST-shaped
        body, answer = FORMS[self.path](image), Answer()
        sent = {"content-type": "application/x-npy", "content-length": str(len(body)), **headers}
        scope = {
            "type": "http",
            "method": "POST",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"preprocess=none" if self.path == "/predict" else b"",
            "headers": [(key.encode(), value.encode()) for key, value in sent.items()],
            "client": ("127.0.0.1", self.clients),
            "state": {"service": self.service},
        }

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, receive, answer.take)
        return answer

    @property
    def error_type(self) -> str:
        """The media type of an error of the route."""
        return "application/problem+json" if self.path == "/predict" else "application/json"

    async def keep_busy(self) -> "asyncio.Future[list[Answer]]":
        """Return once the thread runs a full micro-batch of 1s, so that further images wait."""
        busy = asyncio.gather(*[self.ask(1) for _ in range(micro_batcher.MAX_RUN)])
        for _ in range(3000):
            if self.runtime.sizes == [micro_batcher.MAX_RUN]:
                return busy
            await asyncio.sleep(0.01)
        raise AssertionError("the thread has not started")


def _instances(image: NDArray[np.uint8]) -> bytes:
    return json.dumps({"instances": [image.tolist()]}).encode()


def _inputs(image: NDArray[np.uint8]) -> bytes:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 784]}
    return json.dumps({"inputs": [{**tensor, "data": image.reshape(-1).tolist()}]}).encode()


# The bodies of the routes that use the micro-batcher, by path.
FORMS = {
    "/predict": npy,
    "/v1/models/classic:predict": _instances,
    "/v2/models/classic/infer": _inputs,
}


@pytest.fixture(params=FORMS)
def site(client: TestClient, classic: Model, request: pytest.FixtureRequest) -> Site:
    """The application with its network paused, for each route."""
    return Site(client.app, client.app_state["service"], classic, request.param)


async def test_full_queue_is_answered_with_503(site: Site) -> None:
    """Further images get 503 with Retry-After at once; all images in the queue get their digit."""
    busy = await site.keep_busy()
    digits = [n % 10 for n in range(micro_batcher.MAX_WAITING)]
    waiting = asyncio.gather(*[site.ask(digit) for digit in digits])
    await asyncio.sleep(0)
    refused = await asyncio.gather(*[site.ask(3) for _ in range(20)])
    assert Counter(answer.status for answer in refused) == {503: 20}
    assert "1024 images are waiting" in refused[0].message
    assert refused[0].headers["retry-after"] == "1"
    site.runtime.go.set()
    assert [answer.digit for answer in await waiting] == digits
    assert [answer.digit for answer in await busy] == [1] * micro_batcher.MAX_RUN
    site.service.micro_batcher.close()


async def test_missed_deadline_is_answered_with_504(site: Site) -> None:
    """An image whose deadline passes in the queue is not run; the other images are."""
    busy = await site.keep_busy()
    patient = asyncio.ensure_future(site.ask(4))
    late = await site.ask(5, **{"x-request-timeout": "0.05"})
    assert (late.status, late.headers["content-type"]) == (504, site.error_type)
    assert "0.05 s" in late.message
    site.runtime.go.set()
    assert (await patient).digit == 4
    await busy
    assert site.runtime.sizes == [micro_batcher.MAX_RUN, 1]
    site.service.micro_batcher.close()


async def test_cancelled_image_is_not_run(site: Site) -> None:
    """An image whose request is cancelled in the queue is dropped; the other images are run."""
    busy = await site.keep_busy()
    waiting = [asyncio.ensure_future(site.ask(digit)) for digit in (6, 7, 8)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    site.runtime.go.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(answers[1], asyncio.CancelledError)
    assert [answers[index].digit for index in (0, 2)] == [6, 8]
    await busy
    assert site.runtime.sizes == [micro_batcher.MAX_RUN, 2]
    site.service.micro_batcher.close()
