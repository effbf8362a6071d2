"""The bounded thread pool: results, refusals, cancellation, stalls and memory."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np
import pytest

from app.cancellation import WorkCancelled, check_cancelled, set_seconds_left
from app.errors import DeadlineError, ExpectedWaitError, QueueFullError
from app.process_tuning import trim_heap
from app.web.execution.expected_wait import Kind
from app.web.execution.thread_pool import BoundedThreadPool
from tests.server.footprint import process_mb
from tests.server.process import PATIENCE_S, eventually
from tests.web.clock import Clock

pytestmark = pytest.mark.anyio
T = TypeVar("T")
WORK = Kind.of("work")


async def test_results_and_exceptions_reach_the_caller() -> None:
    """The caller gets the result of its call, or the exception that the call raised."""
    pool = BoundedThreadPool(threads=1, max_queue=1)
    assert await pool.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await pool.run(divmod, 1, 0)
    pool.close()


async def test_full_queue_refuses_at_once_and_recovers() -> None:
    """With one call running and one queued, a third is refused; later there is room again."""
    pool, go = BoundedThreadPool(threads=1, max_queue=1), threading.Event()
    calls = [asyncio.create_task(pool.run(go.wait, PATIENCE_S)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFullError, match="2 requests"):
        await pool.run(int)
    go.set()
    assert await asyncio.gather(*calls) == [True, True]
    await asyncio.sleep(0)
    assert await pool.run(int) == 0
    pool.close()


async def measured_pool(threads: int, seconds: float, clock: Clock) -> BoundedThreadPool:
    """Return a pool that has run one call of the kind `WORK`, of so many seconds."""
    pool = BoundedThreadPool(threads=threads, max_queue=100, clock=clock)

    def work() -> None:
        clock.now += seconds

    await pool.run_until(stay, WORK, work)
    return pool


async def stay() -> None:
    """Never disconnect."""
    await asyncio.Event().wait()


async def with_seconds_left(seconds: float, clock: Clock, call: Callable[[], Awaitable[T]]) -> T:
    """Run a call in a task whose deadline is so many seconds away."""
    until = clock() + seconds
    set_seconds_left(lambda: until - clock())
    return await call()


async def occupy(pool: BoundedThreadPool, kind: Kind, go: threading.Event) -> "asyncio.Task[bool]":
    """Run a call that waits for `go`; return its task once it runs in a thread."""
    started = threading.Event()

    def wait() -> bool:
        started.set()
        return go.wait(PATIENCE_S)

    task = asyncio.create_task(pool.run_until(stay, kind, wait))
    assert await asyncio.to_thread(started.wait, PATIENCE_S)
    return task


async def test_call_that_would_end_too_late_is_refused(clock: Clock) -> None:
    """With ten calls of 0.2 s ahead, one with 1 s left is refused, one with 60 s is not."""
    pool, go = await measured_pool(1, 0.2, clock), threading.Event()
    calls = [await occupy(pool, WORK, go)]

    def call() -> Awaitable[bool]:
        return pool.run_until(stay, WORK, go.wait, PATIENCE_S)

    calls += [asyncio.create_task(call()) for _ in range(9)]
    await asyncio.sleep(0)
    with pytest.raises(ExpectedWaitError, match="10 requests") as refusal:
        await asyncio.create_task(with_seconds_left(1, clock, call))
    # 2 s of waiting and 0.2 s of work fit into half of the time in 1.7 s.
    assert refusal.value.headers["Retry-After"] == "2"
    accepted = asyncio.create_task(with_seconds_left(60, clock, call))
    await asyncio.sleep(0)
    go.set()
    assert all(await asyncio.gather(accepted, *calls))
    pool.close()


async def test_wait_is_known_before_the_call_is(clock: Clock) -> None:
    """A request can be refused before its body is read: if calls like those ahead were late."""
    pool, go = await measured_pool(1, 0.2, clock), threading.Event()
    pool.check_wait()
    calls = [await occupy(pool, WORK, go)]
    calls += [
        asyncio.create_task(pool.run_until(stay, WORK, go.wait, PATIENCE_S)) for _ in range(9)
    ]
    await asyncio.sleep(0)

    async def check() -> None:
        pool.check_wait()

    await asyncio.create_task(with_seconds_left(60, clock, check))
    with pytest.raises(ExpectedWaitError, match="10 requests"):
        await asyncio.create_task(with_seconds_left(1, clock, check))
    go.set()
    assert all(await asyncio.gather(*calls))
    pool.close()


async def test_slow_calls_that_were_never_measured_are_refused_at_once(clock: Clock) -> None:
    """Of eight calls of 2,000 s that come together, 10,000 s before their deadline, two are taken.

    The others learn at once that they would be too late, and when to come back, at different times.
    """
    pool, go = BoundedThreadPool(threads=1, max_queue=100, clock=clock), threading.Event()
    slow = Kind.of("explain", 8, 2_000.0)

    def call() -> Awaitable[bool]:
        return pool.run_until(stay, slow, go.wait, PATIENCE_S)

    calls = [asyncio.create_task(with_seconds_left(10_000, clock, call)) for _ in range(8)]
    await asyncio.sleep(0)
    refusals = [task.exception() for task in calls if task.done()]
    assert [type(refusal) for refusal in refusals] == 6 * [ExpectedWaitError]
    assert not any(task.done() for task in calls[:2])
    go.set()
    assert await asyncio.gather(*calls[:2]) == [True, True]
    pool.close()


async def test_call_that_need_not_wait_is_never_refused(clock: Clock) -> None:
    """A free thread takes a call even if its kind has been too slow until now."""
    pool, go = await measured_pool(2, 0.2, clock), threading.Event()
    busy = await occupy(pool, WORK, go)

    def call() -> Awaitable[int]:
        return pool.run_until(stay, WORK, int)

    assert await asyncio.create_task(with_seconds_left(0.1, clock, call)) == 0
    go.set()
    assert await busy
    pool.close()


async def test_one_call_of_a_kind_that_was_too_slow_is_tried_again(clock: Clock) -> None:
    """One slow call cannot close the service to its kind for as long as others keep it busy."""
    pool, go = await measured_pool(1, 0.2, clock), threading.Event()
    busy = await occupy(pool, Kind.of("other"), go)

    def call() -> Awaitable[bool]:
        return pool.run_until(stay, WORK, go.wait, PATIENCE_S)

    tried = asyncio.create_task(with_seconds_left(0.25, clock, call))
    await asyncio.sleep(0)
    with pytest.raises(ExpectedWaitError):
        await asyncio.create_task(with_seconds_left(0.25, clock, call))
    go.set()
    assert all(await asyncio.gather(busy, tried))
    pool.close()


@pytest.mark.parametrize(
    ("seconds", "error"),
    [(0.05, DeadlineError), (0.3, ExpectedWaitError)],
    ids=["passed", "too near"],
)
async def test_queued_call_whose_turn_comes_too_late_does_not_run(
    clock: Clock, seconds: float, error: type[Exception]
) -> None:
    """A call does not start after its deadline, nor so late that it could not end before."""
    pool, go, ran = await measured_pool(1, 0.25, clock), threading.Event(), []
    busy = await occupy(pool, Kind.of("other"), go)

    async def submit() -> None:
        await pool.submit(WORK, lambda: ran.append("too late"))

    late = asyncio.create_task(with_seconds_left(seconds, clock, submit))
    await asyncio.sleep(0)
    clock.now += 0.1
    go.set()
    with pytest.raises(error):
        await late
    assert await busy
    assert not ran
    pool.close()


async def test_close_does_not_wait_for_a_running_call() -> None:
    """Closing the pool returns at once, and a call that runs ends later."""
    pool, go, ended = BoundedThreadPool(threads=1, max_queue=1), threading.Event(), []

    def call() -> None:
        go.wait(PATIENCE_S)
        ended.append(True)

    running = asyncio.create_task(pool.run(call))
    await asyncio.sleep(0)
    pool.close()
    assert not ended
    go.set()
    await running


async def test_cancelled_call_is_dropped_from_the_queue() -> None:
    """A call whose task is cancelled while it is queued never runs."""
    pool, go, ran = BoundedThreadPool(threads=1, max_queue=5), threading.Event(), []
    running = asyncio.create_task(pool.run(go.wait, PATIENCE_S))
    queued = asyncio.create_task(pool.run(ran.append, "dropped"))
    await asyncio.sleep(0)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    go.set()
    await running
    await pool.run(ran.append, "later")
    assert ran == ["later"]
    pool.close()


@pytest.mark.parametrize("reason", ["disconnect", "cancellation"])
async def test_running_call_ends_at_its_next_check(client_left: asyncio.Event, reason: str) -> None:
    """A running call ends at `check_cancelled` when its client leaves or its task is cancelled."""
    pool, loop, progress = BoundedThreadPool(threads=1, max_queue=1), asyncio.get_running_loop(), []
    started = asyncio.Event()

    def call() -> None:
        progress.append("started")
        loop.call_soon_threadsafe(started.set)
        for _ in range(30_000):
            check_cancelled()
            time.sleep(0.001)
        progress.append("ended")

    task = asyncio.create_task(pool.run_until(client_left.wait, Kind.of("long"), call))
    await started.wait()
    if reason == "disconnect":
        client_left.set()
    else:
        task.cancel()
    with pytest.raises(WorkCancelled if reason == "disconnect" else asyncio.CancelledError):
        await task
    assert await pool.run(list, "ab") == ["a", "b"]
    assert progress == ["started"]
    pool.close()


async def test_pool_is_stalled_while_calls_wait_and_none_finishes(clock: Clock) -> None:
    """A pool is stalled for as long as calls are pending and none finishes; an idle one is not."""
    pool, go = BoundedThreadPool(threads=1, max_queue=5, clock=clock), threading.Event()
    clock.now += 5
    assert pool.stalled_for() == 0
    calls = [asyncio.create_task(pool.run(go.wait, PATIENCE_S)) for _ in range(2)]
    await asyncio.sleep(0)
    clock.now += 7
    assert pool.stalled_for() == 7
    go.set()
    await asyncio.gather(*calls)
    await asyncio.sleep(0)
    assert pool.stalled_for() == 0
    pool.close()


async def test_cancelled_calls_do_not_hide_a_stall(clock: Clock) -> None:
    """A stuck thread is reported however many queued calls are cancelled meanwhile."""
    pool, go = BoundedThreadPool(threads=1, max_queue=5, clock=clock), threading.Event()
    stuck = await occupy(pool, WORK, go)
    clock.now += 7
    queued = [asyncio.create_task(pool.run(int)) for _ in range(3)]
    await asyncio.sleep(0)
    for task in queued:
        task.cancel()
    await asyncio.gather(*queued, return_exceptions=True)
    await asyncio.sleep(0)
    assert pool.stalled_for() == 7
    go.set()
    assert await stuck
    pool.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc's heap is trimmed")
async def test_idle_pool_returns_its_memory() -> None:
    """Memory that the threads have freed goes back to the system soon after the last call."""
    pool = BoundedThreadPool(threads=2, max_queue=0, trim_after_s=0.5)
    barrier = threading.Barrier(2, timeout=PATIENCE_S)

    def call() -> float:
        arrays = [np.ones(1 << 20, np.uint8) for _ in range(30)]
        assert sum(array[-1] for array in arrays) == 30
        barrier.wait()
        held_mb = process_mb(os.getpid())
        barrier.wait()
        return held_mb

    trim_heap(threading.Barrier(1))  # sets glibc's thresholds, whatever ran before in this process
    # Measured while the arrays are in use: what else runs in this process may trim at any time.
    held_mb = min(await asyncio.gather(*(pool.run(call) for _ in range(2))))
    await asyncio.to_thread(eventually, lambda: process_mb(os.getpid()) < held_mb - 40)
    pool.close()
