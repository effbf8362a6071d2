"""The environments of the clients that public generators make."""

import os
import sys
from pathlib import Path

import pytest

CLIENTS = Path(sys.prefix) / "clients"


def _made(name: str) -> Path:
    made = CLIENTS / name
    if not made.exists() and "DEMAND_CLIENTS" not in os.environ:
        pytest.skip(f"`make clients` has not made {made.name}; it needs pip and npm")
    assert made.exists()
    return made


@pytest.fixture(scope="session")
def python_tools() -> Path:
    """The folder of programs of the clients' own Python."""
    return _made("bin")


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The packages of the clients' own Node.js."""
    return _made("node_modules")
