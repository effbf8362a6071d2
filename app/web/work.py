"""Work off the event loop, in a bounded number of threads behind a bounded queue."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from app.errors import QueueFullError

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """A pool of threads that says no at once when too much waits for it."""

    def __init__(self, *, threads: int, max_queue: int) -> None:
        """Run `threads` calls at once and let `max_queue` wait."""
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="work")
        self._most, self._pending = threads + max_queue, 0

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
        self._pending += 1
        future = self._executor.submit(partial(call, *args, **kwargs))
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._finished))
        return await asyncio.wrap_future(future)

    def _finished(self) -> None:
        self._pending -= 1

    def close(self) -> None:
        """Wait for the calls that run and drop those that wait."""
        self._executor.shutdown(wait=True, cancel_futures=True)
