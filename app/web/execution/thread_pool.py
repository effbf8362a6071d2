"""A pool of threads with a bounded queue, for blocking work off the event loop.

A call is refused at once if the queue is full, or if it is expected to end after its deadline
(`expected_wait`). Knows threads, asyncio and cancellation; knows nothing of HTTP.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, ParamSpec, TypeVar

from app.cancellation import Disconnected, WorkCancelled, cancel_scope, seconds_left
from app.errors import DeadlineError, ExpectedWaitError, QueueFullError
from app.process_tuning import trim_heap
from app.web.execution.expected_wait import USABLE_TIME, Kind, RetryTimes, Workload

P = ParamSpec("P")
T = TypeVar("T")


class BoundedThreadPool:
    """A pool of threads that refuses a call at once if it cannot be done in time.

    All methods are called on the event loop, except `note_progress`.

    Attributes:
        threads: Number of threads.
    """

    def __init__(
        self,
        *,
        threads: int,
        max_queue: int,
        on_wait: Callable[[float], None] = lambda seconds: None,
        on_queue: Callable[[], Callable[[], object]] | None = None,
        trim_after_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the pool; it starts its threads when they are needed.

        Args:
            threads: Number of calls that run at once.
            max_queue: Number of calls that may wait for a thread.
            on_wait: Called in the thread before each call, with the seconds that the call waited.
            on_queue: Called when a call is queued; what it returns is called in the thread before
                the call, as for a trace. None: nothing is.
            trim_after_s: Idle seconds after which the threads return freed memory to the operating
                system (`app.process_tuning`); None if the work allocates little.
            clock: Returns seconds, from any thread.
        """
        self.threads = threads
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="work")
        self._max_pending, self._pending, self._on_wait = threads + max_queue, 0, on_wait
        self._on_queue = on_queue
        self._clock = clock
        self._workload, self._retry_times = Workload(threads, clock), RetryTimes(clock)
        self._last_progress = clock()
        self._trim_after_s = trim_after_s
        self._trim_timer: asyncio.TimerHandle | None = None
        self._started_threads = 0  # upper bound of the threads that the executor has started

    @property
    def room(self) -> int:
        """Return how many more calls the pool takes before it is full; below 0 if over-full."""
        return self._max_pending - self._pending

    def admit(self, kind: Kind, *, calls: int = 1, rounds: int = 1) -> None:
        """Raise unless the pool has room for new calls and can finish them in time.

        A call that would not have to wait is always admitted. So is the only one of its kind:
        otherwise one slow call could keep its kind from ever being measured again.

        Args:
            kind: What the calls do.
            calls: Number of calls.
            rounds: How often each call waits for a thread before its work is done.

        Raises:
            QueueFullError: Too many calls run or wait already.
            ExpectedWaitError: The work is expected to end after the deadline of this task.
        """
        expected, wait = self._workload.expected(kind), self._workload.wait()
        work = rounds * expected
        if calls > self.room:
            raise QueueFullError(
                f"The queue is full: {self._pending} requests are running or waiting.",
                retry_after=self._retry_times.next(0.0, work / self.threads),
            )
        excess = rounds * wait + work - USABLE_TIME * seconds_left()
        if not wait or excess <= 0 or (excess <= work and not self._workload.has(kind)):
            return
        raise self._too_late(wait, excess, work)

    @property
    def queued(self) -> int:
        """Return the number of calls that wait for a thread."""
        return max(0, self._pending - self.threads)

    @property
    def has_queue(self) -> bool:
        """Return whether calls wait for a thread."""
        return self._pending > self.threads

    def check_wait(self) -> None:
        """Raise if one more call like those that wait would end after the deadline of this task.

        Raises:
            ExpectedWaitError: It would.
        """
        wait = self._workload.wait()
        work = self.threads * wait / max(1, self._pending)
        excess = wait + work - USABLE_TIME * seconds_left()
        if self.has_queue and excess > 0:
            raise self._too_late(wait, excess, work)

    def stalled_for(self) -> float:
        """Return the seconds since a call last finished while calls are pending; 0 if idle."""
        return self._clock() - self._last_progress if self._pending else 0.0

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `call` in a thread and return its result.

        If the waiting task is cancelled, a queued call is dropped; a running call ends at its next
        `check_cancelled` (`app.cancellation`).

        Raises:
            QueueFullError: Too many calls run or wait already.
            ExpectedWaitError: The call is expected to end after its deadline.
        """
        kind = Kind.of(getattr(call, "__qualname__", ""))
        self.admit(kind)
        return await self.submit(kind, partial(call, *args, **kwargs))

    async def run_until(
        self,
        disconnected: Disconnected,
        kind: Kind,
        call: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `call` as `run` does, and cancel it if `disconnected` returns first.

        Raises:
            QueueFullError: Too many calls run or wait already.
            ExpectedWaitError: The call is expected to end after its deadline.
            WorkCancelled: The caller disconnected.
        """
        self.admit(kind)
        future = self.submit(kind, partial(call, *args, **kwargs))
        (result,) = await wait_until(disconnected, [future])
        return result

    def submit(self, kind: Kind, call: Callable[[], T]) -> "asyncio.Future[T]":
        """Queue `call` without checking for room; return its future.

        To cancel the future drops the queued call, or sets its cancel scope if it runs already. A
        call whose turn comes too late for the deadline of this task does not run: the future
        raises `DeadlineError` or `ExpectedWaitError`.
        """
        loop = asyncio.get_running_loop()
        if self._on_queue:
            call = partial(_after, self._on_queue(), call)
        if not self._pending:
            self._last_progress = self._clock()
        self._pending += 1
        self._started_threads = max(self._started_threads, min(self._pending, self.threads))
        cancelled, limits = threading.Event(), _Limits(self._clock(), seconds_left())
        self._workload.queue(kind)
        future = self._executor.submit(self._run, kind, limits, cancelled, call)
        future.add_done_callback(partial(self._notify_loop, loop, kind))
        waiting = asyncio.wrap_future(future)
        waiting.add_done_callback(lambda done: cancelled.set() if done.cancelled() else None)
        return waiting

    def note_progress(self, kind: Kind) -> bool:
        """Note, from a thread, that a long call has finished one step, which was of this kind.

        Returns:
            Whether other calls are waiting for a thread.
        """
        self._last_progress = self._clock()
        self._workload.end_step(kind)
        return self.has_queue

    def close(self) -> None:
        """Drop the queued calls; do not wait for those that run."""
        if self._trim_timer:
            self._trim_timer.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(
        self, kind: Kind, limits: "_Limits", cancelled: threading.Event, call: Callable[[], T]
    ) -> T:
        self._on_wait(self._clock() - limits.queued_at)
        self._workload.start(kind)
        succeeded = False
        try:
            self._check_in_time(kind, limits)
            with cancel_scope(cancelled):
                result = call()
            succeeded = True
            return result
        finally:
            self._workload.end(succeeded=succeeded)

    def _check_in_time(self, kind: Kind, limits: "_Limits") -> None:
        """Raise if a call whose turn has come cannot end before its deadline.

        A call that never had enough time runs all the same: the expectation may be wrong.
        """
        waited = self._clock() - limits.queued_at
        left, expected = limits.seconds - waited, self._workload.expected(kind)
        if left <= 0:
            raise DeadlineError(f"The request waited for {waited:.1f} s, until its deadline.")
        if left < expected <= limits.seconds:
            raise self._too_late(self._workload.wait(), 0.0, expected)

    def _too_late(self, wait: float, excess: float, work: float) -> ExpectedWaitError:
        """Return the error for work that would take `excess` seconds too long."""
        return ExpectedWaitError(
            f"{self._pending} requests are running or waiting: this one would wait for about"
            f" {wait:.1f} s, too long for its deadline.",
            retry_after=self._retry_times.next(min(excess, wait), work / self.threads),
        )

    def _notify_loop(
        self, loop: asyncio.AbstractEventLoop, kind: Kind, future: Future[Any]
    ) -> None:
        with suppress(RuntimeError):  # the loop was closed while the call ran
            loop.call_soon_threadsafe(self._finish, kind, future)

    def _finish(self, kind: Kind, future: Future[Any]) -> None:
        self._pending -= 1
        if future.cancelled():  # a call that was dropped from the queue is no progress
            self._workload.drop(kind)
        else:
            self._last_progress = self._clock()
        if self._trim_after_s is not None and not (self._pending or self._trim_timer):
            loop = asyncio.get_running_loop()
            self._trim_timer = loop.call_later(self._trim_after_s, self._trim)

    def _trim(self) -> None:
        """Make each thread return its freed memory to the system, if the pool is still idle."""
        self._trim_timer = None
        if self._pending:
            return
        barrier = threading.Barrier(self._started_threads)
        with suppress(RuntimeError):  # the pool was closed while a call ran
            for _ in range(self._started_threads):
                self._executor.submit(trim_heap, barrier)


class _Limits(NamedTuple):
    """When a call was queued, by the clock of the pool, and the seconds that it had left then."""

    queued_at: float
    seconds: float


def _after(first: Callable[[], object], call: Callable[[], T]) -> T:
    first()
    return call()


async def wait_until(disconnected: Disconnected, futures: Sequence["asyncio.Future[T]"]) -> list[T]:
    """Return the results of `futures`; cancel all of them if the caller leaves or one fails.

    Raises:
        WorkCancelled: `disconnected` returned before all futures were done.
        Exception: The first exception of a future.
    """

    def cancel_all(watcher: asyncio.Future[None] | None = None) -> None:
        for future in futures:
            future.cancel()

    watcher = asyncio.ensure_future(disconnected())
    watcher.add_done_callback(cancel_all)
    try:
        done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_EXCEPTION)
        if any(future.cancelled() for future in done):
            raise WorkCancelled
        for future in done:
            future.result()  # raises the exception of a future that failed
        return [future.result() for future in futures]
    finally:
        watcher.cancel()
        cancel_all()
