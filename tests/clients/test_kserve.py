"""KServe's own client works with both inference protocols."""

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
def received(server: Server, digits: Digits, python_tools: Path) -> dict:
    """What the client received for five digits and one file."""
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
    """The probabilities of the five digits."""
    return classic.runtime.predict(digits.images[:5]).probabilities


def test_version_2(received: dict, expected: np.ndarray) -> None:
    """KServe's client uses probes, JSON and binary tensors of both datatypes, and files."""
    got = received["v2"]
    assert (got["live"], got["ready"], got["models"]) == (True, True, [True, False])
    assert len(got["probabilities"]) == 4
    for probabilities in got["probabilities"]:
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert got["answered"] == ["mine", "classic"]
    assert got["outputs"] == [["digit", [8]]]


def test_version_1(received: dict, expected: np.ndarray) -> None:
    """KServe's client finds the model ready, and sends rows and files."""
    got = received["v1"]
    assert got["ready"] is True
    np.testing.assert_allclose(got["predictions"], expected, atol=1e-6)
    assert np.argmax(got["file"]) == 8


def test_errors_reach_the_client(received: dict) -> None:
    """The client's errors contain the service's message, in both protocols."""
    assert "[-1, 28, 28, 1]" in received["v2"]["wrong shape"]
    assert "no model 'nope'" in received["v2"]["no model"]
    assert "no model 'nope'" in received["v1"]["no model"]
    assert "'instances'" in received["v1"]["wrong"]
