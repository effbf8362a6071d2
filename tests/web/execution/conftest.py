"""What the tests of pools and batches share."""

import asyncio

import pytest

from tests.web.clock import Clock


@pytest.fixture
def anyio_backend() -> str:
    """The service runs on asyncio."""
    return "asyncio"


@pytest.fixture
async def client_left() -> asyncio.Event:
    """Set this event to make the client disconnect; `client_left.wait` is its `Disconnected`."""
    return asyncio.Event()


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()
