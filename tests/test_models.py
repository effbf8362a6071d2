"""The models that workers take over from the process that they were forked from."""

import shutil
import threading
from pathlib import Path

import pytest

from app.bundle import COMPILED_FILE
from app.errors import BundleError
from app.models import load_for_workers, take_over_models
from app.settings import Settings
from tests.bundles import add_bundle


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with one small model, `default`."""
    add_bundle(tmp_path / "models", "default")
    return Settings(model_dir=tmp_path / "models", default_model="default")


def test_loaded_models_are_taken_over_without_a_thread(settings: Settings) -> None:
    """The default model is loaded once; loading leaves no thread that a fork would lose."""
    before = threading.active_count()
    loaded = load_for_workers(settings)
    assert threading.active_count() == before
    assert loaded.is_loaded(None)
    assert take_over_models(loaded, settings) is loaded


def test_changed_files_are_read_again(settings: Settings) -> None:
    """A worker that starts later serves what the folder holds then."""
    loaded = load_for_workers(settings)
    add_bundle(settings.model_dir, "default", version=2)
    fresh = take_over_models(loaded, settings)
    assert fresh.get(None).bundle.metadata.version == 2
    add_bundle(settings.model_dir, "added")
    assert "added" in take_over_models(fresh, settings).bundles
    (settings.model_dir / "default" / COMPILED_FILE).write_bytes(b"damaged")
    with pytest.raises(BundleError, match=COMPILED_FILE):
        take_over_models(loaded, settings)
    shutil.rmtree(settings.model_dir)
    with pytest.raises(BundleError):
        take_over_models(loaded, settings)
