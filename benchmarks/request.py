"""What one request costs, line by line: CPU microseconds of each step of `POST /predict`.

    python -m benchmarks.request

Everything runs in this process, without sockets; writes its table into docs/performance.md.
"""

import asyncio
import io
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image
from starlette.types import Message, Scope

from app.imaging.decode import decode
from app.inference.model import Model
from app.inference.runtime import Outputs, Pixels, Runtime
from app.main import create_app
from app.recognise import Options, is_passthrough, pass_through, recognise, recognise_unprepared
from app.samples import sample_png
from app.settings import REPOSITORY, Settings
from app.web.execution.thread_pool import BoundedThreadPool
from app.web.responses.predictions import prediction_answer, prediction_texts
from benchmarks.batch import DIGITS
from benchmarks.load import form_body
from benchmarks.page import fill, table
from tests.forms import npy

PAGE = REPOSITORY / "docs" / "performance.md"
ROUNDS, CALLS = 25, 60
PNG = sample_png(7)
MANY = (256, 1024)  # digits of an array
THREADS = Settings().threads


def main() -> None:
    """Measure and write."""
    rows = asyncio.run(_measure())
    print(table(rows))
    fill(PAGE, "request", table(rows))


async def _measure() -> list[list[str]]:
    # The event loop for one application, threads for the other; the floor has neither.
    apps = {
        "on the event loop": create_app(_settings(quick_below_s=1)),
        "handed to a thread": create_app(_settings(quick_below_s=0)),
        "on the event loop, without running the network": create_app(_settings(quick_below_s=1)),
    }
    async with AsyncExitStack() as stack:
        requests: dict[str, Callable[[], Awaitable[None]]] = {}
        for name, app in apps.items():
            state = await stack.enter_async_context(app.router.lifespan_context(app))
            requests[f"whole request, {name}"] = _request(app, state, "/predict", PNG, "image/png")
            if name == "on the event loop":
                arrays = {
                    count: _request(
                        app, state, "/predict/batch", npy(DIGITS[:count]), "application/x-npy"
                    )
                    for count in MANY
                }
        form = form_body("file")
        pixels = json.dumps({"pixels": DIGITS[7].tolist()}).encode()
        requests |= {
            "the same of a form": _request(app, state, "/predict", form.content, form.kind),
            "the same of 28 lists of numbers in JSON": _request(
                app, state, "/predict", pixels, "application/json"
            ),
            "the same of a wrong Content-Type, refused before the body is read": _request(
                app, state, "/predict", PNG, "text/plain", status=415
            ),
        }
        registry = (state or {})["service"].registry
        model = registry.get(None)
        constant = replace(model, runtime=_Constant(model.runtime), event_loop_runtime=None)
        entry = registry.find_entry(registry.default)
        registry._entries.put(replace(entry, model=constant))
        floor = _request(_floor(), {}, "/predict", PNG, "image/png")
        requests["whole request, the floor: FastAPI, Pillow, the same JSON"] = floor
        pool_of_one = BoundedThreadPool(threads=1, max_queue=1)

        async def round_trip() -> None:
            await pool_of_one.run(int)

        medians = await _medians(
            {**_steps(model), "to a thread and back": round_trip, **requests}, CALLS
        )
        pool_of_one.close()
        with ThreadPoolExecutor(THREADS) as pool:
            for count, ask in arrays.items():
                bare = f"one of {count} digits, by {THREADS} threads that do nothing else"
                bulk = {
                    bare: _bare(count, model, pool),
                    f"one of {count} digits in a `/predict/batch`": ask,
                }
                for name, value in (await _medians(bulk, 4)).items():
                    medians[name] = value / count
    rows = [["step", "CPU us"]]
    rows += [
        [name, f"{value:.0f}" if value >= 50 else f"{value:.1f}"] for name, value in medians.items()
    ]
    return rows


def _bare(count: int, model: Model, pool: ThreadPoolExecutor) -> Callable[[], Awaitable[None]]:
    parts = np.array_split(DIGITS[:count], THREADS)

    async def run() -> None:
        list(pool.map(model.runtime.predict, parts))

    return run


class _Constant:
    """Gives the same outputs for every image, at once."""

    def __init__(self, runtime: Runtime) -> None:
        self._outputs = runtime.predict(np.zeros((1, 28, 28), np.uint8))

    def predict(self, images: Pixels) -> Outputs:
        return self._outputs

    def inspect(self, images: Pixels) -> dict[str, NDArray[np.float32]]:
        return {}


def _settings(**more: float) -> Settings:
    return Settings(log_level="warning", access_log=False, max_batch_items=max(MANY), **more)


def _steps(model: Model) -> dict[str, Callable[[], Awaitable[None]]]:
    upload = decode(PNG, max_pixels=784)
    unprepared = [pass_through(upload)]
    result = recognise_unprepared(unprepared, model, preparation_s=0.0)
    calls: dict[str, Callable[[], object]] = {
        "Pillow alone: PNG to array": lambda: np.asarray(Image.open(io.BytesIO(PNG)).convert("L")),
        "decode, with its checks": lambda: decode(PNG, max_pixels=784),
        "prepare (passed through)": lambda: is_passthrough(upload, Options()),
        "the network": lambda: model.runtime.predict(upload.pixels[None]),
        "the network, verdict and ranking": lambda: recognise_unprepared(
            unprepared, model, preparation_s=0.0
        ),
        "answer as JSON": lambda: prediction_texts(result, model.bundle),
    }

    def step(call: Callable[[], object]) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            call()

        return run

    return {name: step(call) for name, call in calls.items()}


def _floor() -> FastAPI:
    import json
    import os

    from app.inference.registry import Registry

    registry = Registry(REPOSITORY / "model", Settings().default_model, interpreters=1)
    registry.load()
    model = registry.get(None)
    answer = prediction_answer(recognise(PNG, model, Options()), model.bundle)
    os.environ["PEER_ANSWER"] = json.dumps(answer.model_dump(mode="json"))
    from benchmarks.peers.floor import app

    return app


def _request(
    app: FastAPI, state: object, path: str, body: bytes, kind: str, status: int = 200
) -> Callable[[], Awaitable[None]]:
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", kind.encode()),
            (b"content-length", str(len(body)).encode()),
        ],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
    }

    async def ask() -> None:
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Message] = []

        async def receive() -> Message:
            if not messages:
                await asyncio.Event().wait()  # the client stays
            return messages.pop()

        async def send(message: Message) -> None:
            sent.append(message)

        fresh = {**scope, "state": dict(state) if isinstance(state, dict) else {}}
        await app(fresh, receive, send)
        if sent[0]["status"] != status:
            raise RuntimeError(f"the request failed: {sent}")

    return ask


async def _medians(steps: dict[str, Callable[[], Awaitable[None]]], calls: int) -> dict[str, float]:
    """Measure all steps in turn, again and again, so that noise falls on all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(ROUNDS + 2):
        for name, step in steps.items():
            began = time.process_time()  # of all threads
            for _ in range(calls):
                await step()
            if turn >= 2:
                times[name].append(1e6 * (time.process_time() - began) / calls)
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
