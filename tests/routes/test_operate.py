"""What probes say of a process whose predictions no longer come out."""

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from app.errors import StalledError
from app.main import create_app
from app.routes.operate import MAX_STALL_S, livez
from app.settings import Settings
from app.web.execution.thread_pool import BoundedThreadPool
from tests.server.process import metric

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The service runs on asyncio."""
    return "asyncio"


class Stuck(BoundedThreadPool):
    """What has had work for long, and finished none."""

    def stalled_for(self) -> float:
        """Say a little more than is let pass."""
        return MAX_STALL_S + 1


@pytest.mark.parametrize("where", ["prediction_pool", "micro_batcher"])
async def test_process_that_is_stuck_is_not_alive(client: TestClient, where: str) -> None:
    """Whether in the threads or where quick networks run, work that is stuck for long is told."""
    service = client.app_state["service"]
    with pytest.raises(StalledError, match="No prediction has finished for 61 s"):
        await livez(replace(service, **{where: Stuck(threads=1, max_queue=0)}))


def test_what_probes_are_told_is_no_refusal() -> None:
    """A process that is not ready says 503, and is not said to be too busy for its probes."""
    with TestClient(create_app(Settings(default_model="classic"))) as client:
        client.app_state["service"].drain.begun = True
        for probe in ("/readyz", "/v2/health/ready"):
            assert client.get(probe).status_code == 503
        assert metric(client.get("/metrics").text, "digitscope_rejections_total") == 0
