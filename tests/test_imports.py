"""Imports: their direction, no TensorFlow in the service, and no garbage collection."""

import gc
import subprocess
import sys

import pytest

from app.process_tuning import gc_frozen_imports
from app.settings import REPOSITORY
from tests.server.process import PATIENCE_S

PROBE = """
import sys
from fastapi.testclient import TestClient
from app.main import create_app
from app.samples import sample_png
from app.settings import Settings
with TestClient(create_app(Settings())) as client:
    assert client.post("/predict", files={"file": sample_png(7)}).json()["digit"] == 7
    assert client.get("/openapi.json").status_code == 200
    routes = ("/inspect", "/layers/logits/activations", "/layers/logits/unit", "/explain")
    for route in (*routes, "/ablate?layer=relu_1", "/neighbours"):
        assert client.post(route, files={"file": sample_png(7)}).status_code == 200, route
    for route in ("layers", "layers/conv_1/weights"):
        assert client.get(f"/models/compact/{route}").status_code == 200, route
unwanted = {"tensorflow", "keras", "matplotlib", "ray", "scipy", "grpc", "google.protobuf"}
loaded = unwanted & set(sys.modules)
assert not loaded, loaded
"""

# FastAPI's models of OpenAPI documents are built when four clients ask for one at once.
LEAN_PROBE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from app.lean_imports import import_fastapi
import_fastapi()
from fastapi.openapi.models import OpenAPI
from fastapi.testclient import TestClient
from app.main import create_app
from app.settings import Settings
assert not OpenAPI.__pydantic_complete__
with TestClient(create_app(Settings())) as client, ThreadPoolExecutor(4) as clients:
    answers = list(clients.map(client.get, ["/openapi.json"] * 4))
assert [answer.status_code for answer in answers] == [200] * 4
assert len({answer.content for answer in answers}) == 1
assert "/predict" in answers[0].json()["paths"]
assert OpenAPI.__pydantic_complete__
assert not any(name.startswith("pydantic.v1.") for name in sys.modules)
"""


@pytest.mark.slow
def test_imports_point_down() -> None:
    """The contracts of import-linter in pyproject.toml hold."""
    # In a process of its own: import-linter disables the loggers of the one it runs in.
    check = (
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", check],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_service_runs_without_tensorflow() -> None:
    """Starting, predicting and inspecting do not import TensorFlow, Keras, Ray or gRPC."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_openapi_document_needs_nothing_that_the_start_leaves_out() -> None:
    """FastAPI's models are not built at the start, and once when a document is made."""
    done = subprocess.run(
        [sys.executable, "-c", LEAN_PROBE],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr


def test_windows_gets_a_sentence() -> None:
    """The command says on Windows where it runs, instead of failing at an import."""
    code = "import sys; sys.platform = 'win32'; from digitscope import command"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1
    assert "WSL" in done.stderr
    assert "Docker" in done.stderr
    assert "Traceback" not in done.stderr


def test_imported_objects_are_excluded_from_collections() -> None:
    """The collector is off during imports; afterwards it is on and ignores what they made."""
    before = gc.get_freeze_count()
    with gc_frozen_imports():
        assert not gc.isenabled()
        made = [[] for _ in range(100)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(made)


def test_failed_import_turns_the_collector_on_again() -> None:
    """After an import that fails, the garbage collector is on."""
    with pytest.raises(ImportError), gc_frozen_imports():
        raise ImportError("no such module")
    assert gc.isenabled()
