"""Batches that are shared out among threads: order, arrivals, fairness, cancellation, refusals."""

import asyncio
import threading
from collections.abc import AsyncGenerator

import pytest

from app.cancellation import WorkCancelled
from app.errors import QueueFullError
from app.web.execution.expected_wait import Kind
from app.web.execution.parallel_batch import run_batch
from app.web.execution.thread_pool import BoundedThreadPool
from tests.server.process import PATIENCE_S, eventually

pytestmark = pytest.mark.anyio


def part_kind(items: int) -> Kind:
    """Return the kind of work of a part."""
    return Kind.of("part", items)


async def stay() -> None:
    """Never disconnect."""
    await asyncio.Event().wait()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 40])
async def test_parts_cover_all_items_in_order(count: int) -> None:
    """Parts cover all items in order, differ by one item at most, and are even in number."""
    pool, numbers = BoundedThreadPool(threads=2, max_queue=0), list(range(count))
    parts = await run_batch(pool, stay, part_kind, numbers.__getitem__, count, max_part=4)
    assert [number for part in parts for number in part] == numbers
    sizes = [len(part) for part in parts]
    assert max(sizes) <= 4
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == 1 or len(sizes) % 2 == 0
    pool.close()


async def test_large_parts_end_at_a_multiple_of_the_run_size() -> None:
    """Every part but the last is a whole number of runs, and none is larger than allowed."""
    pool = BoundedThreadPool(threads=2, max_queue=0)
    parts = await run_batch(pool, stay, part_kind, lambda part: part, 250, max_part=48, run_size=16)
    assert [part.start for part in parts] == [0, 48, 80, 128, 160, 208]
    assert [part.stop for part in parts] == [48, 80, 128, 160, 208, 250]
    pool.close()


async def test_size_of_parts_may_depend_on_the_items() -> None:
    """Items that take little time come in larger parts than others of the same batch."""
    pool = BoundedThreadPool(threads=1, max_queue=0)

    async def arrivals() -> AsyncGenerator[int, None]:
        yield 8
        yield 16

    parts = await run_batch(
        pool,
        stay,
        part_kind,
        lambda part: part.stop - part.start,
        None,
        max_part=2,
        max_part_of=lambda items: 8 if items.start == 0 else 2,
        arrivals=arrivals(),
    )
    assert parts == [8, 2, 2, 2, 2]
    pool.close()


async def test_all_threads_work_on_a_batch() -> None:
    """Two threads work on two parts at the same time."""
    pool, barrier = (
        BoundedThreadPool(threads=2, max_queue=0),
        threading.Barrier(2, timeout=PATIENCE_S),
    )

    def call(part: slice) -> int:
        barrier.wait()
        return threading.get_ident()

    threads = await run_batch(pool, stay, part_kind, call, 8, max_part=4)
    assert len(set(threads)) == 2
    pool.close()


async def test_parts_run_while_later_items_arrive() -> None:
    """A part runs as soon as all its items have arrived."""
    pool, finished = BoundedThreadPool(threads=2, max_queue=0), asyncio.Queue[int]()
    loop = asyncio.get_running_loop()

    async def arrivals() -> AsyncGenerator[int, None]:
        for arrived, ends in ((1, []), (3, [3]), (4, []), (8, [6]), (12, [9, 12])):
            yield arrived
            assert sorted([await finished.get() for _ in ends]) == ends
            assert finished.empty()

    def call(part: slice) -> int:
        loop.call_soon_threadsafe(finished.put_nowait, part.stop)
        return part.start

    parts = run_batch(pool, stay, part_kind, call, 12, max_part=3, arrivals=arrivals())
    assert await asyncio.wait_for(parts, PATIENCE_S) == [0, 3, 6, 9]
    pool.close()


async def test_started_batches_share_the_queue() -> None:
    """Batches that have started fill the queue up to its limit and go on with one call each."""
    pool, go = BoundedThreadPool(threads=2, max_queue=2), threading.Event()
    all_started = asyncio.Event()

    async def arrivals() -> AsyncGenerator[int, None]:
        yield 1
        await all_started.wait()
        yield 8

    def call(part: slice) -> range:
        go.wait(PATIENCE_S)
        return range(part.start, part.stop)

    def batch() -> "asyncio.Task[list[range]]":
        parts = run_batch(pool, stay, part_kind, call, None, max_part=1, arrivals=arrivals())
        return asyncio.create_task(parts)

    batches = [batch() for _ in range(3)]
    await asyncio.to_thread(eventually, lambda: pool.room == 1)
    all_started.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert pool.room == 0
    with pytest.raises(QueueFullError):
        await pool.run(int)
    go.set()
    for parts in await asyncio.gather(*batches):
        assert [item for part in parts for item in part] == list(range(8))
    pool.close()


@pytest.mark.parametrize("size", [None, 1], ids=["unknown size", "known size"])
async def test_batch_of_one_item_takes_one_place_in_the_queue(size: int | None) -> None:
    """As many batches of one item as the stated queue are accepted, before any thread starts."""
    pool, go = BoundedThreadPool(threads=2, max_queue=62), threading.Event()

    async def arrivals() -> AsyncGenerator[int, None]:
        yield 1

    def call(part: slice) -> int:
        go.wait(PATIENCE_S)
        return part.stop

    def batch() -> "asyncio.Task[list[int]]":
        parts = run_batch(pool, stay, part_kind, call, size, max_part=4, arrivals=arrivals())
        return asyncio.create_task(parts)

    batches = [batch() for _ in range(64)]
    await asyncio.to_thread(eventually, lambda: pool.room == 0)
    with pytest.raises(QueueFullError):
        await batch()
    go.set()
    assert await asyncio.gather(*batches) == [[1]] * 64
    pool.close()


async def test_batch_of_unknown_size_runs_as_items_arrive() -> None:
    """Idle threads take what there is; while all are busy, items collect until they fill a part."""
    pool, started = BoundedThreadPool(threads=2, max_queue=0), asyncio.Queue[slice]()
    loop, go = asyncio.get_running_loop(), threading.Semaphore(0)

    async def arrivals() -> AsyncGenerator[int, None]:
        yield 0
        yield 1
        assert await started.get() == slice(0, 1)
        yield 2
        assert await started.get() == slice(1, 2)
        yield 5  # both threads are busy and three items do not fill a part of four
        yield 7
        go.release()
        assert await started.get() == slice(2, 4)
        assert await started.get() == slice(4, 7)
        go.release()
        yield 9

    def call(part: slice) -> slice:
        loop.call_soon_threadsafe(started.put_nowait, part)
        assert part.start > 1 or go.acquire(timeout=PATIENCE_S)
        return part

    batch = run_batch(pool, stay, part_kind, call, None, max_part=4, arrivals=arrivals())
    parts = await asyncio.wait_for(batch, PATIENCE_S)
    assert [item for part in parts for item in range(part.start, part.stop)] == list(range(9))
    pool.close()


async def test_batch_without_items_gives_no_results() -> None:
    """A batch whose body ends before any item arrives has no parts."""
    pool = BoundedThreadPool(threads=2, max_queue=0)

    async def arrivals() -> AsyncGenerator[int, None]:
        yield 0

    batch = run_batch(
        pool, stay, part_kind, lambda part: part, None, max_part=4, arrivals=arrivals()
    )
    assert await batch == []
    pool.close()


async def test_error_while_items_arrive_ends_the_batch() -> None:
    """An exception of the arrivals is raised, and no part of the batch stays in the pool."""
    pool = BoundedThreadPool(threads=1, max_queue=0)

    async def arrivals() -> AsyncGenerator[int, None]:
        yield 2
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await run_batch(
            pool, stay, part_kind, lambda part: None, 4, max_part=2, arrivals=arrivals()
        )
    await asyncio.to_thread(eventually, lambda: pool.room == 1)
    assert await pool.run(int) == 0
    pool.close()


async def test_other_calls_run_between_two_parts() -> None:
    """A call that arrives while a thread works on a part runs before the next part."""
    pool, go, order = BoundedThreadPool(threads=1, max_queue=1), threading.Event(), []

    def call(part: slice) -> None:
        go.wait(PATIENCE_S)
        order.append(part.start)

    batch = asyncio.create_task(run_batch(pool, stay, part_kind, call, 3, max_part=1))
    await asyncio.sleep(0)
    other = asyncio.create_task(pool.run(order.append, "other"))
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(batch, other)
    assert order == [0, "other", 1, 2]
    pool.close()


@pytest.mark.parametrize("reason", ["disconnect", "cancellation"])
async def test_no_part_starts_after_cancellation(client_left: asyncio.Event, reason: str) -> None:
    """When the client leaves or the task is cancelled, the running part is the last one."""
    pool, go, started_parts = BoundedThreadPool(threads=1, max_queue=1), threading.Event(), []
    loop, started = asyncio.get_running_loop(), asyncio.Event()

    def call(part: slice) -> None:
        started_parts.append(part.start)
        loop.call_soon_threadsafe(started.set)
        go.wait(PATIENCE_S)

    batch = asyncio.create_task(run_batch(pool, client_left.wait, part_kind, call, 9, max_part=1))
    await started.wait()
    if reason == "disconnect":
        client_left.set()
    else:
        batch.cancel()
    with pytest.raises(WorkCancelled if reason == "disconnect" else asyncio.CancelledError):
        await batch
    go.set()
    assert await pool.run(list, "ab") == ["a", "b"]
    assert started_parts == [0]
    pool.close()


async def test_exception_of_one_part_ends_the_batch() -> None:
    """The exception of one part is raised, and parts that have not started are dropped."""
    pool, started = BoundedThreadPool(threads=1, max_queue=1), []

    def call(part: slice) -> None:
        started.append(part.start)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_batch(pool, stay, part_kind, call, 9, max_part=1)
    await pool.run(int)
    assert started == [0]
    pool.close()


async def test_batch_is_refused_without_room_for_all_threads() -> None:
    """Without room for one call per thread, the batch is refused and no part starts."""
    pool, go, started = BoundedThreadPool(threads=2, max_queue=0), threading.Event(), []
    running = asyncio.create_task(pool.run(go.wait, PATIENCE_S))
    await asyncio.sleep(0)
    with pytest.raises(QueueFullError, match="1 requests"):
        await run_batch(pool, stay, part_kind, started.append, 9, max_part=1)
    go.set()
    assert await running
    assert started == []
    pool.close()


async def test_started_batch_is_never_refused() -> None:
    """A batch that has started ends, even if other calls take every place that becomes free."""
    pool, go, refusals = BoundedThreadPool(threads=1, max_queue=1), threading.Event(), []

    def call(part: slice) -> int:
        go.wait(PATIENCE_S)
        return part.start

    batch = asyncio.create_task(run_batch(pool, stay, part_kind, call, 9, max_part=1))

    async def call_repeatedly() -> None:
        while not batch.done():
            try:
                await pool.run(int)
            except QueueFullError as error:
                refusals.append(error)
                await asyncio.sleep(0)

    others = [asyncio.create_task(call_repeatedly()) for _ in range(8)]
    await asyncio.sleep(0)
    go.set()
    assert await batch == [*range(9)]
    await asyncio.gather(*others)
    assert refusals
    pool.close()
