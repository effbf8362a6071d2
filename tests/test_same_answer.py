"""Every interface to a network gives the same probabilities for 1,000 digits.

tests/test_ray_serve.py compares a Ray cluster with a single process in the same way.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from app.bundle import COMPILED_FILE, INT8_FILE
from app.inference.keras_runtime import KerasRuntime, load_keras
from app.inference.litert_runtime import LiteRtRuntime, open_runtime
from app.inference.model import Model
from app.inference.registry import Registry
from tests.conftest import Digits
from tests.forms import encode, npy
from tests.server.grpc_client import grpc_client, infer_request
from tests.server.process import Client, Server

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent
BATCH_SIZE = 250  # images, below the limit of the service
Images = NDArray[np.uint8]  # (N, 28, 28)
Probabilities = NDArray[np.float32]  # (N, 10)


class Bound(NamedTuple):
    """The reference interface, and the largest allowed difference of any probability."""

    reference: str
    max_difference: float


# Measured on the committed models: Keras differs by 1e-6 from LiteRT, int8 by 0.024 from float32
# (0.00005 on average), everything else by 0.
BOUNDS = {
    # Two libraries add the same float32 products in different orders.
    "LiteRT float32": Bound("Keras", 1e-5),
    # Int8 rounds weights and activations to 256 steps. Doubtful digits differ most.
    "one by one": Bound("LiteRT float32", 0.05),
    # The same file, library and batch size: equal to the last bit.
    "HTTP /predict": Bound("one by one", 0),
    "command line": Bound("one by one", 0),
    # Some processors add the products of a batch in a different order.
    "all at once": Bound("one by one", 1e-6),
    "batches of 32": Bound("one by one", 1e-6),
    "two threads": Bound("one by one", 1e-6),
    "HTTP /predict/batch": Bound("one by one", 1e-6),
    "Open Inference Protocol, JSON": Bound("one by one", 1e-6),
    "Open Inference Protocol, gRPC": Bound("Open Inference Protocol, JSON", 0),
    "Open Inference Protocol, gRPC, typed": Bound("Open Inference Protocol, JSON", 0),
    "TensorFlow Serving, rows": Bound("one by one", 1e-6),
    "TensorFlow Serving, columns": Bound("TensorFlow Serving, rows", 0),
    "Open Inference Protocol, binary": Bound("Open Inference Protocol, JSON", 0),
}


@pytest.mark.parametrize("name", ["classic", "compact"])
def test_interfaces_agree(
    registry: Registry, server: Server, digits: Digits, tmp_path: Path, name: str
) -> None:
    """Keras, LiteRT, int8, HTTP, gRPC, both protocols and the command line agree."""
    model, images = registry.wait_for(name), digits.images
    answers = dict(_in_process(model, images)) | dict(_over_http(server, name, images))
    answers |= dict(_over_grpc(server, name, images))
    answers["command line"] = _by_command(name, images, tmp_path)
    assert answers.keys() == {"Keras", *BOUNDS}
    for interface, bound in BOUNDS.items():
        difference = np.abs(answers[interface] - answers[bound.reference])
        assert difference.shape == (1000, 10)
        assert difference.max() <= bound.max_difference, f"{interface} and {bound.reference}"
    served_in_int8 = (answers["one by one"] != answers["LiteRT float32"]).any()
    assert served_in_int8 == (name == "compact")


def in_batches(client: Client, name: str, images: Images) -> Probabilities:
    """Return what `POST /predict/batch` answers, `[N, 10]`."""
    path = f"/predict/batch?model={name}&preprocess=none"
    answers: list[dict] = []
    for start in range(0, len(images), BATCH_SIZE):
        body = npy(images[start : start + BATCH_SIZE])
        answers += client.ask(path, body, Content_Type="application/x-npy").json
    return _probabilities(answers)


def _in_process(model: Model, images: Images) -> Iterator[tuple[str, Probabilities]]:
    bundle = model.bundle
    keras_file = load_keras(bundle.read("model.keras"))
    yield "Keras", KerasRuntime(keras_file).predict(images).probabilities
    yield "LiteRT float32", model.in_float32.runtime.predict(images).probabilities
    each = [model.runtime.predict(image[None]).probabilities for image in images]
    yield "one by one", np.concatenate(each)
    yield "all at once", model.runtime.predict(images).probabilities
    int8 = bundle.read(INT8_FILE) if bundle.has(INT8_FILE) else None
    batched = LiteRtRuntime(
        bundle.read(COMPILED_FILE), int8=int8, interpreters=1, batch_sizes=(32, 1)
    )
    yield "batches of 32", batched.predict(images).probabilities
    yield "two threads", open_runtime(bundle, threads=2).predict(images).probabilities


def _over_http(client: Client, name: str, images: Images) -> Iterator[tuple[str, Probabilities]]:
    yield "HTTP /predict", _one_by_one(client, name, images)
    yield "HTTP /predict/batch", in_batches(client, name, images)
    for form, binary in (("binary", True), ("JSON", False)):
        yield f"Open Inference Protocol, {form}", _by_oip(client, name, images, binary=binary)
    for form, sent, got in (("rows", "instances", "predictions"), ("columns", "inputs", "outputs")):
        answers = _by_tensorflow_serving(client, name, images, sent, got)
        yield f"TensorFlow Serving, {form}", answers


def _over_grpc(server: Server, name: str, images: Images) -> Iterator[tuple[str, Probabilities]]:
    raw = infer_request(images, model=name)
    typed = infer_request(images, model=name)
    del typed.raw_input_contents[:]
    typed.inputs[0].contents.uint_contents.extend(images.reshape(-1).tolist())
    with grpc_client(server) as client:
        answer = client.infer(raw).message
        found = np.frombuffer(answer.raw_output_contents[0], "<f4")
        yield "Open Inference Protocol, gRPC", found.reshape(-1, 10)
        contents = client.infer(typed).message.outputs[0].contents
        found = np.array(contents.fp32_contents, np.float32)
        yield "Open Inference Protocol, gRPC, typed", found.reshape(-1, 10)


def _one_by_one(client: Client, name: str, images: Images) -> Probabilities:
    path = f"/predict?model={name}&preprocess=none"
    answers = [client.ask(path, npy(image), Content_Type="application/x-npy") for image in images]
    return _probabilities([answer.json for answer in answers])


def _by_oip(client: Client, name: str, images: Images, *, binary: bool) -> Probabilities:
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(images.shape)}
    output = {"name": "probabilities", "parameters": {"binary_data": binary}}
    if binary:
        tensor["parameters"] = {"binary_data_size": images.size}
    else:
        tensor["data"] = images.reshape(-1).tolist()
    header = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
    answer = client.ask(
        f"/v2/models/{name}/infer",
        header + images.tobytes() if binary else header,
        Inference_Header_Content_Length=str(len(header)),
    )
    if not binary:
        return np.array(answer.json["outputs"][0]["data"], np.float32).reshape(-1, 10)
    header_length = int(answer.headers["inference-header-content-length"])
    return np.frombuffer(answer.content[header_length:], "<f4").reshape(-1, 10)


def _by_tensorflow_serving(
    client: Client, name: str, images: Images, sent: str, got: str
) -> Probabilities:
    body = json.dumps({sent: images.tolist()}).encode()
    answer = client.ask(f"/v1/models/{name}:predict", body, Content_Type="application/json")
    return np.array(answer.json[got], np.float32)


def _by_command(name: str, images: Images, folder: Path) -> Probabilities:
    files = [folder / f"{number:03}.png" for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        file.write_bytes(encode(image))
    completed = subprocess.run(
        [BIN / "digitscope", "predict", "--json", "--preprocess=none", f"--model={name}", *files],
        capture_output=True,
        text=True,
        check=True,
    )
    return _probabilities([json.loads(line) for line in completed.stdout.splitlines()])


def _probabilities(answers: list[dict]) -> Probabilities:
    return np.array([answer["probabilities"] for answer in answers], np.float32)
