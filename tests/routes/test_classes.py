"""The names of the classes come from the bundle, and every answer carries them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.bundle import METADATA, Metadata, open_bundle, seal
from app.errors import BundleError
from app.main import create_app
from app.samples import sample_png
from app.settings import REPOSITORY, Settings
from tests.bundles import add_bundle

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def _add_named(models: Path, name: str, classes: list[str]) -> Path:
    folder = add_bundle(models, name)
    metadata = Metadata.model_validate_json((folder / METADATA).read_text())
    seal(folder, metadata.model_copy(update={"classes": classes, "schema_version": 2}))
    return folder


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service whose only model has names for the ten digits."""
    models = tmp_path_factory.mktemp("classes") / "model"
    _add_named(models, "named", NAMES)
    with TestClient(create_app(Settings(model_dir=models, default_model="named"))) as client:
        yield client


def test_every_answer_has_the_label(named: TestClient) -> None:
    """Routes for one image, a batch, pages and both protocols name the class of the digit."""
    seven = sample_png(7)
    one = named.post("/predict", content=seven).json()
    assert (one["digit"], one["label"]) == (7, "seven")
    (first,) = named.post("/predict/batch", files=[("files", ("7.png", seven))]).json()
    assert first["label"] == "seven"
    page = named.post("/read", content=seven).json()
    assert page["lines"][0]["digits"][0]["label"] == "seven"
    assert page["text"] == "seven"
    for path in ("inspect", "explain", "neighbours"):
        answer = named.post(f"/{path}", content=seven)
        if answer.status_code == 200:
            assert answer.json()["prediction"]["label"] == "seven"
    report = named.post("/preprocess", content=seven).json()
    assert report["prediction"]["label"] == "seven"
    assert all(each["label"] in NAMES for each in report["without"] if each["digit"] is not None)


def test_the_open_inference_protocol_has_the_label(named: TestClient) -> None:
    """The tensor `label` is announced and sent, and a classification names the class."""
    described = named.get("/v2/models/named").json()["outputs"]
    assert {"name": "label", "datatype": "BYTES", "shape": [-1]} in described
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 784], "data": [0] * 784}
    outputs = [{"name": "label"}, {"name": "probabilities", "parameters": {"classification": 1}}]
    answer = named.post("/v2/models/named/infer", json={"inputs": [tensor], "outputs": outputs})
    label, best = (each["data"][0] for each in answer.json()["outputs"])
    assert label in NAMES
    assert best.endswith(f":{NAMES.index(label)}:{label}")


def test_models_list_their_classes(named: TestClient) -> None:
    """The page takes names and number of the classes from these routes."""
    assert named.get("/models").json()["models"][0]["classes"] == NAMES
    assert named.get("/models/named/layers").json()["classes"] == NAMES


@pytest.mark.parametrize("parameter", ["target", "contrast"])
def test_a_class_that_the_model_lacks_is_refused(named: TestClient, parameter: str) -> None:
    """The message names the classes of this model."""
    answer = named.post(f"/explain?{parameter}=10", content=sample_png(7))
    assert answer.status_code == 422
    assert "0 to 9" in answer.json()["detail"]


def test_corrections_name_the_classes(tmp_path: Path) -> None:
    """The label of a correction is the name of a class of the model that answers."""
    _add_named(tmp_path / "model", "named", NAMES)
    settings = Settings(
        model_dir=tmp_path / "model", default_model="named", api_keys="key", feedback_dir=tmp_path
    )
    with TestClient(create_app(settings), headers={"X-API-Key": "key"}) as client:
        refused = client.post("/feedback?label=7", content=sample_png(7))
        assert (refused.status_code, refused.json()["valid"]) == (422, [*NAMES, "not-a-digit"])
        kept = client.post("/feedback?label=one", content=sample_png(7)).json()
        assert (kept["label"], kept["answer"]) == ("one", "seven")


def test_minimal_metadata_is_enough(tmp_path: Path) -> None:
    """A bundle without any field of training is served, and no image is `not-a-digit`."""
    folder = add_bundle(tmp_path / "model", "bare")
    published = json.loads((folder / METADATA).read_text())
    kept = ("name", "version", "created", "parameters", "files")
    bare = {"schema_version": 2, **{name: published[name] for name in kept}}
    (folder / METADATA).write_text(json.dumps(bare))
    settings = Settings(model_dir=tmp_path / "model", default_model="bare")
    with TestClient(create_app(settings)) as client:
        answer = client.post("/predict", content=sample_png(7)).json()
        details = client.get("/models/bare").json()
        training = client.get("/models/bare/training").json()
    assert answer["label"] == "7"
    assert answer["verdict"] == "digit"
    assert details["metrics"] == {"validation": None, "test": None}
    assert training["epochs"] == []


@pytest.mark.parametrize("classes", [["one"], ["a", "a"], ["a", "b\n"], ["x"] * 101])
def test_impossible_classes_are_refused(tmp_path: Path, classes: list[str]) -> None:
    """Metadata with too few, too many, repeated or unprintable names is no valid metadata."""
    folder = _add_named(tmp_path / "model", "named", classes)
    with pytest.raises(BundleError, match="classes"):
        open_bundle(folder)


def test_classes_must_fit_the_network(tmp_path: Path) -> None:
    """A bundle with eleven names for ten outputs is refused with both numbers."""
    _add_named(tmp_path / "model", "named", [*NAMES, "ten"])
    settings = Settings(model_dir=tmp_path / "model", default_model="named")
    with (
        pytest.raises(BundleError, match=r"10 outputs.*11 classes"),
        TestClient(create_app(settings)),
    ):
        pass


def test_bundles_of_schema_1_have_the_ten_digits() -> None:
    """The committed bundles name no classes."""
    assert open_bundle(REPOSITORY / "model" / "compact").metadata.classes == list("0123456789")
