"""Bounded work: what waits, what is refused, what is dropped."""

import asyncio
import threading

import pytest

from app.errors import QueueFullError
from app.web.work import Workers

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The service runs on asyncio."""
    return "asyncio"


async def test_results_and_errors_come_back() -> None:
    """A call's result and its exception reach whoever waits for it."""
    workers = Workers(threads=1, max_queue=1)
    assert await workers.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await workers.run(divmod, 1, 0)
    workers.close()


async def test_full_queue_says_no_at_once_and_recovers() -> None:
    """With one thread busy and one call waiting, a third is refused; later there is room again."""
    workers, go = Workers(threads=1, max_queue=1), threading.Event()
    busy = [asyncio.create_task(workers.run(go.wait, 10)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFullError, match="2 requests"):
        await workers.run(int)
    go.set()
    assert await asyncio.gather(*busy) == [True, True]
    await asyncio.sleep(0)
    assert await workers.run(int) == 0
    workers.close()


async def test_cancelled_call_is_dropped_from_the_queue() -> None:
    """A call whose client went away before it began is never run."""
    workers, go, ran = Workers(threads=1, max_queue=5), threading.Event(), []
    busy = asyncio.create_task(workers.run(go.wait, 10))
    waiting = asyncio.create_task(workers.run(ran.append, "dropped"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go.set()
    await busy
    await workers.run(ran.append, "later")
    assert ran == ["later"]
    workers.close()


async def test_stall_is_told_from_idleness_and_load() -> None:
    """A lane is stalled for as long as work waits and none comes out; an idle one never is."""
    workers, go = Workers(threads=1, max_queue=5), threading.Event()
    assert workers.stalled_for() == 0
    busy = [asyncio.create_task(workers.run(go.wait, 10)) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert workers.stalled_for() >= 0.04
    go.set()
    await asyncio.gather(*busy)
    await asyncio.sleep(0)
    assert workers.stalled_for() == 0
    workers.close()
