"""Bounded work: what waits, what is refused, what is dropped."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncGenerator

import numpy as np
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from app.cancellation import check_cancelled
from app.errors import QueueFullError
from app.process_tuning import trim_heap
from app.web.execution.thread_pool import BoundedThreadPool
from tests.server.footprint import process_mb
from tests.server.process import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The service runs on asyncio."""
    return "asyncio"


class Connection:
    """A client that stays until it goes away."""

    def __init__(self) -> None:
        """Stay."""
        self.left = asyncio.Event()
        self.request = Request({"type": "http"}, self.receive)

    async def receive(self) -> Message:
        """Say when it has gone."""
        await self.left.wait()
        return {"type": "http.disconnect"}


async def test_results_and_errors_come_back() -> None:
    """A call's result and its exception reach whoever waits for it."""
    workers = BoundedThreadPool(threads=1, max_queue=1)
    assert await workers.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await workers.run(divmod, 1, 0)
    workers.close()


async def test_full_queue_says_no_at_once_and_recovers() -> None:
    """With one thread busy and one call waiting, a third is refused; later there is room again."""
    workers, go = BoundedThreadPool(threads=1, max_queue=1), threading.Event()
    busy = [asyncio.create_task(workers.run(go.wait, 10)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFullError, match="2 requests"):
        await workers.run(int)
    go.set()
    assert await asyncio.gather(*busy) == [True, True]
    await asyncio.sleep(0)
    assert await workers.run(int) == 0
    workers.close()


async def test_what_still_runs_is_not_waited_for() -> None:
    """To close a lane takes no time, whatever a thread is at work on."""
    workers, go, ended = BoundedThreadPool(threads=1, max_queue=1), threading.Event(), []

    def call() -> None:
        go.wait(30)
        ended.append("at last")

    busy = asyncio.create_task(workers.run(call))
    await asyncio.sleep(0)
    workers.close()
    assert not ended
    go.set()
    await busy


async def test_cancelled_call_is_dropped_from_the_queue() -> None:
    """A call whose client went away before it began is never run."""
    workers, go, ran = BoundedThreadPool(threads=1, max_queue=5), threading.Event(), []
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


async def test_running_call_learns_that_nobody_waits() -> None:
    """A call that looks between its steps ends when its task is cancelled, and frees its thread."""
    workers, loop, begun = BoundedThreadPool(threads=1, max_queue=1), asyncio.get_running_loop(), []
    at_work = asyncio.Event()

    def call() -> None:
        begun.append(True)
        loop.call_soon_threadsafe(at_work.set)
        for _ in range(30_000):
            check_cancelled()
            time.sleep(0.001)
        begun.append(False)

    task = asyncio.create_task(workers.run(call))
    await at_work.wait()
    task.cancel()
    assert await workers.run(list, "ab") == ["a", "b"]
    assert begun == [True]
    workers.close()


async def test_stall_is_told_from_idleness_and_load() -> None:
    """A lane is stalled for as long as work waits and none comes out; an idle one never is."""
    workers, go = BoundedThreadPool(threads=1, max_queue=5), threading.Event()
    assert workers.stalled_for() == 0
    busy = [asyncio.create_task(workers.run(go.wait, 10)) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert workers.stalled_for() >= 0.04
    go.set()
    await asyncio.gather(*busy)
    await asyncio.sleep(0)
    assert workers.stalled_for() == 0
    workers.close()


async def test_who_gives_up_ends_no_stall() -> None:
    """A stuck thread is told of however many others come, wait and go."""
    workers, go = BoundedThreadPool(threads=1, max_queue=5), threading.Event()
    stuck = asyncio.create_task(workers.run(go.wait, 30))
    await asyncio.sleep(0.05)
    waiting = [asyncio.create_task(workers.run(int)) for _ in range(3)]
    await asyncio.sleep(0)
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.sleep(0)
    assert workers.stalled_for() >= 0.04
    go.set()
    assert await stuck
    workers.close()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 40])
async def test_parts_cover_all_items_in_order(count: int) -> None:
    """Items are shared out in parts of at most so many, as many for each thread, in order."""
    workers, numbers = BoundedThreadPool(threads=2, max_queue=0), list(range(count))
    parts = await workers.run_parts_for(Connection().request, numbers.__getitem__, count, most=4)
    assert [one for part in parts for one in part] == numbers
    sizes = [len(part) for part in parts]
    assert max(sizes) <= 4
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == 1 or len(sizes) % 2 == 0
    workers.close()


async def test_large_parts_leave_no_few_images_to_a_run_of_their_own() -> None:
    """All but the last have as many images as whole runs of 16, and none more than it may."""
    workers = BoundedThreadPool(threads=2, max_queue=0)
    parts = await workers.run_parts_for(Connection().request, lambda part: part, 250, most=48)
    assert [part.start for part in parts] == [0, 48, 80, 128, 160, 208]
    assert [part.stop for part in parts] == [48, 80, 128, 160, 208, 250]
    workers.close()


async def test_parts_are_worked_on_by_all_threads() -> None:
    """Two threads work on parts at the same time."""
    workers, both = BoundedThreadPool(threads=2, max_queue=0), threading.Barrier(2, timeout=30)

    def call(part: slice) -> int:
        both.wait()
        return threading.get_ident()

    found = await workers.run_parts_for(Connection().request, call, 8, most=4)
    assert len(set(found)) == 2
    workers.close()


async def test_parts_are_worked_on_while_others_are_on_their_way() -> None:
    """Work on what has come goes on before the rest comes, and once more when it has."""
    workers, worked = BoundedThreadPool(threads=2, max_queue=0), asyncio.Queue[int]()
    loop = asyncio.get_running_loop()

    async def arrivals() -> AsyncGenerator[int, None]:
        for come, ended in ((1, []), (3, [3]), (4, []), (8, [6]), (12, [9, 12])):
            yield come
            assert sorted([await worked.get() for _ in ended]) == ended
            assert worked.empty()

    def call(part: slice) -> int:
        loop.call_soon_threadsafe(worked.put_nowait, part.stop)
        return part.start

    parts = workers.run_parts_for(Connection().request, call, 12, most=3, arrivals=arrivals())
    assert await asyncio.wait_for(parts, 30) == [0, 3, 6, 9]
    workers.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' allocators are their own")
async def test_a_lane_at_rest_gives_its_memory_back() -> None:
    """What its threads have freed is the system's again, soon after the last call."""
    workers, both = (
        BoundedThreadPool(threads=2, max_queue=0, rest_s=0.5),
        threading.Barrier(2, timeout=30),
    )

    def call() -> None:
        both.wait()
        arrays = [np.ones(1 << 20, np.uint8) for _ in range(30)]
        assert sum(array[-1] for array in arrays) == 30
        both.wait()

    trim_heap(threading.Barrier(1))  # from here on glibc keeps what is freed, whatever was before
    await asyncio.gather(*(workers.run(call) for _ in range(2)))
    held = process_mb(os.getpid())
    await asyncio.to_thread(eventually, lambda: process_mb(os.getpid()) < held - 40)
    workers.close()


async def test_batches_that_have_begun_share_the_queue() -> None:
    """While their bodies come, they fill it up to its end and go on with one call each."""
    workers, go = BoundedThreadPool(threads=2, max_queue=2), threading.Event()
    begun = asyncio.Event()

    async def arrivals() -> AsyncGenerator[int, None]:
        yield 1
        await begun.wait()
        yield 8

    def call(part: slice) -> range:
        go.wait(30)
        return range(part.start, part.stop)

    def batch() -> "asyncio.Task[list[range]]":
        parts = workers.run_parts_for(Connection().request, call, None, most=1, arrivals=arrivals())
        return asyncio.create_task(parts)

    batches = [batch() for _ in range(3)]
    await asyncio.to_thread(eventually, lambda: workers._pending == 3)
    begun.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert workers._pending == 4
    with pytest.raises(QueueFullError):
        await workers.run(int)
    go.set()
    for parts in await asyncio.gather(*batches):
        assert [one for part in parts for one in part] == list(range(8))
    workers.close()


async def test_items_of_unknown_number_are_worked_on_as_they_come() -> None:
    """Idle threads take what there is; while both work more gathers; the rest is shared out."""
    workers, begun = BoundedThreadPool(threads=2, max_queue=0), asyncio.Queue[slice]()
    loop, go = asyncio.get_running_loop(), threading.Semaphore(0)

    async def arrivals() -> AsyncGenerator[int, None]:
        yield 0
        yield 1
        assert await begun.get() == slice(0, 1)
        yield 2
        assert await begun.get() == slice(1, 2)
        yield 5  # both are busy: these wait until more have come than a part may have
        yield 7
        go.release()
        assert await begun.get() == slice(2, 4)
        assert await begun.get() == slice(4, 7)
        go.release()
        yield 9

    def call(part: slice) -> slice:
        loop.call_soon_threadsafe(begun.put_nowait, part)
        assert part.start > 1 or go.acquire(timeout=30)
        return part

    parts = workers.run_parts_for(Connection().request, call, None, most=4, arrivals=arrivals())
    found = await asyncio.wait_for(parts, 30)
    assert [one for part in found for one in range(part.start, part.stop)] == list(range(9))
    workers.close()


async def test_no_items_at_all_give_nothing() -> None:
    """A body may end before anything has come."""
    workers = BoundedThreadPool(threads=2, max_queue=0)

    async def arrivals() -> AsyncGenerator[int, None]:
        yield 0

    none = workers.run_parts_for(
        Connection().request, lambda part: part, None, most=4, arrivals=arrivals()
    )
    assert await none == []
    workers.close()


async def test_a_body_that_breaks_off_ends_the_work_on_it() -> None:
    """What goes wrong while the rest is awaited is raised, and nothing of it stays in the lane."""
    workers = BoundedThreadPool(threads=1, max_queue=0)

    async def arrivals() -> AsyncGenerator[int, None]:
        yield 2
        raise ClientDisconnect

    with pytest.raises(ClientDisconnect):
        await workers.run_parts_for(
            Connection().request, lambda part: None, 4, most=2, arrivals=arrivals()
        )
    await asyncio.sleep(0.05)
    assert await workers.run(int) == 0
    workers.close()


async def test_others_get_their_turn_between_two_parts() -> None:
    """What comes while a thread works on one part of many is done before the next part."""
    workers, go, order = BoundedThreadPool(threads=1, max_queue=1), threading.Event(), []

    def call(part: slice) -> None:
        go.wait(30)
        order.append(part.start)

    many = asyncio.create_task(workers.run_parts_for(Connection().request, call, 3, most=1))
    await asyncio.sleep(0)
    other = asyncio.create_task(workers.run(order.append, "other"))
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(many, other)
    assert order == [0, "other", 1, 2]
    workers.close()


@pytest.mark.parametrize("way", ["gone", "cancelled"])
async def test_parts_of_who_does_not_wait_any_more_are_dropped(way: str) -> None:
    """When the client leaves, or its time is over, the part at work is the last."""
    workers, go, begun = BoundedThreadPool(threads=1, max_queue=1), threading.Event(), []
    loop, at_work = asyncio.get_running_loop(), asyncio.Event()

    def call(part: slice) -> None:
        begun.append(part.start)
        loop.call_soon_threadsafe(at_work.set)
        go.wait(30)

    connection = Connection()
    many = asyncio.create_task(workers.run_parts_for(connection.request, call, 9, most=1))
    await at_work.wait()
    if way == "gone":
        connection.left.set()
    else:
        many.cancel()
    with pytest.raises(ClientDisconnect if way == "gone" else asyncio.CancelledError):
        await many
    go.set()
    assert await workers.run(list, "ab") == ["a", "b"]
    assert begun == [0]
    workers.close()


async def test_a_part_that_fails_ends_the_others() -> None:
    """The error of one part is raised, and parts that were not begun are dropped."""
    workers, begun = BoundedThreadPool(threads=1, max_queue=1), []

    def call(part: slice) -> None:
        begun.append(part.start)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await workers.run_parts_for(Connection().request, call, 9, most=1)
    await workers.run(int)
    assert begun == [0]
    workers.close()


async def test_parts_are_refused_where_the_queue_is_full() -> None:
    """With no room for all threads the whole is refused, and none of it is begun."""
    workers, go, begun = BoundedThreadPool(threads=2, max_queue=0), threading.Event(), []
    busy = asyncio.create_task(workers.run(go.wait, 30))
    await asyncio.sleep(0)
    with pytest.raises(QueueFullError, match="1 requests"):
        await workers.run_parts_for(Connection().request, begun.append, 9, most=1)
    go.set()
    assert await busy
    assert begun == []
    workers.close()


async def test_parts_that_have_begun_are_never_refused() -> None:
    """However many others take every place that gets free, a batch goes on to its end."""
    workers, go, refused = BoundedThreadPool(threads=1, max_queue=1), threading.Event(), []

    def call(part: slice) -> int:
        go.wait(30)
        return part.start

    many = asyncio.create_task(workers.run_parts_for(Connection().request, call, 9, most=1))

    async def ask_again_and_again() -> None:
        while not many.done():
            try:
                await workers.run(int)
            except QueueFullError as error:
                refused.append(error)
                await asyncio.sleep(0)

    others = [asyncio.create_task(ask_again_and_again()) for _ in range(8)]
    await asyncio.sleep(0)
    go.set()
    assert await many == [*range(9)]
    await asyncio.gather(*others)
    assert refused
    workers.close()
