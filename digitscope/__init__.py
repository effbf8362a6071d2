"""digitscope from Python: recognise handwritten digits, and see how the network saw them.

    import digitscope

    model = digitscope.load("compact")
    model.predict("digit.png")

`help(digitscope.Model)` says what else a model does, and which images it takes. Importing this
module imports nothing else: each name is imported when it is first used.
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app import errors
    from app.api import (
        Activations,
        Box,
        Completeness,
        Deletion,
        Equation,
        Explanation,
        Field,
        InputSummary,
        Layer,
        Layers,
        Line,
        Metadata,
        Model,
        Page,
        PageDigit,
        Prediction,
        Preparation,
        Randomised,
        Stage,
        Unit,
        load,
        model_names,
    )
    from app.api import Image as Image
    from app.errors import DigitscopeError
    from app.version import VERSION as __version__

NOT_ON_WINDOWS = (
    "digitscope runs on Linux and does not start on Windows itself. Use WSL"
    " (https://learn.microsoft.com/windows/wsl) or Docker (docs/deploying.md)."
)

__all__ = [
    "Activations",
    "Box",
    "Completeness",
    "Deletion",
    "DigitscopeError",
    "Equation",
    "Explanation",
    "Field",
    "InputSummary",
    "Layer",
    "Layers",
    "Line",
    "Metadata",
    "Model",
    "Page",
    "PageDigit",
    "Prediction",
    "Preparation",
    "Randomised",
    "Stage",
    "Unit",
    "__version__",
    "errors",
    "load",
    "model_names",
]


def _check_package() -> None:
    """Check that `app` is this program's package, and no module of the user's.

    Raises:
        ImportError: It is another; the message says where.
    """
    spec, here = find_spec("app"), os.path.dirname(os.path.realpath(__file__))
    expected = os.path.join(os.path.dirname(here), "app", "__init__.py")
    found = spec and spec.origin
    if not found or os.path.realpath(found) != expected:
        raise ImportError(
            f"digitscope needs its own package 'app', but Python finds {found or 'none'} first."
            " Rename that, or start Python from another folder."
        )


if not TYPE_CHECKING:  # which would take every name for one that exists

    def __getattr__(name: str) -> Any:
        """Import a name when it is first used (PEP 562)."""
        match name:
            case "command":  # for the console script of older installations
                return import_module("digitscope.__main__").command
            case "__version__":
                return import_module("app.version").VERSION
            case "errors":
                return import_module("app.errors")
            case "DigitscopeError":
                return import_module("app.errors").DigitscopeError
        if name not in __dir__():
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if sys.platform == "win32":
            raise ImportError(NOT_ON_WINDOWS)
        _check_package()
        return getattr(import_module("app.api"), name)


def __dir__() -> list[str]:
    """List the public names, imported or not, for completion."""
    return sorted([*__all__, "Image"])  # `import *` must not replace Pillow's Image
