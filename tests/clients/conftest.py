"""The environments of the generated clients."""

import os
import sys
from pathlib import Path

import pytest

CLIENTS = Path(sys.prefix) / "clients"


def _installed(name: str) -> Path:
    folder = CLIENTS / name
    if not folder.exists() and "DEMAND_CLIENTS" not in os.environ:
        pytest.skip("run `make clients` first, which needs pip and npm")
    assert folder.exists()
    return folder


@pytest.fixture(scope="session")
def python_tools() -> Path:
    """The folder of programs of the clients' own Python environment."""
    return _installed("bin")


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The packages of the clients' own Node.js environment."""
    return _installed("node_modules")
