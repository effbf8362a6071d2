"""What probes say of a process whose predictions no longer come out."""

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from app.errors import StalledError
from app.routes.operate import STALLED_S, livez
from app.web.work import Workers

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The service runs on asyncio."""
    return "asyncio"


class Stuck(Workers):
    """What has had work for long, and finished none."""

    def stalled_for(self) -> float:
        """Say a little more than is let pass."""
        return STALLED_S + 1


@pytest.mark.parametrize("where", ["fast", "beside"])
async def test_process_that_is_stuck_is_not_alive(client: TestClient, where: str) -> None:
    """Whether in the threads or where quick networks run, work that is stuck for long is told."""
    service = client.app_state["service"]
    with pytest.raises(StalledError, match="No prediction came out for 61 s"):
        await livez(replace(service, **{where: Stuck(threads=1, max_queue=0)}))
