"""Requests a second, latency, memory and start of digitscope and of others that serve the same.

    python -m benchmarks.serving            (make bench)

Starts each service in turn with one worker, lets `wrk` (Debian's package) ask for the same digit
at 1, 16 and 64 connections, and writes the tables into docs/performance.md and a plot beside it.
The others are installed into environments of their own under `runs/peers`. Each runs once with
Keras's `model.predict`, and once with the LiteRT call of digitscope, on one thread and on the same
file; access logs are off everywhere.
"""

import argparse
import compileall
import http.client
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from app.bundle import COMPILED_FILE, INT8_FILE, KERAS_FILE
from app.imaging.decode import decode
from app.samples import sample_png
from app.settings import REPOSITORY
from benchmarks.page import fill, table
from tests.ports import free_port

PAGE = REPOSITORY / "docs" / "performance.md"
PLOT = REPOSITORY / "docs" / "images" / "serving.png"
PEERS = REPOSITORY / "benchmarks" / "peers"
ENVIRONMENTS = REPOSITORY / "runs" / "peers"
CONNECTIONS = (1, 16, 64)
DIGIT, PATIENCE_S = 7, 120
PNG = sample_png(DIGIT)
BOUNDARY = "a-boundary"


@dataclass(frozen=True)
class Body:
    """What is sent: content type and bytes."""

    kind: str
    content: bytes


def form_body(name: str) -> Body:
    """Return a form that holds the digit in a field of a name."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="7.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    content = head.encode() + PNG + f"\r\n--{BOUNDARY}--\r\n".encode()
    return Body(f"multipart/form-data; boundary={BOUNDARY}", content)


def _tensor() -> Body:
    pixels = decode(PNG, max_pixels=784).pixels
    tensor = {
        "name": "image",
        "shape": [1, 28, 28],
        "datatype": "UINT8",
        "parameters": {"content_type": "np"},
        "data": pixels.ravel().tolist(),
    }
    return Body("application/json", json.dumps({"inputs": [tensor]}).encode())


RAW = Body("image/png", PNG)


@dataclass(frozen=True)
class Service:
    """One service, and how to start and ask it.

    Attributes:
        name: As it stands in the table.
        command: What starts it; the words PYTHON, BIN and PORT are filled in.
        asks: By the kind of body, the path and the body.
        packages: What its environment needs; empty for the one of this program.
        runtime: What a peer runs the network with, `litert` or `keras`.
        environment: Further variables; the word PORT is filled in.
        folder: Where it is started.
    """

    name: str
    command: Sequence[str]
    asks: Mapping[str, tuple[str, Body]]
    packages: Sequence[str] = ()
    runtime: str = "litert"
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = PEERS


_UVICORN = ("PYTHON", "-m", "uvicorn", "--port", "PORT", "--no-access-log", "--log-level", "error")
_QUIET = {"DIGITSCOPE_ACCESS_LOG": "false", "DIGITSCOPE_LOG_LEVEL": "warning"}
_NETWORK = ("ai-edge-litert", "numpy", "pillow", "python-multipart", "tensorflow")
_BOTH = {"PNG": ("/predict", RAW), "form": ("/form", form_body("file"))}
PEER_SERVICES = (
    Service(
        "LitServe",
        ("PYTHON", "litserve_app.py"),
        {"form": ("/predict", form_body("request"))},
        ("litserve", *_NETWORK),
        environment={"PEER_PORT": "PORT"},
    ),
    Service(
        "BentoML",
        ("BIN/bentoml", "serve", "bento_app:DigitsService", "--port", "PORT"),
        _BOTH,
        ("bentoml", *_NETWORK),
        environment={"BENTOML_CONFIG_OPTIONS": "api_server.logging.access.enabled=false"},
    ),
    Service(
        "Ray Serve",
        ("PYTHON", "ray_app.py"),
        {"PNG": ("/", RAW), "form": ("/", form_body("file"))},
        ("ray[serve]", *_NETWORK),
        environment={"PEER_PORT": "PORT"},
    ),
    Service(
        "MLServer",
        ("BIN/mlserver", "start", "."),
        {"tensor": ("/v2/models/digits/infer", _tensor())},
        ("mlserver", *_NETWORK),
        environment={
            "MLSERVER_HTTP_PORT": "PORT",
            "MLSERVER_GRPC_PORT": "0",
            "PYTHONPATH": f"{PEERS}:{PEERS / 'mlserver'}",
        },
        folder=PEERS / "mlserver",
    ),
)
SERVICES = (
    Service("floor: FastAPI, no network", (*_UVICORN, "floor:app"), _BOTH),
    Service(
        "digitscope",
        ("PYTHON", "digitscope.py", "serve", "--port", "PORT"),
        {"PNG": ("/predict", RAW), "form": ("/predict", form_body("file"))},
        environment=_QUIET,
        folder=REPOSITORY,
    ),
    *(
        Service(
            f"digitscope, {name}",
            ("PYTHON", "digitscope.py", "serve", "--port", "PORT"),
            {"PNG": ("/predict", RAW)},
            environment={**_QUIET, **settings},
            folder=REPOSITORY,
        )
        for name, settings in {
            "in threads": {"DIGITSCOPE_QUICK_BELOW_S": "0"},
            "in batches of 8": {
                "DIGITSCOPE_QUICK_BELOW_S": "0",
                "DIGITSCOPE_MAX_BATCH": "8",
                "DIGITSCOPE_THREADS": "8",
            },
        }.items()
    ),
    Service("FastAPI, `model.predict`", (*_UVICORN, "tutorial:app"), _BOTH, runtime="keras"),
    *(
        replace(peer, name=f"{peer.name}{also}", runtime=runtime)
        for peer in PEER_SERVICES
        for also, runtime in (("", "litert"), (", `model.predict`", "keras"))
    ),
)


@dataclass
class Measured:
    """What was measured of one service with one kind of body."""

    rates: dict[int, list[float]] = field(default_factory=dict)  # requests a second
    middles: dict[int, list[float]] = field(default_factory=dict)  # p50, ms
    tails: dict[int, list[float]] = field(default_factory=dict)  # p99, ms
    starts: list[float] = field(default_factory=list)  # s to the first answer
    memory: list[float] = field(default_factory=list)  # MB resident, all processes
    failed: int = 0


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=None, help="A model's name; the default if left out.")
    parser.add_argument("--seconds", type=int, default=4, help="Of each measurement.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="Names of services; all if left out.")
    parser.add_argument("--dry", action="store_true", help="Print and write nothing.")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing (Debian: apt-get install wrk)")
    chosen = [one for one in SERVICES if not arguments.only or one.name in arguments.only]
    pythons = {service.name: _environment(service) for service in chosen}
    # As pip compiles what it installs: a start of sources takes a tenth of a second more.
    compileall.compile_dir(REPOSITORY / "app", quiet=1)
    model = arguments.model or os.environ.get("DIGITSCOPE_DEFAULT_MODEL") or _default()
    found: dict[tuple[str, str], Measured] = {}
    for turn in range(arguments.rounds):
        for service in chosen:
            print(f"round {turn + 1}: {service.name}", flush=True)
            _measure(service, pythons[service.name], model, arguments.seconds, found)
    rows = _rows(found)
    print(table(rows))
    if not arguments.dry:
        fill(PAGE, "serving", table(rows))
        fill(PAGE, "peers", _versions(pythons) + "\n")
        _plot(found)


def _default() -> str:
    from app.settings import Settings

    return Settings().default_model


def _environment(service: Service) -> Path:
    """Return the Python of a service's environment, which is made if it is not there."""
    if not service.packages:
        return Path(sys.executable)
    folder = ENVIRONMENTS / service.packages[0].split("[")[0]
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"installing {service.name} ...", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *service.packages], check=True)
        (folder / "ready").touch()
    return python


def _versions(pythons: Mapping[str, Path]) -> str:
    """Return the peers' versions, and those of the runtimes that they run the network with."""
    said = []
    for service in (peer for peer in PEER_SERVICES if peer.name in pythons):
        names = (service.packages[0].split("[")[0], "tensorflow", "ai-edge-litert")
        code = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
        command = [pythons[service.name], "-c", code, *names]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        version, tensorflow, litert = answer.split()
        said.append(f"{service.name} {version} (TensorFlow {tensorflow}, LiteRT {litert})")
    return f"Versions: {', '.join(said)}."


def _measure(
    service: Service,
    python: Path,
    model: str,
    seconds: int,
    found: dict[tuple[str, str], Measured],
) -> None:
    port = free_port()
    bundle = REPOSITORY / "model" / model
    words = {"PYTHON": str(python), "PORT": str(port)}
    environment = {
        **os.environ,
        "PYTHONPATH": str(PEERS),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PEER_RUNTIME": service.runtime,
        "PEER_TWIN": str(int8 if (int8 := bundle / INT8_FILE).exists() else bundle / COMPILED_FILE),
        "PEER_KERAS": str(bundle / KERAS_FILE),
        "PEER_ANSWER": json.dumps(_answer(model)),
        "DIGITSCOPE_DEFAULT_MODEL": model,
        **{name: words.get(value, value) for name, value in service.environment.items()},
    }
    command = [words.get(word, word.replace("BIN", str(python.parent))) for word in service.command]
    began = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=service.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            path, body = next(iter(service.asks.values()))
            until_answered(process, port, path, body)
            started = time.perf_counter() - began
            for kind, (path, body) in service.asks.items():
                measured = found.setdefault((service.name, kind), Measured())
                measured.starts.append(started)
                wrk(port, path, body, 4, 2)  # warms everything up
                rate = 0.0
                for connections in CONNECTIONS:
                    # Slow services get the time to answer each connection three times.
                    needed = min(12, int(3 * connections / rate)) if rate else 0
                    rate, middle, tail, failed = wrk(
                        port, path, body, connections, max(seconds, needed)
                    )
                    measured.rates.setdefault(connections, []).append(rate)
                    measured.middles.setdefault(connections, []).append(middle)
                    measured.tails.setdefault(connections, []).append(tail)
                    measured.failed += failed
                measured.memory.append(_resident(process.pid))
        finally:
            _stop(process)


def _answer(model: str) -> dict[str, object]:
    """Return digitscope's answer, for the floor to give."""
    from app.inference.registry import Registry
    from app.recognise import Options, recognise
    from app.web.responses.predictions import prediction_answer

    registry = Registry(REPOSITORY / "model", model, interpreters=1)
    registry.load()
    known = registry.get(model)
    said = prediction_answer(recognise(PNG, known, Options()), known.bundle)
    return said.model_dump(mode="json")


def until_answered(process: subprocess.Popen[bytes], port: int, path: str, body: Body) -> None:
    """Return once a service answers.

    Raises:
        RuntimeError: It has ended, or does not answer for long.
    """
    until, content = time.monotonic() + PATIENCE_S, b"no answer"
    while time.monotonic() < until and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("POST", path, body.content, {"Content-Type": body.kind})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass  # not listening yet
        finally:
            connection.close()
        time.sleep(0.02)
    raise RuntimeError(f"no service answers at {path}: {content[:300]!r}")


def wrk(
    port: int, path: str, body: Body, connections: int, seconds: int
) -> tuple[float, float, float, int]:
    """Return requests a second, p50 and p99 in ms, and how many answers were no success."""
    with tempfile.TemporaryDirectory() as folder:
        content, script = Path(folder, "body"), Path(folder, "post.lua")
        content.write_bytes(body.content)
        script.write_text(
            f'local file = io.open("{content}", "rb")\n'
            'wrk.method, wrk.body = "POST", file:read("*a")\n'
            f'wrk.headers["Content-Type"] = "{body.kind}"\n'
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
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    if rate is None:
        raise RuntimeError(f"wrk said: {said}")
    return (
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


def _resident(leader: int) -> float:
    """Return the resident memory of a session's processes, MB; what they share counts for each."""
    listed = subprocess.run(
        ["ps", "-o", "rss=", "--sid", str(leader)], capture_output=True, text=True, check=True
    ).stdout
    return sum(int(line) for line in listed.split()) / 1000


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            continue
    time.sleep(0.5)


def _rows(found: Mapping[tuple[str, str], Measured]) -> list[list[str]]:
    rows = [
        [
            "service",
            "body",
            *(f"requests/s, {connections}" for connections in CONNECTIONS),
            "share of the floor, 16",
            "p50, p99 ms, 16",
            "p99 of the floor's, 16",
            "MB",
            "start, s",
        ]
    ]
    for (name, kind), measured in found.items():
        floor = found.get((SERVICES[0].name, "PNG" if kind == "tensor" else kind), measured)
        rate, tail = (statistics.median(values[16]) for values in (measured.rates, measured.tails))
        base, base_tail = (statistics.median(values[16]) for values in (floor.rates, floor.tails))
        rows.append(
            [
                name,
                kind,
                *(f"{statistics.median(measured.rates[at]):,.0f}" for at in CONNECTIONS),
                f"{rate / base:.1%}",
                f"{statistics.median(measured.middles[16]):.1f}, {tail:.1f}",
                f"{tail / base_tail:.1f}",
                f"{statistics.median(measured.memory):.0f}",
                f"{statistics.median(measured.starts):.1f}",
            ]
        )
        if measured.failed:
            rows[-1][0] += f" ({measured.failed} failed)"
    return rows


def _plot(found: Mapping[tuple[str, str], Measured]) -> None:
    names = list(dict.fromkeys(name for name, _ in found))
    best = [
        max(statistics.median(m.rates[16]) for (one, _), m in found.items() if one == name)
        for name in names
    ]
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(names))
    colours = ["tab:orange" if name == "digitscope" else "tab:gray" for name in names]
    axes.barh(places, best, color=colours)
    axes.bar_label(axes.containers[0], [f" {rate:,.0f}" for rate in best], fontsize=8)
    axes.set(xscale="log", yticks=places, xlabel="requests a second, 16 connections, one worker")
    axes.set_yticklabels([name.replace("`", "") for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PLOT, dpi=110)


if __name__ == "__main__":
    main()
