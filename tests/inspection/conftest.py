"""Fixtures: small networks, each built once per session."""

from pathlib import Path

import keras
import pytest

from app.inference.model import Model
from tests.inspection import networks


@pytest.fixture(scope="session")
def many_kinds() -> keras.Model:
    """Return a Keras network of many layer kinds."""
    return networks.many_kinds()


@pytest.fixture(scope="session")
def kinds_model(many_kinds: keras.Model, classic: Model, tmp_path_factory) -> Model:
    """Return `many_kinds` as the service holds it."""
    return networks.as_model(many_kinds, tmp_path_factory.mktemp("kinds"), classic)


@pytest.fixture(scope="session")
def ensemble() -> keras.Model:
    """Return a Keras network of networks."""
    return networks.ensemble()


@pytest.fixture(scope="session")
def ensemble_model(ensemble: keras.Model, classic: Model, tmp_path_factory) -> Model:
    """Return `ensemble` as the service holds it."""
    return networks.as_model(ensemble, tmp_path_factory.mktemp("ensemble"), classic)


@pytest.fixture(scope="session")
def classic_keras(classic: Model, tmp_path_factory) -> keras.Model:
    """Return the published classic network as a Keras model."""
    path: Path = classic.bundle.folder / "model.keras"
    return keras.models.load_model(path, compile=False)
