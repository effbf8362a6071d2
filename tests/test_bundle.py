"""Bundles: what is damaged is refused, with a sentence that says what and where."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.bundle import Metadata, open_bundle, seal
from app.errors import BundleError
from app.inference.registry import Registry
from app.main import create_app
from app.settings import REPOSITORY, Settings
from tests.server.process import PATIENCE_S

MAX_MODEL_BYTES = 95_000_000


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A copy of the committed classic model, to be damaged."""
    shutil.copytree(REPOSITORY / "model" / "classic", tmp_path / "model" / "classic")
    return tmp_path / "model"


def _delete_compiled(folder: Path) -> None:
    (folder / "model.tflite").unlink()


def _truncate_keras(folder: Path) -> None:
    content = (folder / "model.keras").read_bytes()
    (folder / "model.keras").write_bytes(content[: len(content) // 2])


def _flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "model.tflite").read_bytes())
    content[1000] ^= 1
    (folder / "model.tflite").write_bytes(content)


def _delete_metadata(folder: Path) -> None:
    (folder / "metadata.json").unlink()


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _break_metadata(folder: Path) -> None:
    (folder / "metadata.json").write_text('{"name": ')


def _other_schema(folder: Path) -> None:
    _edit(folder, schema_version=3)


def _rename(folder: Path) -> None:
    _edit(folder, name="another")


def _reach_outside(folder: Path) -> None:
    _edit(folder, files={"../../secret": "0" * 64})


def _no_keras(folder: Path) -> None:
    _edit(folder, files={})


DAMAGES = {
    "compiled model missing": (_delete_compiled, "model.tflite cannot be read: No such file"),
    "network truncated": (_truncate_keras, "model.keras is not the file that was published"),
    "one bit wrong": (_flip_a_bit, "model.tflite is not the file that was published"),
    "metadata missing": (_delete_metadata, "has no metadata.json"),
    "metadata broken": (_break_metadata, "not valid bundle metadata"),
    "another schema": (_other_schema, "schema_version"),
    "another name": (_rename, "names the model 'another'"),
    "a path outside": (_reach_outside, "outside the bundle"),
    "no network listed": (_no_keras, "lists no model.keras"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_bundle_is_refused(models: Path, damage: str) -> None:
    """Each kind of damage is found when the bundles are opened, and the message says which."""
    harm, said = DAMAGES[damage]
    harm(models / "classic")
    with pytest.raises(BundleError) as refused:
        Registry(models, "classic", interpreters=1)
    assert said in refused.value.detail
    assert str(models / "classic") in refused.value.detail


def test_all_faults_of_a_bundle_are_reported_at_once(models: Path) -> None:
    """Fields of the wrong type, a wrong name, a missing and a damaged file are in one message."""
    folder = models / "classic"
    _edit(folder, version="first", seed="none", name="another")
    _delete_compiled(folder)
    _truncate_keras(folder)
    with pytest.raises(BundleError, match="4 faults") as refused:
        open_bundle(folder)
    for said in (
        "version: Input should be a valid integer",
        "seed: Input should be a valid integer",
        "names the model 'another'",
        "model.tflite cannot be read",
        "model.keras is not the file",
    ):
        assert said in refused.value.detail


@pytest.mark.parametrize("content", ["[]", "null", '{"files": [1]}', '{"files": {"a": 1}}', "["])
def test_metadata_of_any_form_is_refused(models: Path, content: str) -> None:
    """Metadata that is no object, or whose list of files has another form, names the reason."""
    (models / "classic" / "metadata.json").write_text(content)
    with pytest.raises(BundleError, match="not valid bundle metadata"):
        open_bundle(models / "classic")


def test_many_faults_are_cut_short(models: Path) -> None:
    """A message lists 20 faults and counts the others."""
    _edit(models / "classic", files={f"{number}.npz": "0" * 64 for number in range(50)})
    with pytest.raises(BundleError, match=r"51 faults: .*And 31 more"):
        open_bundle(models / "classic")


def test_service_does_not_start_on_a_damaged_bundle(models: Path) -> None:
    """The application's own start raises, whatever started it."""
    from fastapi.testclient import TestClient

    _flip_a_bit(models / "classic")
    with (
        pytest.raises(BundleError),
        TestClient(create_app(Settings(model_dir=models, default_model="classic"))),
    ):
        pass


def _seal_rubbish(folder: Path) -> None:
    (folder / "model.tflite").write_bytes(b"not a model at all, but hashed")
    seal(folder, Metadata.model_validate_json((folder / "metadata.json").read_text()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "said", "workers"),
    [
        (_truncate_keras, "is not the file that was published", 1),
        (_seal_rubbish, "is no LiteRT model", 1),
        (_seal_rubbish, "is no LiteRT model", 2),
    ],
)
def test_serve_refuses_with_a_sentence(
    models: Path, harm: Callable[[Path], None], said: str, workers: int
) -> None:
    """`digitscope serve` ends with code 1 and one sentence, without a traceback."""
    harm(models / "classic")
    done = subprocess.run(
        [sys.executable, "-m", "digitscope", "serve", "--port", "0"],
        cwd=REPOSITORY,
        env={
            "DIGITSCOPE_MODEL_DIR": str(models),
            "DIGITSCOPE_DEFAULT_MODEL": "classic",
            "DIGITSCOPE_WORKERS": str(workers),
            "PATH": "",
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_format_behind_a_right_hash(models: Path) -> None:
    """A compiled file that is no LiteRT model is refused at loading, even with the right hash."""
    _seal_rubbish(models / "classic")
    registry = Registry(models, "classic", interpreters=1)
    with pytest.raises(BundleError, match="no LiteRT model"):
        registry.load()


@pytest.mark.parametrize(
    ("default", "said"), [("missing", "'missing' is not in"), ("classic", "holds no model bundle")]
)
def test_nothing_to_serve(tmp_path: Path, models: Path, default: str, said: str) -> None:
    """An empty folder and an unknown default are refused, naming the setting to change."""
    folder = models if default == "missing" else tmp_path / "empty"
    with pytest.raises(BundleError, match=said) as refused:
        Registry(folder, default, interpreters=1)
    assert "DIGITSCOPE_" in refused.value.detail


def test_seal_lists_every_file(models: Path) -> None:
    """Sealing a folder lists all its files, those in folders too, and the result opens."""
    folder = models / "classic"
    (folder / "extras").mkdir()
    (folder / "extras" / "1.npz").write_bytes(b"x")
    sealed = seal(folder, open_bundle(folder).metadata)
    assert {"model.keras", "model.tflite", "MODEL_CARD.md", "extras/1.npz"} <= set(sealed.files)
    assert open_bundle(folder).read("extras/1.npz") == b"x"


def test_bundle_of_version_0_1_still_loads() -> None:
    """A bundle that digitscope 0.1 wrote opens, predicts and is inspected."""
    models = Registry(REPOSITORY / "tests" / "data" / "bundles", "version-0-1", interpreters=1)
    models.load()
    model = models.get("version-0-1")
    assert model.bundle.has("before-refit.keras")
    with np.load(REPOSITORY / "tests" / "data" / "mnist_sample.npz") as sample:
        images, labels = sample["x_test"], sample["y_test"]
    answers = model.runtime.predict(images).probabilities.argmax(axis=1)
    assert model.bundle.metadata.test
    assert (answers != labels).sum() == model.bundle.metadata.test.errors
    outputs = model.runtime.inspect(images[:2])
    assert {layer.name for layer in model.network.layers} == set(outputs)
    assert outputs["softmax"].shape == (2, 10)
    models.close()


def test_the_committed_models_are_small() -> None:
    """All files in `model/` take at most 95 MB; the history of the repository never shrinks."""
    files = [path for path in (REPOSITORY / "model").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MAX_MODEL_BYTES


def test_the_image_has_no_teachers() -> None:
    """Networks that only teach others are neither copied into the image nor opened as models."""
    assert "model/teachers" in (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert "teachers" not in Registry(REPOSITORY / "model", "classic", interpreters=1).bundles
