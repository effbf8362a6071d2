"""The service in a process of its own, for clients that speak HTTP themselves."""

from collections.abc import Iterator

import pytest

from tests.engine.server import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server with an admin token."""
    with serving(tmp_path_factory.mktemp("protocols"), admin_token="the admin token") as server:
        yield server
