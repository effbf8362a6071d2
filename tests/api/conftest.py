"""The model that the tests of the Python API share."""

import pytest

import digitscope


@pytest.fixture(scope="session")
def model() -> digitscope.Model:
    """The committed compact model."""
    return digitscope.load("compact")
