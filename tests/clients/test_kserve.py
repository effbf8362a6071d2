"""Both protocols, proved by KServe's own client."""

import base64
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from app.inference.model import Model
from app.samples import sample_png
from tests.conftest import Digits
from tests.server.process import Server


@pytest.fixture(scope="module")
def said(server: Server, digits: Digits, python_tools: Path) -> dict:
    """What the client got for five digits and one file."""
    given = {
        "images": digits.images[:5].tolist(),
        "file": base64.b64encode(sample_png(8)).decode(),
    }
    done = subprocess.run(
        [
            python_tools / "python",
            Path(__file__).with_name("kserve_calls.py"),
            f"http://127.0.0.1:{server.port}",
        ],
        input=json.dumps(given),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def expected(classic: Model, digits: Digits) -> np.ndarray:
    """What the network gives for the five."""
    return classic.runtime.predict(digits.images[:5]).probabilities


def test_version_2(said: dict, expected: np.ndarray) -> None:
    """Probes, tensors of both datatypes in JSON and in binary, and files."""
    got = said["v2"]
    assert (got["live"], got["ready"], got["models"]) == (True, True, [True, False])
    assert len(got["probabilities"]) == 4
    for probabilities in got["probabilities"]:
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert got["answered"] == ["mine", "classic"]
    assert got["outputs"] == [["digit", [8]]]


def test_version_1(said: dict, expected: np.ndarray) -> None:
    """The model is ready, and reads rows and files."""
    got = said["v1"]
    assert got["ready"] is True
    np.testing.assert_allclose(got["predictions"], expected, atol=1e-6)
    assert np.argmax(got["file"]) == 8


def test_errors_reach_the_client(said: dict) -> None:
    """The client says why it was refused, in either protocol."""
    assert "[-1, 28, 28, 1]" in said["v2"]["wrong shape"]
    assert "no model 'nope'" in said["v2"]["no model"]
    assert "no model 'nope'" in said["v1"]["no model"]
    assert "'instances'" in said["v1"]["wrong"]
