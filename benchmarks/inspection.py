"""Measure milliseconds and bytes of every inspection route and encoding.

    python -m benchmarks.inspection

Starts the service, requests the routes in turn over loopback, and writes the tables into
docs/inspection.md between their markers.
"""

import http.client
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from app.inference.registry import Registry
from app.inspection.attribution import METHODS
from app.samples import sample_png
from app.settings import REPOSITORY
from benchmarks.page import fill, table
from tests.ports import free_port

PAGE = REPOSITORY / "docs" / "inspection.md"
ROUNDS, DIGIT = 60, 4
MODEL = "classic"
ROUTES = {
    "`/predict`": "/predict",
    "`/inspect`": "/inspect",
    "`/inspect`, with sheets": "/inspect?include=sheets",
    "`/inspect`, with sheets by channel": "/inspect?include=sheets&scale=channel",
    "`/inspect`, map of all layers": "/inspect?include=map",
    "`/layers/relu_1_1/activations`, npy": "/layers/relu_1_1/activations?format=npy",
    "`/layers/relu_1_1/activations`, PNG": "/layers/relu_1_1/activations?format=png",
    "`/layers/relu_1_1/activations`, JSON": "/layers/relu_1_1/activations?format=json",
    "`/layers/relu_1_1/activations`, npz of all layers": "/layers/relu_1_1/activations?layers=all",
    "`/layers/conv_2_2/unit`": "/layers/conv_2_2/unit",
    "`/layers/dense/unit`": "/layers/dense/unit",
    "`/neighbours`": "/neighbours",
    "`/ablate`, 32 channels in turn": "/ablate?layer=relu_1_2",
    "`/ablate`, 512 units in turn": "/ablate?layer=relu_dense",
    "`/learn/step`, one step": "/learn/step?label=9",
    "`/learn/step`, one step, map of all layers": "/learn/step?label=9&include=map",
    "`/learn/step`, 50 steps": "/learn/step?label=9&steps=50",
    "`/layers/conv_1_2/gradient-unit`": "/layers/conv_1_2/gradient-unit?label=9&weight=kernel",
    **{
        f"`/explain`, {method}{', unchecked' if not checks else ''}": (
            f"/explain?method={method}&checks={str(checks).lower()}"
        )
        for method in METHODS
        for checks in (False, True)
    },
}


def main() -> None:
    """Measure and write."""
    port = free_port()
    command = [sys.executable, "-m", "digitscope", "serve", "--port", str(port)]
    environment = {**os.environ, "DIGITSCOPE_DEFAULT_MODEL": MODEL}
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL
    ) as service:
        try:
            fill(PAGE, "cost", _cost(port))
        finally:
            service.terminate()
    fill(PAGE, "inside", _inside())


def _cost(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    _wait(connection)
    image, times, sizes = sample_png(DIGIT), {name: [] for name in ROUTES}, {}
    for turn in range(ROUNDS + 5):
        for name, route in ROUTES.items():
            start = time.perf_counter()
            connection.request("POST", route, image, {"Content-Type": "image/png"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{route} gave {answer.status}: {content[:300]!r}")
            if turn >= 5:
                times[name].append(1000 * (time.perf_counter() - start))
            sizes[name] = len(content)
    medians = {name: statistics.median(values) for name, values in times.items()}
    base = medians["`/predict`"]
    rows = [["request", "ms", "in `/predict`s", "kB"]]
    rows += [
        [name, f"{value:.1f}", f"{value / base:.1f}", f"{sizes[name] / 1000:.1f}"]
        for name, value in medians.items()
    ]
    return table(rows)


def _wait(connection: http.client.HTTPConnection) -> None:
    for _ in range(200):
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                return
        except OSError:
            connection.close()
        time.sleep(0.1)
    raise RuntimeError("the service did not become ready")


def _inside() -> str:
    registry = Registry(REPOSITORY / "model", MODEL, interpreters=1)
    registry.load()
    runtime = registry.get(None).runtime
    pixels = np.random.default_rng(1).integers(0, 256, (1, 28, 28), np.uint8)
    works: dict[str, Callable[[], object]] = {
        "a prediction": lambda: runtime.predict(pixels),
        "every layer's output": lambda: runtime.inspect(pixels),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(500):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(1000 * (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in times.items()}
    base = medians["a prediction"]
    rows = [["work", "ms", "ratio"]]
    rows += [[name, f"{value:.2f}", f"{value / base:.2f}"] for name, value in medians.items()]
    return table(rows)


if __name__ == "__main__":
    main()
