"""The small networks, made once."""

from pathlib import Path

import keras
import pytest

from app.inference.model import Model
from tests.inspection import networks


@pytest.fixture(scope="session")
def many_kinds() -> keras.Model:
    """A Keras network of many kinds of layer."""
    return networks.many_kinds()


@pytest.fixture(scope="session")
def kinds_model(many_kinds: keras.Model, classic: Model, tmp_path_factory) -> Model:
    """The same as the service would hold it."""
    return networks.as_model(many_kinds, tmp_path_factory.mktemp("kinds"), classic)


@pytest.fixture(scope="session")
def ensemble() -> keras.Model:
    """A Keras network of networks."""
    return networks.ensemble()


@pytest.fixture(scope="session")
def ensemble_model(ensemble: keras.Model, classic: Model, tmp_path_factory) -> Model:
    """The same as the service would hold it."""
    return networks.as_model(ensemble, tmp_path_factory.mktemp("ensemble"), classic)


@pytest.fixture(scope="session")
def classic_keras(classic: Model, tmp_path_factory) -> keras.Model:
    """The committed classic network in Keras."""
    path: Path = classic.bundle.folder / "model.keras"
    return keras.models.load_model(path, compile=False)
