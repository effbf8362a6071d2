"""Every interface to a network gives the same probabilities for 1,000 digits.

The Python API also gives the same answers for each kind of image, inside the network too.
tests/test_ray_serve.py compares a Ray cluster with a single process in the same way.
"""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import digitscope
from app.api.wording import in_python
from app.bundle import COMPILED_FILE, INT8_FILE
from app.inference.keras_runtime import KerasRuntime, load_keras
from app.inference.litert_runtime import LiteRtRuntime, open_runtime
from app.inference.model import Model
from app.inference.registry import Registry
from app.predictions import InputSummary
from app.samples import sample_pixels, sample_png, sample_sheet_png
from tests.conftest import Digits
from tests.forms import encode, npy
from tests.imaging.files import saved
from tests.imaging.samples import canvas, photo
from tests.server.grpc_client import grpc_client, infer_request
from tests.server.process import Answer, Client, Server

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
    "Python API": Bound("one by one", 0),
    # Some processors add the products of a batch in a different order.
    "all at once": Bound("one by one", 1e-6),
    "batches of 32": Bound("one by one", 1e-6),
    "two threads": Bound("one by one", 1e-6),
    "Python API, many": Bound("one by one", 1e-6),
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
    """Keras, LiteRT, int8, HTTP, gRPC, both protocols, command line and Python API agree."""
    model, images = registry.wait_for(name), digits.images
    answers = dict(_in_process(model, images)) | dict(_over_http(server, name, images))
    answers |= dict(_over_grpc(server, name, images))
    answers["command line"] = _by_command(name, images, tmp_path)
    answers |= dict(_by_python(name, images))
    assert answers.keys() == {"Keras", *BOUNDS}
    for interface, bound in BOUNDS.items():
        difference = np.abs(answers[interface] - answers[bound.reference])
        assert difference.shape == (1000, 10)
        assert difference.max() <= bound.max_difference, f"{interface} and {bound.reference}"
    served_in_int8 = (answers["one by one"] != answers["LiteRT float32"]).any()
    assert served_in_int8 == (name == "compact")


@cache
def _photo() -> bytes:
    return photo(sample_pixels(5), np.random.default_rng(1))


@cache
def _coloured() -> NDArray[np.uint8]:
    page = canvas(sample_pixels(3)).astype(np.uint8)
    return np.stack([page, page, page // 2 + 100], axis=-1)


@cache
def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(Image.fromarray(canvas(sample_pixels(6)).astype(np.uint8)), "JPEG", exif=exif)


# What a user of the Python API gives, and what a client of the service sends: a body and its type.
KINDS: dict[str, tuple[Callable[[], Any], Callable[[], bytes], str]] = {
    "file": (lambda: sample_png(7), lambda: sample_png(7), "image/png"),
    "photo": (_photo, _photo, "image/jpeg"),
    "opened photo": (lambda: Image.open(io.BytesIO(_photo())), _photo, "image/jpeg"),
    "opened, turned": (lambda: Image.open(io.BytesIO(_turned())), _turned, "image/jpeg"),
    "page": (sample_sheet_png, sample_sheet_png, "image/png"),
    "array": (lambda: sample_pixels(4), lambda: npy(sample_pixels(4)), "application/x-npy"),
    "array of 0..1": (
        lambda: sample_pixels(2) / 255,
        lambda: npy(sample_pixels(2)),
        "application/x-npy",
    ),
    "colours": (_coloured, lambda: saved(Image.fromarray(_coloured()), "PNG"), "image/png"),
}


@pytest.fixture(scope="module")
def model() -> digitscope.Model:
    """The default model, loaded by the Python API."""
    return digitscope.load()


@pytest.mark.parametrize("kind", KINDS)
def test_python_api_gives_the_answers_of_the_service(
    server: Server, model: digitscope.Model, kind: str
) -> None:
    """`predict`, `read`, `activations`, `unit` and `explain` agree with the routes."""
    make, body, media_type = KINDS[kind]

    def post(path: str) -> Answer:
        answer = server.ask(path, body(), Content_Type=media_type)
        assert answer.status == 200, answer.content
        return answer

    _check_prediction(model.predict(make()), post("/predict").json)
    _check_page(model.read(make()), post("/read").json)
    values = np.load(io.BytesIO(post("/layers/relu_2/activations").content))
    np.testing.assert_array_equal(model.activations(make(), "relu_2").values, values)
    unit, right = model.unit(make(), "relu_2"), post("/layers/relu_2/unit").json
    _check_prediction(unit.prediction, right["prediction"])
    assert {"channel": unit.channel, "y": unit.y, "x": unit.x} == right["unit"]
    assert (unit.formula, unit.equation.text) == (right["formula"], right["equation"])
    assert (unit.observed, unit.reconstructed) == (right["observed"], right["reconstructed"])
    assert list(unit.places) == [place["name"] for place in right["trace"]["layers"]]
    for method, checks in (("gradient", True), ("grad-cam", False)):
        explained = model.explain(make(), method=method, contrast=0, checks=checks)
        right = post(f"/explain?method={method}&contrast=0&checks={checks}").json
        np.testing.assert_allclose(explained.map, right["map"], atol=1e-6)  # JSON is rounded
        assert (explained.text, explained.layer) == (right["text"], right["layer"])
        curve, expected = explained.deletion, right["checks"]
        assert (curve is None) == (expected is None) == (not checks)
        assert curve is None or curve.area_by_map == expected["deletion"]["area_by_map"]


def _check_prediction(found: digitscope.Prediction, right: dict[str, Any]) -> None:
    expected = np.array(right["probabilities"], np.float32)
    np.testing.assert_array_equal(found.probabilities, expected)
    for name in ("digit", "label", "runner_up", "verdict"):
        assert getattr(found, name) == right[name]
    _check_input(found.input, right["input"])


def _check_page(found: digitscope.Page, right: dict[str, Any]) -> None:
    assert found.text == right["text"]
    assert [line.text for line in found.lines] == [line["text"] for line in right["lines"]]
    digits = [digit for line in right["lines"] for digit in line["digits"]]
    assert [(digit.label, digit.verdict, vars(digit.box)) for digit in found.digits] == [
        (digit["label"], digit["verdict"], digit["box"]) for digit in digits
    ]
    for digit, expected in zip(found.digits, digits, strict=True):
        probabilities = np.array(expected["probabilities"], np.float32)
        np.testing.assert_array_equal(digit.probabilities, probabilities)
    _check_input(found.input, right["input"])


def _check_input(found: InputSummary, right: dict[str, Any]) -> None:
    right = {**right, "warnings": [in_python(each) for each in right["warnings"]]}
    given = {**vars(found), "warnings": list(found.warnings)}
    if found.format == "pixels":  # an array that the client has sent as a file
        given["format"] = right["format"]
    assert given == right


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


def _by_python(name: str, images: Images) -> Iterator[tuple[str, Probabilities]]:
    model = digitscope.load(name)
    each = [model.predict(image, preprocess="none").probabilities for image in images]
    yield "Python API", np.array(each)
    many = model.predict_many(images, preprocess="none")
    yield "Python API, many", np.array([each.probabilities for each in many])


def _probabilities(answers: list[dict]) -> Probabilities:
    return np.array([answer["probabilities"] for answer in answers], np.float32)
