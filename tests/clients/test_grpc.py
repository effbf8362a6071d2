"""Public gRPC clients work: Triton's, synchronous and asynchronous, and KServe's."""

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.inference.model import Model
from app.protocols.grpc import inference_pb2 as pb
from app.samples import sample_png
from tests.conftest import Digits
from tests.server.process import Server

KSERVE_ONLY = {"model_name", "isLoaded", "isUnloaded"}  # fields of its responses to load and unload
Received = Callable[[str], dict]


@pytest.fixture(scope="module")
def received(server: Server, digits: Digits, python_tools: Path) -> Received:
    """What a client received for five digits and one file."""
    given = json.dumps(
        {
            "images": digits.images[:5].tolist(),
            "file": base64.b64encode(sample_png(8)).decode(),
        }
    )

    def run(client: str) -> dict:
        script = Path(__file__).with_name("grpc_calls.py")
        address = f"127.0.0.1:{server.grpc_port}"
        command = [python_tools / "python", script, address, client]
        done = subprocess.run(command, input=given, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def _check_answers(got: dict, classic: Model, digits: Digits) -> None:
    assert (got["live"], got["ready"], got["models"]) == (True, True, [True, False])
    expected = classic.runtime.predict(digits.images[:5]).probabilities
    for probabilities in got["probabilities"]:
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert got["digit"] == [8]
    for case, code, words in (
        ("wrong shape", "StatusCode.INVALID_ARGUMENT", "[-1, 28, 28, 1]"),
        ("no model", "StatusCode.NOT_FOUND", "no model 'nope'"),
    ):
        assert got[case][0] == code
        assert words in got[case][1]


def test_triton(received: Received, classic: Model, digits: Digits) -> None:
    """Triton's client uses probes, metadata, tensors, compression, classification and streams."""
    got = received("triton")
    _check_answers(got, classic, digits)
    assert len(got["probabilities"]) == 5
    assert got["ids"] == ["mine"] * 5
    assert got["name"] == "digitscope"
    assert got["inputs"][0]["shape"] == ["-1", "28", "28", "1"]
    assert (got["backend"], "classic" in got["index"]) == ("litert", True)
    assert got["label"] == "8"
    assert got["class"].endswith(":8:8")
    assert got["no token"][0] == "StatusCode.UNAUTHENTICATED"
    assert got["loaded"] == ["answered"]
    assert got["unload"][0] == "StatusCode.INVALID_ARGUMENT"
    *digits_in_order, error = got["stream"]
    assert digits_in_order == [[label] for label in digits.labels[:5]]
    assert "no model 'nope'" in error


def test_triton_asynchronous(received: Received, digits: Digits) -> None:
    """Triton's asynchronous client works, and so does its stream."""
    got = received("triton-aio")
    assert got == {"ready": True, "digits": [digits.labels[:5].tolist()] * 4}


def test_kserve(received: Received, classic: Model, digits: Digits) -> None:
    """KServe's client sends raw and typed tensors, and files."""
    got = received("kserve")
    _check_answers(got, classic, digits)
    assert len(got["probabilities"]) == 4
    assert got["answered"] == ["mine", "classic"]


def test_schema_is_that_of_triton(received: Received) -> None:
    """Every message, field and method has the name, number and type of Triton's schema."""
    theirs = received("schemas")
    checked = 0

    def check(message: object) -> None:
        nonlocal checked
        for field in message.fields:
            if field.name in KSERVE_ONLY and message.name.lower().endswith("loadresponse"):
                continue
            expected = theirs[message.full_name][field.name]
            assert [field.number, field.type, field.is_repeated] == expected, field.full_name
            checked += 1
        for inner in message.nested_types:
            check(inner)

    for message in pb.DESCRIPTOR.message_types_by_name.values():
        check(message)
    assert checked > 90
    for method in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
        expected = [method.input_type.name, method.output_type.name]
        assert theirs["methods"][method.name] == expected
    assert dict(pb.DataType.items()) == theirs["types"]
