"""What is imported when: the direction of imports, and that the service leaves TensorFlow alone."""

import subprocess
import sys

from importlinter.cli import lint_imports

from app.settings import REPOSITORY

PROBE = """
import sys
from fastapi.testclient import TestClient
from app.main import create_app
from app.samples import sample_png
with TestClient(create_app()) as client:
    assert client.post("/predict", files={"file": sample_png(7)}).json()["digit"] == 7
    assert client.get("/openapi.json").status_code == 200
loaded = {"tensorflow", "keras", "matplotlib", "scipy"} & set(sys.modules)
assert not loaded, loaded
"""


def test_imports_point_down(monkeypatch) -> None:
    """The layers of docs/architecture.md hold."""
    monkeypatch.chdir(REPOSITORY)
    assert lint_imports(no_cache=True) == 0


def test_service_runs_without_tensorflow() -> None:
    """Starting and predicting leave TensorFlow, Keras and the training's libraries unimported."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
