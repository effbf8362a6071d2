"""A Python client, generated from the OpenAPI document by openapi-python-client."""

import importlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from app.samples import sample_png
from tests.conftest import PUBLISHED, Digits
from tests.server.process import Server

MODEL = "classic"


class Generated:
    """The generated package, with a client of the running service."""

    def __init__(self, address: str) -> None:
        """Create a client of the service at an address."""
        self.types, self.models = self.module("types"), self.module("models")
        self.client = self.module("client").Client(address, raise_on_unexpected_status=True)

    def module(self, name: str) -> ModuleType:
        """Return a module of the package."""
        return importlib.import_module(f"generated.{name}")

    def call(self, operation: str, *path: str, **arguments: Any) -> Any:
        """Call an operation and return its parsed response."""
        module = self.module(f"api.{operation}")
        return module.sync(*path, client=self.client, **arguments)

    def file(self, digit: int) -> Any:
        """Return a sample digit as a file."""
        return self.types.File(io.BytesIO(sample_png(digit)), "digit.png", "image/png")

    def form(self, digit: int) -> Any:
        """Return a sample digit in a form."""
        return self.models.ImageForm(file=self.file(digit))


@pytest.fixture(scope="module")
def generated(
    server: Server, python_tools: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Generated]:
    """The client, generated without a warning."""
    folder = tmp_path_factory.mktemp("python")
    address = f"http://127.0.0.1:{server.port}"
    config = Path(__file__).with_name("python.yaml")
    command = [python_tools / "openapi-python-client", "generate", "--fail-on-warning"]
    command += ["--url", f"{address}/openapi.json", "--config", config, "--meta", "none"]
    path = f"{python_tools}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*command, "--output-path", folder / "generated"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[:2000]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        made = Generated(address)
        with made.client:
            yield made
    for name in [name for name in sys.modules if name.partition(".")[0] == "generated"]:
        del sys.modules[name]


def test_digits_in_every_form(generated: Generated, digits: Digits) -> None:
    """A form, a raw PNG and pixels are read."""
    pixels = generated.models.Image(pixels=digits.images[0].tolist())
    for body, digit in (
        (generated.form(7), 7),
        (generated.file(3), 3),
        (pixels, digits.labels[0]),
    ):
        answer = generated.call("recognise.predict", body=body, model=MODEL)
        assert isinstance(answer, generated.models.PredictionAnswer)
        assert answer.digit == digit
        assert answer.verdict is generated.models.Verdict.DIGIT
        assert answer.model.name == MODEL


def test_batches_keep_order_and_name_the_bad_item(generated: Generated) -> None:
    """Batches keep their order; an item that is no image has its own error."""
    bad = generated.types.File(io.BytesIO(b"nothing"), "bad.png", "image/png")
    form = generated.models.ImagesForm(files=[generated.file(1), bad, generated.file(2)])
    one, error, two = generated.call("recognise.predict_batch", body=form)
    assert (one.digit, two.digit) == (1, 2)
    assert isinstance(error, generated.models.ItemError)
    assert error.error.status == 400
    listed = [generated.models.Image(image="AAAA"), generated.models.Image(pixels=[[0] * 28] * 28)]
    errors = generated.call("recognise.predict_batch", body=listed)
    assert [item.error.status for item in errors] == [400, 422]


def test_pages_and_preparation(generated: Generated) -> None:
    """A page is read, and the preparation shows its stages."""
    page = generated.call("recognise.read", body=generated.form(6))
    assert page.text == "6"
    assert page.lines[0].digits[0].box.width > 0
    prepared = generated.call(
        "recognise.preprocess",
        body=generated.form(6),
        polarity=generated.models.Polarity.LIGHT_ON_DARK,
    )
    assert prepared.prediction.digit == 6
    assert prepared.stages[0].name
    assert len(prepared.pixels) == 28


def test_inspection(generated: Generated) -> None:
    """The client gets layers, activations and an explanation."""
    described = generated.call("inspect.list_layers", MODEL)
    names = [layer.name for layer in described.layers]
    body, method = generated.form(4), generated.models.ExplanationMethod
    seen = generated.call("inspect.inspect", body=body, model=MODEL)
    assert [layer.name for layer in seen.layers] == names
    values = generated.call(
        "inspect.activations", "relu_1_1", body=generated.form(4), model=MODEL, format_="json"
    )
    assert values.layer.name == "relu_1_1"
    why = generated.call(
        "inspect.explain",
        body=generated.form(4),
        model=MODEL,
        method=method.OCCLUSION,
        target=4,
        contrast=9,
        checks=False,
    )
    assert (why.target, why.contrast, len(why.map_)) == (4, 9, 28)


def test_refusals_are_problems(generated: Generated) -> None:
    """An error is parsed as a Problem, or as the error of a protocol."""
    problem = generated.call("recognise.predict", body=generated.form(1), model="nope")
    assert isinstance(problem, generated.models.Problem)
    assert problem.status == 404
    assert MODEL in problem.valid
    refused = generated.call("tensor_flow_serving.tfs_status", "nope")
    assert isinstance(refused, generated.models.ProtocolError)
    assert "nope" in refused.error


def test_protocols_and_probes(generated: Generated, digits: Digits) -> None:
    """The bodies of the protocols have schemas, too."""
    models = generated.models
    tensor = models.InputTensor("image", [1, 784], "UINT8", data=digits.images[0].ravel().tolist())
    answer = generated.call(
        "open_inference_protocol.oip_infer", MODEL, body=models.InferenceRequest([tensor])
    )
    assert [output.name for output in answer.outputs] == ["probabilities", "digit", "label"]
    assert answer.outputs[1].data == [digits.labels[0]]
    rows = models.PredictRequest(instances=digits.images[:2].tolist())
    version = str(PUBLISHED)
    predicted = generated.call("tensor_flow_serving.tfs_version_predict", MODEL, version, body=rows)
    assert len(predicted.predictions) == 2
    assert generated.call("operate.readyz").status == "ready"
