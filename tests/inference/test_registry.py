"""When models are loaded, reloaded and freed, and what a broken bundle changes."""

import gc
import io
import os
import shutil
import weakref
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from fastapi.testclient import TestClient

import app.inference.registry as registry_module
from app.bundle import COMPILED_FILE, KERAS_FILE, METADATA, Bundle, open_bundle, seal
from app.cancellation import cancel_scope
from app.errors import NotFoundError, NotReadyError
from app.inference.model_folder import MAX_DEPTH, MAX_FILES
from app.inference.registry import Registry
from app.main import create_app
from app.samples import sample_png
from app.settings import REPOSITORY, Settings
from tests.bundles import add_bundle, replace_file, replace_member
from tests.server.process import PATIENCE_S

BLANK = np.zeros((1, 28, 28), np.uint8)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a folder with two models that tests may damage."""
    for name in ("classic", "dropconnect"):
        shutil.copytree(REPOSITORY / "model" / name, tmp_path / "model" / name)
    return tmp_path / "model"


@pytest.fixture
def small_models(tmp_path: Path) -> Path:
    """Return a folder with one small model, `default`, that tests may change."""
    add_bundle(tmp_path / "models", "default")
    return tmp_path / "models"


def test_client_that_leaves_while_a_model_is_loaded_breaks_nothing(models: Path) -> None:
    """The model is loaded for all clients, so that of the first one cannot cancel it."""
    registry = Registry(models, "classic", interpreters=1)
    registry.load()
    gone = Event()
    gone.set()
    with cancel_scope(gone):
        assert registry.get("dropconnect").runtime.predict(BLANK)
    assert registry.entries["dropconnect"].state == "ready"
    registry.close()


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


def test_versions_are_reported(models: Path) -> None:
    """The version of each model is reported at first, when it changes, and as 0 when it is gone."""
    registry, versions = Registry(models, "classic", interpreters=1), dict[str, int]()
    registry.load()
    registry.observe(lambda entry: versions.update({entry.name: entry.served_version}))
    assert versions == {name: each.metadata.version for name, each in registry.bundles.items()}
    seal(
        models / "classic", registry.bundles["classic"].metadata.model_copy(update={"version": 12})
    )
    registry.reload("classic")
    other = open_bundle(models / "dropconnect").metadata.model_copy(update={"version": 13})
    seal(models / "dropconnect", other)
    registry.get("dropconnect")  # opened above, loaded only now
    assert versions == {"classic": 12, "dropconnect": 13}
    shutil.rmtree(models / "dropconnect")
    _look(registry)
    assert versions == {"classic": 12, "dropconnect": 0}


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


def _look(registry: Registry) -> None:
    """Let changes of the files take effect: they must be the same in two looks at the folder."""
    registry.refresh()
    registry.refresh()


def _version(registry: Registry, name: str) -> int:
    return registry.get(name).bundle.metadata.version


def test_added_changed_and_removed_bundles_take_effect(small_models: Path) -> None:
    """The registry follows the folder; a change of the default's files never ends its service."""
    registry = Registry(small_models, "default", interpreters=1)
    registry.load()
    add_bundle(small_models, "other", version=2)
    _look(registry)
    assert _version(registry, "other") == 2
    old = registry.get("other")
    add_bundle(small_models, "other", version=3)
    add_bundle(small_models, "default", version=4)
    _look(registry)
    assert (_version(registry, "other"), _version(registry, "default")) == (3, 4)
    assert old.runtime.predict(BLANK).logits.shape == (1, 10)  # a request that had begun
    shutil.rmtree(small_models / "other")
    shutil.rmtree(small_models / "default")
    _look(registry)
    with pytest.raises(NotFoundError):
        registry.get("other")
    assert _version(registry, "default") == 4
    assert "is gone" in registry.entries["default"].failure
    add_bundle(small_models, "default", version=5)
    _look(registry)
    assert _version(registry, "default") == 5
    assert not registry.entries["default"].failure


def test_added_bundle_can_be_loaded_at_once(small_models: Path) -> None:
    """A reload by request takes a bundle that the watcher has not read yet."""
    registry = Registry(small_models, "default", interpreters=1)
    registry.load()
    add_bundle(small_models, "other", version=2)
    assert registry.reload("other").bundle.metadata.version == 2
    for name in ("nowhere", "../models/other", "", "."):
        with pytest.raises(NotFoundError):
            registry.reload(name)


@pytest.mark.parametrize("step", ["open_bundle", "check_bundle"])
def test_reading_a_bundle_holds_up_no_other_model(
    small_models: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """While a large bundle is hashed or checked, requests load another model."""
    add_bundle(small_models, "other")
    registry = Registry(small_models, "default", interpreters=1)
    read, is_reading, may_end = getattr(registry_module, step), Event(), Event()

    def read_slowly(source: Path | Bundle) -> object:
        if (source if isinstance(source, Path) else source.folder).name == "added":
            is_reading.set()
            assert may_end.wait(PATIENCE_S)
        return read(source)

    monkeypatch.setattr(registry_module, step, read_slowly)
    add_bundle(small_models, "added")
    with ThreadPoolExecutor() as threads:
        looks = threads.submit(_look, registry)
        try:
            assert is_reading.wait(PATIENCE_S)
            loaded = threads.submit(registry.get, "other").result(PATIENCE_S)
            assert loaded.bundle.metadata.name == "other"
        finally:
            may_end.set()
        looks.result()
    assert _version(registry, "added") == 1


def test_files_that_are_being_written_are_not_read(small_models: Path) -> None:
    """A bundle is read when its files are the same in two looks at the folder."""
    registry = Registry(small_models, "default", interpreters=1)
    registry.load()
    half = add_bundle(small_models.parent / "elsewhere", "other")
    for file in sorted(path for path in half.rglob("*") if path.is_file()):
        place = small_models / "other" / file.relative_to(half)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
        registry.refresh()
        assert "other" not in registry.entries
    registry.refresh()
    assert registry.entries["other"].state == "ready"


def test_refused_bundle_is_tried_again_when_it_changes(
    small_models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bundle that is refused is not read again until one of its files changes."""
    registry = Registry(small_models, "default", interpreters=1)
    registry.load()
    compiled = add_bundle(small_models, "default", version=2) / COMPILED_FILE
    whole = compiled.read_bytes()
    compiled.write_bytes(whole[:-1])
    for _ in range(3):
        _look(registry)
    assert _version(registry, "default") == 1
    assert "SHA-256" in registry.entries["default"].failure
    assert caplog.text.count("its old version is served on") == 1
    compiled.write_bytes(whole)
    _look(registry)
    assert _version(registry, "default") == 2
    assert not registry.entries["default"].failure


def test_repaired_files_of_a_served_model_load_nothing(small_models: Path) -> None:
    """Files that were written again with the same content leave the model in memory in place."""
    registry = Registry(small_models, "default", interpreters=1)
    registry.load()
    served = registry.get("default")
    (small_models / "default" / COMPILED_FILE).touch()
    _look(registry)
    assert registry.get("default") is served


def test_folder_that_is_gone_changes_nothing(small_models: Path) -> None:
    """If the folder cannot be read, all models stay."""
    add_bundle(small_models, "other")
    registry = Registry(small_models, "default", interpreters=1)
    registry.load()
    small_models.rename(small_models.parent / "away")
    for _ in range(2):
        with pytest.raises(OSError, match="models"):
            registry.refresh()
    assert set(registry.entries) == {"default", "other"}


def _break_deflate(bundle: Path) -> None:
    """Break the compressed bytes of a weights file, behind right hashes."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(bundle / KERAS_FILE) as old,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
        start = new.getinfo("model.weights.h5").header_offset
    content = bytearray(stream.getvalue())
    content[start + 200 : start + 600] = b"\xff" * 400
    replace_file(bundle, KERAS_FILE, bytes(content))


def _nest_folders(bundle: Path) -> None:
    """Nest folders deeper than a bundle may."""
    bundle.joinpath(*["d"] * (MAX_DEPTH + 2)).mkdir(parents=True)


def _add_files(bundle: Path) -> None:
    """Add more files than a bundle may have."""
    (bundle / "more").mkdir()
    for number in range(MAX_FILES):
        (bundle / "more" / str(number)).touch()


BROKEN: dict[str, Callable[[Path], object]] = {
    "broken deflate stream": _break_deflate,
    "configuration is a list": lambda bundle: replace_member(bundle, "config.json", b"[]"),
    "no metadata": lambda bundle: (bundle / METADATA).unlink(),
    "metadata is a list": lambda bundle: (bundle / METADATA).write_text("[]"),
    "wrong hash": lambda bundle: (bundle / COMPILED_FILE).write_bytes(b"x"),
    "deep folders": _nest_folders,
    "many files": _add_files,
    "no LiteRT model": lambda bundle: replace_file(bundle, COMPILED_FILE, b"x"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_bundle_fails_alone(small_models: Path, kind: str) -> None:
    """Its requests get 503 with the reason, in the list and in both protocols; others are served.

    It is served when it is repaired, and so is a bundle that was added meanwhile.
    """
    BROKEN[kind](add_bundle(small_models, "broken"))
    registry = Registry(small_models, "default", interpreters=1)
    settings = Settings(model_dir=small_models, default_model="default")
    with TestClient(create_app(settings, registry)) as client:
        registry.load()
        refused = client.post("/predict?model=broken", files={"file": sample_png(7)})
        assert refused.status_code == 503
        reason = registry.entries["broken"].failure
        assert reason
        assert reason in refused.json()["detail"]
        listed = {each["name"]: each for each in client.get("/models").json()["models"]}
        assert (listed["broken"]["state"], listed["broken"]["reason"]) == ("failed", reason)
        assert (listed["default"]["state"], listed["default"]["reason"]) == ("ready", None)
        index = {each["name"]: each for each in client.post("/v2/repository/index").json()}
        assert (index["broken"]["state"], index["broken"]["reason"]) == ("UNAVAILABLE", reason)
        (status,) = client.get("/v1/models/broken").json()["model_version_status"]
        assert (status["state"], status["status"]["error_message"]) == ("END", reason)
        assert client.get("/readyz").status_code == 200
        assert client.post("/predict", files={"file": sample_png(7)}).status_code == 200
        add_bundle(small_models, "broken", version=2)
        add_bundle(small_models, "added", version=3)
        _look(registry)
        for name in ("broken", "added"):
            answer = client.post(f"/predict?model={name}", files={"file": sample_png(7)})
            assert answer.status_code == 200


def test_what_is_no_bundle_is_named_with_what_to_do(
    small_models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Networks, folders and other files hinder no model; the log and `GET /models` name each."""
    (small_models / "my net.keras").write_bytes(b"PK")
    (small_models / "notes.txt").write_text("x")
    (small_models / "empty").mkdir()
    (small_models / "teachers").mkdir()
    (small_models / ".hidden").write_text("x")
    (small_models / "saved").mkdir()
    (small_models / "saved" / "saved_model.pb").write_bytes(b"")
    registry = Registry(small_models, "default", interpreters=1)
    _look(registry)
    with TestClient(
        create_app(Settings(model_dir=small_models, default_model="default"), registry)
    ) as client:
        ignored = {each["name"]: each["reason"] for each in client.get("/models").json()["ignored"]}
        assert client.post("/predict", content=sample_png(7)).status_code == 200
    assert set(ignored) == {"my net.keras", "notes.txt", "empty", "saved"}
    assert f"digitscope import '{small_models}/my net.keras'" in ignored["my net.keras"]
    assert "--trust savedmodel" in ignored["saved"]
    assert "remove it" in ignored["notes.txt"]
    assert sum("ignored" in line and "my net.keras" in line for line in caplog.messages) == 1
    (small_models / "my net.keras").unlink()
    _look(registry)
    assert "my net.keras" not in registry.ignored


UNUSABLE_NAMES = (b"bad\xff", b"two\nlines", b"bell\x07", "\u202eright".encode(), b"x" * 101)


@pytest.mark.parametrize("raw", UNUSABLE_NAMES)
def test_folder_with_an_unusable_name_is_no_model(
    small_models: Path, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder whose name no URL or JSON can carry is logged once, and hinders no request."""
    registry = Registry(small_models, "default", interpreters=1)
    folder = small_models / os.fsdecode(raw)
    folder.mkdir()
    (folder / METADATA).write_text("{}")
    _look(registry)
    settings = Settings(model_dir=small_models, default_model="default")
    for each in (registry, Registry(small_models, "default", interpreters=1)):
        with TestClient(create_app(settings, each)) as client:
            assert set(each.entries) == {"default"}
            paths = ("/models", "/metrics", "/v2/models/default")
            assert {client.get(path).status_code for path in paths} == {200}
            assert client.post("/v2/repository/index").status_code == 200
            missing = client.get("/models/nosuch")
            assert (missing.status_code, missing.json()["valid"]) == (404, ["default"])
    assert sum("rename the folder" in line for line in caplog.messages) == 2  # once a registry


@pytest.mark.parametrize("listed", [r"\ud800", r"\udcff"])
def test_reason_with_text_that_is_no_utf_8_is_shown(small_models: Path, listed: str) -> None:
    """A bundle that lists a file whose name is no UTF-8 fails alone, with a reason to read."""
    hostile = add_bundle(small_models, "hostile")
    (hostile / METADATA).write_text(f'{{"files": {{"{listed}": "x"}}}}')
    registry = Registry(small_models, "default", interpreters=1)
    settings = Settings(model_dir=small_models, default_model="default")
    with TestClient(create_app(settings, registry)) as client:
        listing = {each["name"]: each for each in client.get("/models").json()["models"]}
        assert listed in listing["hostile"]["reason"]
        assert client.post("/v2/repository/index").status_code == 200
        refused = client.post("/predict?model=hostile", files={"file": sample_png(7)})
        assert refused.status_code == 503


def test_broken_bundle_does_not_stop_the_others_from_being_read(small_models: Path) -> None:
    """Bundles that are added or changed together with broken ones take effect."""
    registry = Registry(small_models, "default", interpreters=1)
    registry.load()
    for number, harm in enumerate(BROKEN.values()):
        harm(add_bundle(small_models, f"broken-{number}"))
    add_bundle(small_models, "whole")
    add_bundle(small_models, "default", version=2)
    _look(registry)
    assert (_version(registry, "whole"), _version(registry, "default")) == (1, 2)
    for number in range(len(BROKEN)):
        with pytest.raises(NotReadyError, match="could not be loaded"):
            registry.get(f"broken-{number}")


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


@pytest.mark.usefixtures("no_collector")
def test_removed_model_is_freed_at_once(small_models: Path) -> None:
    """A model whose bundle was removed leaves the memory."""
    add_bundle(small_models, "other")
    registry = Registry(small_models, "default", interpreters=1)
    registry.load()
    old = weakref.ref(registry.get("other"))
    shutil.rmtree(small_models / "other")
    _look(registry)
    assert old() is None
