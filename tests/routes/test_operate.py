"""The probes of a process that is stalled or shutting down."""

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
    """Run the service on asyncio."""
    return "asyncio"


class StalledPool(BoundedThreadPool):
    """A pool, or micro-batcher, that has not finished any work for too long."""

    def stalled_for(self) -> float:
        """Return one second more than is allowed."""
        return MAX_STALL_S + 1


@pytest.mark.parametrize("where", ["prediction_pool", "micro_batcher"])
async def test_stalled_process_is_not_alive(client: TestClient, where: str) -> None:
    """`/livez` raises if the thread pool or the micro-batcher is stalled."""
    service = client.app_state["service"]
    with pytest.raises(StalledError, match="No prediction has finished for 61 s"):
        await livez(replace(service, **{where: StalledPool(threads=1, max_queue=0)}))


def test_probes_do_not_count_as_rejections() -> None:
    """A 503 of a readiness probe is not counted as a request that was rejected."""
    with TestClient(create_app(Settings(default_model="classic"))) as client:
        client.app_state["service"].drain.started = True
        for probe in ("/readyz", "/v2/health/ready"):
            assert client.get(probe).status_code == 503
        assert metric(client.get("/metrics").text, "digitscope_rejections_total") == 0


def test_metrics_count_the_request_that_asks(client: TestClient) -> None:
    """One request is in flight, the scrape itself; the process has its own metrics."""
    for _ in range(2):
        text = client.get("/metrics").text
        assert metric(text, "digitscope_requests_in_flight") == 1
        assert metric(text, "digitscope_queued") == 0
    assert metric(text, "process_resident_memory_bytes") > 10_000_000
