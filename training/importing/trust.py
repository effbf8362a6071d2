"""Imports the Python modules that `--trust` names; their code runs."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from training.errors import ImportingError
from training.importing.config_check import LAMBDA
from training.importing.saved_model import SAVED_MODEL


def load_trusted(names: Sequence[str]) -> dict[str, Any]:
    """Import trusted modules.

    Args:
        names: Names of modules, paths of Python files, or `lambda`.

    Returns:
        The classes and functions of all modules by name, and `lambda` for code in the file itself.

    Raises:
        ImportingError: A module cannot be imported.
    """
    objects: dict[str, Any] = {}
    for name in names:
        if name in (LAMBDA, SAVED_MODEL):
            objects[name] = None
            continue
        module = _import(name)
        objects |= {key: value for key, value in vars(module).items() if callable(value)}
    return objects


def _import(name: str) -> ModuleType:
    path = Path(name)
    try:
        if path.suffix == ".py":
            spec = importlib.util.spec_from_file_location(path.stem, path)
            if spec is None or spec.loader is None:
                raise ImportingError(f"--trust {name}: this is no Python file.")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
        if "" not in sys.path:
            sys.path.insert(0, "")  # a module in the current folder
        return importlib.import_module(name)
    except Exception as error:
        raise ImportingError(
            f"--trust {name}: the module cannot be imported ({type(error).__name__}: {error})."
        ) from error
