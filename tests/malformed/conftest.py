"""A server process to throw garbage at."""

from collections.abc import Iterator

import pytest

from tests.server.process import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server with an admin token."""
    folder = tmp_path_factory.mktemp("garbage")
    with serving(folder, admin_token="the admin token") as server:
        yield server
        assert "Traceback" not in server.log.read_text()
