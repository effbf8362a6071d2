"""The same answer everywhere: 1,000 digits by every way to a network."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.bundle import COMPILED_FILE, INT8_FILE
from app.inference.keras_runtime import KerasRuntime, load_keras
from app.inference.litert_runtime import LiteRtRuntime, open_runtime
from app.inference.model import Model
from app.inference.registry import Registry
from app.settings import REPOSITORY
from tests.conftest import Digits
from tests.forms import encode, npy
from tests.ports import free_port
from tests.server.process import PATIENCE_S, Client, eventually, serving

BIN = Path(sys.executable).parent
MOST = 250  # images in one batch, below the service's limit
Images = NDArray[np.uint8]  # (N, 28, 28)
Probabilities = NDArray[np.float32]  # (N, 10)


class Bound(NamedTuple):
    """What a way is held to, and the largest difference of a probability on any of the digits."""

    to: str
    most: float


# Measured on the committed models: Keras 1e-6 from LiteRT, int8 0.024 from float32 (on average
# 0.00005), everything else not at all.
BOUNDS = {
    # Two libraries add the same float32 products in different orders.
    "LiteRT float32": Bound("Keras", 1e-5),
    # Weights and activations are rounded to 256 steps; most on digits that are read doubtfully.
    "one by one": Bound("LiteRT float32", 0.05),
    # The same file, by the same library, one image at a time: to the last bit.
    "HTTP /predict": Bound("one by one", 0),
    "command line": Bound("one by one", 0),
    # Several at once may be summed in other blocks, on processors other than ours.
    "all at once": Bound("one by one", 1e-6),
    "batches of 32": Bound("one by one", 1e-6),
    "two threads": Bound("one by one", 1e-6),
    "HTTP /predict/batch": Bound("one by one", 1e-6),
    "Open Inference Protocol, JSON": Bound("one by one", 1e-6),
    "TensorFlow Serving, rows": Bound("one by one", 1e-6),
    "TensorFlow Serving, columns": Bound("TensorFlow Serving, rows", 0),
    "Open Inference Protocol, binary": Bound("Open Inference Protocol, JSON", 0),
    "Ray /predict/batch": Bound("HTTP /predict/batch", 1e-6),
}


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


def _probabilities(answers: list[dict]) -> Probabilities:
    return np.array([answer["probabilities"] for answer in answers], np.float32)


def _one_by_one(client: Client, name: str, images: Images) -> Probabilities:
    path = f"/predict?model={name}&preprocess=none"
    asked = [client.ask(path, npy(image), Content_Type="application/x-npy") for image in images]
    return _probabilities([answer.json for answer in asked])


def _in_batches(client: Client, name: str, images: Images) -> Probabilities:
    path, found = f"/predict/batch?model={name}&preprocess=none", []
    for start in range(0, len(images), MOST):
        body = npy(images[start : start + MOST])
        found += client.ask(path, body, Content_Type="application/x-npy").json
    return _probabilities(found)


def _by_oip(client: Client, name: str, images: Images, *, binary: bool) -> Probabilities:
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(images.shape)}
    output = {"name": "probabilities", "parameters": {"binary_data": binary}}
    if binary:
        tensor["parameters"] = {"binary_data_size": images.size}
    else:
        tensor["data"] = images.reshape(-1).tolist()
    head = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
    answer = client.ask(
        f"/v2/models/{name}/infer",
        head + images.tobytes() if binary else head,
        Inference_Header_Content_Length=str(len(head)),
    )
    if not binary:
        return np.array(answer.json["outputs"][0]["data"], np.float32).reshape(-1, 10)
    said = int(answer.headers["inference-header-content-length"])
    return np.frombuffer(answer.content[said:], "<f4").reshape(-1, 10)


def _by_tensorflow_serving(
    client: Client, name: str, images: Images, sent: str, got: str
) -> Probabilities:
    body = json.dumps({sent: images.tolist()}).encode()
    answer = client.ask(f"/v1/models/{name}:predict", body, Content_Type="application/json")
    return np.array(answer.json[got], np.float32)


def _over_http(client: Client, name: str, images: Images) -> Iterator[tuple[str, Probabilities]]:
    yield "HTTP /predict", _one_by_one(client, name, images)
    yield "HTTP /predict/batch", _in_batches(client, name, images)
    for way, binary in (("binary", True), ("JSON", False)):
        yield f"Open Inference Protocol, {way}", _by_oip(client, name, images, binary=binary)
    for way, sent, got in (("rows", "instances", "predictions"), ("columns", "inputs", "outputs")):
        found = _by_tensorflow_serving(client, name, images, sent, got)
        yield f"TensorFlow Serving, {way}", found


def _by_command(name: str, images: Images, folder: Path) -> Probabilities:
    files = [folder / f"{number:03}.png" for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        file.write_bytes(encode(image))
    done = subprocess.run(
        [BIN / "digitscope", "predict", "--json", "--preprocess=none", f"--model={name}", *files],
        capture_output=True,
        text=True,
        check=True,
    )
    return _probabilities([json.loads(line) for line in done.stdout.splitlines()])


@contextmanager
def _on_ray(folder: Path) -> Iterator[Client]:
    """Run `digitscope cluster` on a Ray of its own, with one replica."""
    client = Client(free_port())
    with (folder / "cluster.log").open("w") as lines:
        process = subprocess.Popen(
            [BIN / "digitscope", "cluster", "--port", str(client.port), "--max-replicas=1"],
            cwd=REPOSITORY,
            env={**os.environ, "RAY_ADDRESS": "local", "RAY_USAGE_STATS_ENABLED": "0"},
            stdout=lines,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(
            lambda: process.poll() is not None or client.get("/readyz").status == 200,
            seconds=2 * PATIENCE_S,
        )
        assert process.poll() is None, (folder / "cluster.log").read_text()
        yield client
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)


def test_every_way_gives_the_same_probabilities(
    registry: Registry, digits: Digits, tmp_path: Path
) -> None:
    """Keras, LiteRT, int8, HTTP, both protocols, command line and Ray agree on 1,000 digits."""
    names, ways = ("classic", "compact"), {}
    for name in names:
        ways[name] = dict(_in_process(registry.wait_for(name), digits.images))
        ways[name]["command line"] = _by_command(name, digits.images, tmp_path)
    with serving(tmp_path) as server:
        for name in names:
            ways[name] |= _over_http(server, name, digits.images)
    with _on_ray(tmp_path) as client:
        for name in names:
            ways[name]["Ray /predict/batch"] = _in_batches(client, name, digits.images)
    for name, found in ways.items():
        assert found.keys() == {"Keras", *BOUNDS}
        for way, bound in BOUNDS.items():
            apart = np.abs(found[way] - found[bound.to])
            assert apart.shape == (1000, 10)
            assert apart.max() <= bound.most, f"{name}: {way} against {bound.to}"
    # A model without int8 is served in float32.
    np.testing.assert_array_equal(ways["classic"]["one by one"], ways["classic"]["LiteRT float32"])
    assert (ways["compact"]["one by one"] != ways["compact"]["LiteRT float32"]).any()
