"""When models are loaded, reloaded and freed."""

import gc
import shutil
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.bundle import COMPILED_FILE, open_bundle, seal
from app.errors import BundleError
from app.inference.registry import Registry
from app.main import create_app
from app.samples import sample_png
from app.settings import REPOSITORY, Settings


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a folder with two models that tests may damage."""
    for name in ("classic", "dropconnect"):
        shutil.copytree(REPOSITORY / "model" / name, tmp_path / "model" / name)
    return tmp_path / "model"


def test_other_models_are_loaded_on_demand(models: Path) -> None:
    """All models are ready, but only the default is in memory before another is asked for."""
    settings = Settings(model_dir=models, default_model="classic")
    with TestClient(create_app(settings)) as client:
        registry = client.app_state["service"].registry
        assert client.get("/readyz").status_code == 200
        assert client.get("/models").status_code == 200
        assert client.post("/predict", files={"file": sample_png(7)}).json()["digit"] == 7
        assert (registry.is_loaded("classic"), registry.is_loaded("dropconnect")) == (True, False)
        answer = client.post("/predict?model=dropconnect", files={"file": sample_png(7)}).json()
        assert (answer["digit"], answer["model"]["name"]) == (7, "dropconnect")
        assert registry.is_loaded("dropconnect")


def test_on_load_is_called_for_each_loaded_version(models: Path) -> None:
    """Reloading a model and loading one on demand both report name and version."""
    registry, loaded = Registry(models, "classic", interpreters=1), []
    registry.on_load = lambda *version: loaded.append(version)
    registry.load()
    metadata = registry.bundles["classic"].metadata.model_copy(update={"version": 12})
    seal(models / "classic", metadata)
    registry.reload("classic")
    other = open_bundle(models / "dropconnect").metadata.model_copy(update={"version": 13})
    seal(models / "dropconnect", other)
    registry.get("dropconnect")  # opened above, loaded only now
    assert loaded == [("classic", 12), ("dropconnect", 13)]


def test_slow_networks_run_smaller_parts(models: Path) -> None:
    """A part of a batch takes about the same time with a slow network as with a fast one."""
    registry = Registry(models, "classic", interpreters=1)
    registry.load()
    model = registry.get("classic")
    parts = [
        replace(model, seconds_per_image=seconds).part_size for seconds in (1e-6, 5e-5, 5e-4, 5e-3)
    ]
    assert parts == [512, 512, 48, 16]


def test_fast_networks_have_a_runtime_for_the_event_loop(models: Path) -> None:
    """A fast network is loaded twice, whether it is the default or not; a slow one is not."""
    image = np.eye(28, dtype=np.uint8)[None] * 200
    for quick_below_s, quick in ((60.0, True), (0.0, False)):
        registry = Registry(models, "classic", interpreters=1, quick_below_s=quick_below_s)
        registry.load()
        for name in ("classic", "dropconnect"):
            model = registry.get(name)
            assert (model.event_loop_runtime is not None) == quick
            assert (model.on_event_loop.runtime is not model.runtime) == quick
            expected = model.runtime.predict(image).logits
            np.testing.assert_array_equal(
                expected, model.on_event_loop.runtime.predict(image).logits
            )
        registry.close()


def test_model_damaged_before_its_first_use_is_refused(models: Path) -> None:
    """Its requests get 503 with the reason; others work, and a repaired bundle is served."""
    settings = Settings(model_dir=models, default_model="classic")
    compiled = models / "dropconnect" / COMPILED_FILE
    whole = compiled.read_bytes()
    with TestClient(create_app(settings)) as client:
        registry = client.app_state["service"].registry
        compiled.write_bytes(whole[:-1])
        refused = client.post("/predict?model=dropconnect", files={"file": sample_png(7)})
        assert refused.status_code == 503
        assert "SHA-256" in refused.json()["detail"]
        assert client.post("/predict", files={"file": sample_png(7)}).status_code == 200
        assert client.get("/readyz").status_code == 200
        assert client.get("/v2/models/dropconnect/ready").status_code == 503
        compiled.write_bytes(whole)
        registry.reload("dropconnect")
        repaired = client.post("/predict?model=dropconnect", files={"file": sample_png(7)})
        assert repaired.json()["digit"] == 7


def test_refused_bundle_is_tried_again_when_it_changes(models: Path) -> None:
    """A refused bundle does not count as changed until one of its files changes."""
    served = Registry(models, "classic", interpreters=1)
    served.load()
    compiled = models / "classic" / COMPILED_FILE
    whole = compiled.read_bytes()
    seal(models / "classic", served.bundles["classic"].metadata)
    compiled.write_bytes(whole[:-1])
    assert served.changed() == ["classic"]
    with pytest.raises(BundleError):
        served.reload("classic")
    assert served.changed() == []
    compiled.write_bytes(whole)
    assert served.changed() == ["classic"]
    served.reload("classic")
    assert served.changed() == []


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Turn off the garbage collector, so that only reference counts free memory."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("name", ["classic", "compact"])
def test_replaced_model_is_freed_at_once(name: str) -> None:
    """A reload leaves no reference cycle that keeps the old model in memory."""
    registry = Registry(REPOSITORY / "model", name, interpreters=1)
    registry.load()
    registry.reload(name)
    old = weakref.ref(registry.get(name))
    registry.reload(name)
    assert old() is None
