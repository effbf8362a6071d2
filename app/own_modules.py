"""Starts modules of this program in processes of their own, from whichever folder it was started.

Python would search the current folder first, where a user may have an `app.py` or a folder `app`.
"""

import os
import sys
from pathlib import Path

_ROOT = str(Path(__file__).parents[1])


def command_for(module: str) -> list[str]:
    """Return the words that run a module of this program."""
    return [sys.executable, "-P", "-m", module]


def environment_for(**further: str) -> dict[str, str]:
    """Return the environment in which such a module is found, with further variables."""
    path = os.pathsep.join([_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, **further, "PYTHONPATH": path}
