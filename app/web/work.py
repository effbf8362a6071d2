"""Work off the event loop, in a bounded number of threads behind a bounded queue."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from starlette.requests import ClientDisconnect, Request

from app.errors import QueueFullError

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """A lane: a pool of threads that says no at once when too much waits for it."""

    def __init__(
        self,
        *,
        threads: int,
        max_queue: int,
        waited: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """Run `threads` calls at once and let `max_queue` wait.

        `waited` is told of each call how many seconds it waited.
        """
        self.threads = threads
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="work")
        self._most, self._pending, self._waited = threads + max_queue, 0, waited
        self._finished_at = time.monotonic()

    def stalled_for(self) -> float:
        """Return for how many seconds there has been work and none was finished; 0 if idle."""
        return time.monotonic() - self._finished_at if self._pending else 0.0

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `call` returns, run in a thread.

        When the waiting task is cancelled, a call that still waits is dropped; one that runs is
        left to finish.

        Raises:
            QueueFullError: Too many calls wait already.
        """
        if self._pending >= self._most:
            raise QueueFullError(
                f"{self._pending} requests are being worked on or wait; try again in a second."
            )
        loop = asyncio.get_running_loop()
        if not self._pending:
            self._finished_at = time.monotonic()
        self._pending += 1
        future = self._executor.submit(
            self._timed, time.perf_counter(), partial(call, *args, **kwargs)
        )
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._finished))
        return await asyncio.wrap_future(future)

    async def run_for(
        self, request: Request, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do what `run` does for a client whose body has been read, as long as it stays.

        Raises:
            QueueFullError: Too many calls wait already.
            ClientDisconnect: The client went away; a call that still waited was dropped.
        """
        work = asyncio.ensure_future(self.run(call, *args, **kwargs))
        gone = asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise ClientDisconnect
        finally:
            gone.cancel()
            work.cancel()

    def _timed(self, submitted: float, call: Callable[[], T]) -> T:
        self._waited(time.perf_counter() - submitted)
        return call()

    def _finished(self) -> None:
        self._pending -= 1
        self._finished_at = time.monotonic()

    def close(self) -> None:
        """Wait for the calls that run and drop those that wait."""
        self._executor.shutdown(wait=True, cancel_futures=True)


async def _gone(request: Request) -> None:
    """Return when the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
