"""The services that the benchmarks compare, and how each is started, asked and stopped.

Peers are written as their own documentation shows (`benchmarks/peers`), each in an environment of
its own under `runs/peers`. All run the same int8 file with LiteRT on one thread, in one worker.
"""

import compileall
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from app.bundle import COMPILED_FILE, INT8_FILE, KERAS_FILE
from app.settings import REPOSITORY, Settings
from benchmarks.load import (
    DIGIT,
    PNG,
    Body,
    answered_digit,
    form_body,
    until_answered,
    v1_json,
    v2_binary,
    v2_json,
)
from tests.ports import free_port

PEERS = REPOSITORY / "benchmarks" / "peers"
ENVIRONMENTS = REPOSITORY / "runs" / "peers"
MODEL = os.environ.get("DIGITSCOPE_DEFAULT_MODEL") or Settings().default_model
RAW = Body("image/png", PNG)


@dataclass(frozen=True)
class Service:
    """One service, and how to start and ask it.

    Attributes:
        name: As it stands in the tables.
        command: What starts it; the words PYTHON, BIN and PORT are filled in.
        asks: By the wire format, the path and the body.
        packages: What its environment needs; empty for the one of this program.
        python: What its environment is made with; empty for the one of this program.
        runtime: What a peer runs the network with, `litert` or `keras`.
        environment: Further variables; the word PORT is filled in.
        folder: Where it is started.
    """

    name: str
    command: Sequence[str]
    asks: Mapping[str, tuple[str, Body]]
    packages: Sequence[str] = ()
    python: str = ""
    runtime: str = "litert"
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = PEERS


@dataclass(frozen=True)
class Running:
    """A service that answers: its port, its process, and the seconds until its first answer."""

    port: int
    pid: int
    start_s: float


def digitscope(checkout: Path = REPOSITORY, name: str = "digitscope", **settings: str) -> Service:
    """Return digitscope as it stands in a checkout, with further settings."""
    return Service(
        name,
        ("PYTHON", "-m", "digitscope", "serve", "--port", "PORT"),
        {
            "PNG": ("/predict", RAW),
            "form": ("/predict", form_body("file")),
            "V1 JSON": (f"/v1/models/{MODEL}:predict", v1_json()),
            "V2 JSON": (f"/v2/models/{MODEL}/infer", v2_json()),
            "V2 binary": (f"/v2/models/{MODEL}/infer", v2_binary()),
        },
        environment={
            "DIGITSCOPE_ACCESS_LOG": "false",
            "DIGITSCOPE_LOG_LEVEL": "warning",
            "DIGITSCOPE_DEFAULT_MODEL": MODEL,
            "PYTHONPATH": str(checkout),
            **settings,
        },
        folder=checkout,
    )


_UVICORN = ("PYTHON", "-m", "uvicorn", "--port", "PORT", "--no-access-log", "--log-level", "error")
_NETWORK = ("ai-edge-litert", "numpy", "pillow", "python-multipart")
_IMAGES = {"PNG": ("/predict", RAW), "form": ("/form", form_body("file"))}
_TENSORS = {
    "V1 JSON": ("/v1/models/digits:predict", v1_json()),
    "V2 JSON": ("/v2/models/digits/infer", v2_json()),
    "V2 binary": ("/v2/models/digits/infer", v2_binary()),
}

FLOOR = Service("FastAPI, no network", (*_UVICORN, "floor:app"), _IMAGES)
BARE = Service(
    "bare ASGI function", (*_UVICORN, "bare:app"), {"PNG": ("/predict", RAW), **_TENSORS}
)
BARE_LOGGED = replace(
    BARE,
    name="bare with access log",
    command=("PYTHON", "-m", "uvicorn", "--port", "PORT", "bare:app"),
)
FASTAPI = Service("FastAPI", (*_UVICORN, "tutorial:app"), _IMAGES)
FASTAPI_KERAS = Service(
    "FastAPI, `model.predict`",
    (*_UVICORN, "tutorial:app"),
    {"PNG": ("/predict", RAW)},
    runtime="keras",
)
LITSERVE = Service(
    "LitServe",
    ("PYTHON", "litserve_app.py"),
    {"form": ("/predict", form_body("request"))},
    ("litserve", *_NETWORK),
    environment={"PEER_PORT": "PORT"},
)
BENTOML = Service(
    "BentoML",
    ("BIN/bentoml", "serve", "bento_app:DigitsService", "--port", "PORT"),
    _IMAGES,
    ("bentoml", *_NETWORK),
    environment={"BENTOML_CONFIG_OPTIONS": "api_server.logging.access.enabled=false"},
)
RAY_SERVE = Service(
    "Ray Serve",
    ("PYTHON", "ray_app.py"),
    {"PNG": ("/", RAW), "form": ("/", form_body("file"))},
    ("ray[serve]", *_NETWORK),
    environment={"PEER_PORT": "PORT"},
)
MLSERVER = Service(
    "MLServer",
    ("BIN/mlserver", "start", "."),
    {"V2 JSON": _TENSORS["V2 JSON"]},
    ("mlserver", *_NETWORK),
    environment={
        "MLSERVER_HTTP_PORT": "PORT",
        "MLSERVER_GRPC_PORT": "0",
        "PYTHONPATH": f"{PEERS}:{PEERS / 'mlserver'}",
    },
    folder=PEERS / "mlserver",
)
KSERVE = Service(
    "KServe",
    (
        *("PYTHON", "kserve_app.py", "--http_port", "PORT", "--enable_grpc", "false"),
        *("--enable_latency_logging", "false", "--configure_logging", "false"),
    ),
    _TENSORS,
    ("kserve", *_NETWORK),
)
# The Python backend of its wheel is built for an early Python 3.11. With the standard library of
# 3.11.7 it ends with "RLock has no attribute _recursion_count"; Debian's 3.11.2 suits it.
PYTRITON = Service(
    "PyTriton",
    ("PYTHON", "triton_app.py"),
    {name: _TENSORS[name] for name in ("V2 JSON", "V2 binary")},
    ("nvidia-pytriton", *_NETWORK),
    python="/usr/bin/python3",
    environment={"PEER_PORT": "PORT"},
)
PEER_SERVICES = (LITSERVE, BENTOML, RAY_SERVE, MLSERVER, KSERVE, PYTRITON)


def environment_python(service: Service) -> Path:
    """Return the Python of a service's environment, which is made if it is not there."""
    if not service.packages:
        return Path(sys.executable)
    return make_environment(service.packages, service.python or sys.executable)


def make_environment(packages: Sequence[str], python: str = sys.executable) -> Path:
    """Return the Python of an environment with some packages, named for the first one."""
    folder = ENVIRONMENTS / packages[0].split("[")[0]
    inside = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"installing {packages[0]} ...", flush=True)
        subprocess.run([python, "-m", "venv", "--clear", "--without-pip", folder], check=True)
        pip = [sys.executable, "-m", "pip", "--python", inside, "install", "-q"]
        subprocess.run([*pip, *packages], check=True)
        (folder / "ready").touch()
    return inside


@cache
def variables() -> Mapping[str, str]:
    """Return the environment of everything that is measured.

    Peers learn which files they run, and the floor its answer. Variables by which a machine chooses
    the kernels of OpenBLAS are removed: NumPy then runs as it does elsewhere.
    """
    bundle = REPOSITORY / "model" / MODEL
    int8 = bundle / INT8_FILE
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")},
        "PYTHONPATH": str(PEERS),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PEER_TWIN": str(int8 if int8.exists() else bundle / COMPILED_FILE),
        "PEER_KERAS": str(bundle / KERAS_FILE),
        "PEER_ANSWER": json.dumps(_answer()),
    }


@cache
def compile_sources(checkout: Path) -> None:
    """Compile a checkout's modules, as pip does: a start of sources takes 0.1 s more."""
    compileall.compile_dir(checkout / "app", quiet=1)


@contextmanager
def running(service: Service, kind: str | None = None) -> Iterator[Running]:
    """Run a service, and give it when it has answered rightly in a wire format, or in its first.

    Raises:
        RuntimeError: It does not answer, or its answer is wrong.
    """
    if service.folder not in (PEERS, PEERS / "mlserver"):
        compile_sources(service.folder)
    python, port = environment_python(service), free_port()
    words = {"PYTHON": str(python), "PORT": str(port)}
    environment = {
        **variables(),
        "PEER_RUNTIME": service.runtime,
        **{name: words.get(value, value) for name, value in service.environment.items()},
    }
    command = [words.get(word, word.replace("BIN", str(python.parent))) for word in service.command]
    path, body = service.asks[kind or next(iter(service.asks))]
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
            content = until_answered(process, port, path, body)
            started = time.perf_counter() - began
            if service is not FLOOR and answered_digit(content) != DIGIT:
                raise RuntimeError(f"{service.name} read another digit: {content[:300]!r}")
            yield Running(port, process.pid, started)
        finally:
            _stop(process)


def _answer() -> dict[str, object]:
    """Return digitscope's answer, for the floor to give."""
    from app.inference.registry import Registry
    from app.recognise import Options, recognise
    from app.web.responses.predictions import prediction_answer

    registry = Registry(REPOSITORY / "model", MODEL, interpreters=1)
    registry.load()
    known = registry.get(MODEL)
    said = prediction_answer(recognise(PNG, known, Options()), known.bundle)
    return said.model_dump(mode="json")


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
