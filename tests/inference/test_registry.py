"""Which models are loaded, and when."""

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
    """A folder with two models of which tests may damage one."""
    for name in ("classic", "dropconnect"):
        shutil.copytree(REPOSITORY / "model" / name, tmp_path / "model" / name)
    return tmp_path / "model"


def test_other_models_are_loaded_when_they_are_asked_for(models: Path) -> None:
    """All are ready from the start; the memory of one that nobody asks for is not taken."""
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


def test_each_swap_is_told_by_whoever_makes_it(models: Path) -> None:
    """Also where nobody waits for a reload any more, its version is the one that is counted."""
    registry, told = Registry(models, "classic", interpreters=1), []
    registry.on_load = lambda *what: told.append(what)
    registry.load()
    metadata = registry.bundles["classic"].metadata.model_copy(update={"version": 12})
    seal(models / "classic", metadata)
    registry.reload("classic")
    other = open_bundle(models / "dropconnect").metadata.model_copy(update={"version": 13})
    seal(models / "dropconnect", other)
    registry.get("dropconnect")  # opened before, loaded only now
    assert told == [("classic", 12), ("dropconnect", 13)]


def test_slow_networks_run_fewer_digits_at_a_time(models: Path) -> None:
    """A batch gives way to others as soon with a slow network as with a quick one."""
    registry = Registry(models, "classic", interpreters=1)
    registry.load()
    model = registry.get("classic")
    parts = [
        replace(model, seconds_per_image=seconds).part_size for seconds in (1e-6, 5e-5, 5e-4, 5e-3)
    ]
    assert parts == [512, 512, 48, 16]


def test_quick_networks_have_an_interpreter_for_the_event_loop(models: Path) -> None:
    """A quick network is there once more, whether it is the default or not; a slow one is not."""
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


def test_model_damaged_before_it_is_asked_for(models: Path) -> None:
    """Whoever asks for it is told why; the default goes on, and a mended bundle is served."""
    settings = Settings(model_dir=models, default_model="classic")
    twin = models / "dropconnect" / COMPILED_FILE
    whole = twin.read_bytes()
    with TestClient(create_app(settings)) as client:
        registry = client.app_state["service"].registry
        twin.write_bytes(whole[:-1])
        refused = client.post("/predict?model=dropconnect", files={"file": sample_png(7)})
        assert refused.status_code == 503
        assert "SHA-256" in refused.json()["detail"]
        assert client.post("/predict", files={"file": sample_png(7)}).status_code == 200
        assert client.get("/readyz").status_code == 200
        assert client.get("/v2/models/dropconnect/ready").status_code == 503
        twin.write_bytes(whole)
        registry.reload("dropconnect")
        mended = client.post("/predict?model=dropconnect", files={"file": sample_png(7)})
        assert mended.json()["digit"] == 7


def test_refused_bundle_is_tried_again_when_it_has_changed(models: Path) -> None:
    """Looking for changes costs nothing while a refused bundle lies there as it is."""
    served = Registry(models, "classic", interpreters=1)
    served.load()
    twin = models / "classic" / COMPILED_FILE
    whole = twin.read_bytes()
    seal(models / "classic", served.bundles["classic"].metadata)
    twin.write_bytes(whole[:-1])
    assert served.changed() == ["classic"]
    with pytest.raises(BundleError):
        served.reload("classic")
    assert served.changed() == []
    twin.write_bytes(whole)
    assert served.changed() == ["classic"]
    served.reload("classic")
    assert served.changed() == []


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nothing but counting references frees memory."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("name", ["classic", "compact"])
def test_replaced_model_is_freed_at_once(name: str) -> None:
    """A reload leaves nothing of the old model behind for Python's collector to find one day."""
    registry = Registry(REPOSITORY / "model", name, interpreters=1)
    registry.load()
    registry.reload(name)
    old = weakref.ref(registry.get(name))
    registry.reload(name)
    assert old() is None
