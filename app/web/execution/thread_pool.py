"""A pool of threads with a bounded queue, for blocking work off the event loop.

Knows threads, asyncio and cancellation; knows nothing of HTTP.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

from app.cancellation import Disconnected, WorkCancelled, cancel_scope
from app.errors import QueueFullError
from app.process_tuning import trim_heap

P = ParamSpec("P")
T = TypeVar("T")


class BoundedThreadPool:
    """A pool of threads that refuses a call at once when its queue is full.

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
        trim_after_s: float | None = None,
    ) -> None:
        """Create the pool; it starts its threads when they are needed.

        Args:
            threads: Number of calls that run at once.
            max_queue: Number of calls that may wait for a thread.
            on_wait: Called in the thread before each call, with the seconds that the call waited.
            trim_after_s: Idle seconds after which the threads return freed memory to the operating
                system (`app.process_tuning`); None if the work allocates little.
        """
        self.threads = threads
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="work")
        self._max_pending, self._pending, self._on_wait = threads + max_queue, 0, on_wait
        self._last_progress = time.monotonic()
        self._trim_after_s = trim_after_s
        self._trim_timer: asyncio.TimerHandle | None = None
        self._started_threads = 0  # upper bound of the threads that the executor has started

    @property
    def room(self) -> int:
        """Return how many more calls the pool takes before it is full; below 0 if over-full."""
        return self._max_pending - self._pending

    def check_room(self, calls: int) -> None:
        """Raise if the pool has no room for so many more calls.

        Raises:
            QueueFullError: Too many calls run or wait already.
        """
        if calls > self.room:
            raise QueueFullError(
                f"The queue is full: {self._pending} requests are running or waiting; try again in"
                " a second."
            )

    def stalled_for(self) -> float:
        """Return the seconds since a call last finished while calls are pending; 0 if idle."""
        return time.monotonic() - self._last_progress if self._pending else 0.0

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `call` in a thread and return its result.

        If the waiting task is cancelled, a queued call is dropped; a running call ends at its next
        `check_cancelled` (`app.cancellation`).

        Raises:
            QueueFullError: Too many calls run or wait already.
        """
        self.check_room(1)
        return await self.submit(partial(call, *args, **kwargs))

    async def run_until(
        self, disconnected: Disconnected, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `call` as `run` does, and cancel it if `disconnected` returns first.

        Raises:
            QueueFullError: Too many calls run or wait already.
            WorkCancelled: The caller disconnected.
        """
        self.check_room(1)
        future = self.submit(partial(call, *args, **kwargs))
        (result,) = await wait_until(disconnected, [future])
        return result

    def submit(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        """Queue `call` without checking for room; return its future.

        To cancel the future drops the queued call, or sets its cancel scope if it runs already.
        """
        loop = asyncio.get_running_loop()
        if not self._pending:
            self._last_progress = time.monotonic()
        self._pending += 1
        self._started_threads = max(self._started_threads, min(self._pending, self.threads))
        cancelled = threading.Event()
        future = self._executor.submit(self._run, time.perf_counter(), cancelled, call)
        future.add_done_callback(partial(self._notify_loop, loop))
        waiting = asyncio.wrap_future(future)
        waiting.add_done_callback(lambda done: cancelled.set() if done.cancelled() else None)
        return waiting

    def note_progress(self) -> bool:
        """Note, from a thread, that a long call has finished one step.

        Returns:
            Whether other calls are waiting for a thread.
        """
        self._last_progress = time.monotonic()
        return self._pending > self.threads

    def close(self) -> None:
        """Drop the queued calls; do not wait for those that run."""
        if self._trim_timer:
            self._trim_timer.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(self, submitted: float, cancelled: threading.Event, call: Callable[[], T]) -> T:
        self._on_wait(time.perf_counter() - submitted)
        with cancel_scope(cancelled):
            return call()

    def _notify_loop(self, loop: asyncio.AbstractEventLoop, future: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop was closed while the call ran
            loop.call_soon_threadsafe(self._finish, future)

    def _finish(self, future: Future[Any]) -> None:
        self._pending -= 1
        if not future.cancelled():  # a call that was dropped from the queue is no progress
            self._last_progress = time.monotonic()
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
