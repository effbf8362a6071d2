"""The inspection routes for a network over rows: outputs of rows and channels, 62 classes."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.inference.keras_compiler import compile_model
from app.main import create_app
from app.samples import sample_png
from app.settings import Settings
from tests.bundles import add_network
from tests.inspection import zoo

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # in TensorFlow's LiteRT converter
]
IMAGE = {"content": sample_png(4)}


@pytest.fixture(scope="module")
def rows_client(tmp_path_factory) -> Iterator[TestClient]:
    """Return a client of a service with the zoo's network over rows alone."""
    models: Path = tmp_path_factory.mktemp("models")
    network = zoo.rows()
    add_network(models, "rows", network, compile_model(network))
    with TestClient(create_app(Settings(model_dir=models, default_model="rows"))) as client:
        yield client


def test_layers_over_rows_are_inspected(rows_client: TestClient) -> None:
    """Statistics are those of channels, every value is listed, the picture has rows and columns."""
    answer = rows_client.post("/inspect?include=sheets&scale=channel", **IMAGE).json()
    (half,) = [layer for layer in answer["layers"] if layer["name"] == "half"]
    assert half["shape"] == [13, 6]
    assert len(half["values"]) == 13 * 6
    assert len(half["channels"]["mean"]) == 6
    assert all(column == 0 for _, column in half["channels"]["argmax"])
    assert (half["sheet"]["tile"], half["sheet"]["tiles"]) == ([13, 6], 1)
    picture = rows_client.post("/layers/half/activations?format=png", **IMAGE)
    assert Image.open(io.BytesIO(picture.content)).size == (6, 13)
    values = rows_client.post("/layers/half/activations?format=npy", **IMAGE)
    assert np.load(io.BytesIO(values.content)).shape == (13, 6)


def test_a_unit_of_a_row_is_traced(rows_client: TestClient) -> None:
    """A unit has a row and no column; it sees whole rows of the image."""
    unit = rows_client.post("/layers/half/unit?y=5&channel=2", **IMAGE).json()
    assert unit["unit"] == {"channel": 2, "y": 5, "x": None}
    assert unit["abs_error"] <= 1e-4
    assert (unit["trace"]["image"]["x"], unit["trace"]["image"]["width"]) == (0, 28)
    wrong = rows_client.post("/layers/half/unit?y=13&channel=2", **IMAGE)
    assert wrong.status_code == 404
    assert wrong.json()["valid"] == ["y 0..12", "channel 0..5"]


@pytest.mark.parametrize("method", ["gradient", "grad-cam", "occlusion"])
def test_answers_are_explained(rows_client: TestClient, method: str) -> None:
    """Maps and checks work for any of 62 classes."""
    answer = rows_client.post(f"/explain?method={method}&target=61", **IMAGE)
    assert answer.status_code == 200
    assert answer.json()["checks"]["randomised"] is not None


def test_channels_are_switched_off_and_images_compared(rows_client: TestClient) -> None:
    """Each channel of a layer over rows is switched off; two images have an alignment."""
    answer = rows_client.post("/ablate?layer=half", **IMAGE).json()
    assert sorted(change["channels"] for change in answer["ablations"]) == [[c] for c in range(6)]
    files = [("files", sample_png(digit)) for digit in (4, 9)]
    layers = rows_client.post("/compare", files=files).json()["layers"]
    (half,) = [layer for layer in layers if layer["layer"]["name"] == "half"]
    assert half["alignment"] is not None
