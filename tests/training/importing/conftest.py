"""Imported networks, each made once for all tests of a session."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import pytest

from app.inference.model import Model
from app.inference.registry import Registry
from tests.training.importing.networks import TUTORIALS, Tutorial, write
from training.importing.options import Options, Result
from training.importing.run import import_file


@dataclass(frozen=True)
class Imported:
    """A network of a tutorial, and what the import and the service made of it."""

    tutorial: Tutorial
    original: keras.Model
    result: Result
    model: Model


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Imported]:
    """Return a function that trains, imports and loads the network of a tutorial."""
    made: dict[str, Imported] = {}
    files, models = (tmp_path_factory.mktemp(name) for name in ("files", "models"))

    def make(name: str) -> Imported:
        if name not in made:
            path, original = write(name, files)
            trust = ("lambda",) if name == "vgg" else ()
            result = import_file(path, Options(name, trust=trust), models)
            model = load(models, name)
            made[name] = Imported(TUTORIALS[name], original, result, model)
        return made[name]

    return make


def load(models: Path, name: str) -> Model:
    """Load a model as the service does."""
    registry = Registry(models, name, interpreters=1)
    registry.load()
    model = registry.get(name)
    registry.close()
    return model
