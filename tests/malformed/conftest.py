"""A server process for malformed requests."""

from collections.abc import Iterator

import pytest

from tests.server.process import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own, because tests measure its memory.

    Its log must have no traceback at the end.
    """
    folder = tmp_path_factory.mktemp("malformed")
    with serving(folder, admin_token="the admin token") as server:
        yield server
        assert "Traceback" not in server.log.read_text()
