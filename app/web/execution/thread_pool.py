"""Work off the event loop, in a bounded number of threads behind a bounded queue."""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from starlette.requests import ClientDisconnect, Request

from app.cancellation import cancel_scope
from app.errors import QueueFullError
from app.inference.registry import BATCHES
from app.process_tuning import trim_heap

P = ParamSpec("P")
T = TypeVar("T")


class BoundedThreadPool:
    """A lane: a pool of threads that says no at once when too much waits for it."""

    def __init__(
        self,
        *,
        threads: int,
        max_queue: int,
        on_wait: Callable[[float], None] = lambda seconds: None,
        rest_s: float | None = None,
    ) -> None:
        """Run `threads` calls at once and let `max_queue` wait.

        Args:
            threads: How many calls run at once.
            max_queue: How many others wait.
            on_wait: Is told of each call how many seconds it waited.
            rest_s: Idle seconds after which the threads return freed memory to the system
                (`app.process_tuning`); None if the work allocates little.
        """
        self.threads = threads
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="work")
        self._most, self._pending, self._on_wait = threads + max_queue, 0, on_wait
        self._finished_at = time.monotonic()
        self._rest_s = rest_s
        self._rest: asyncio.TimerHandle | None = None
        self._used = 0  # threads, at most

    def stalled_for(self) -> float:
        """Return for how many seconds there has been work and none was finished; 0 if idle."""
        return time.monotonic() - self._finished_at if self._pending else 0.0

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `call` returns, run in a thread.

        When the waiting task is cancelled, a call that still waits is dropped; one that runs ends
        where it next looks whether anybody waits (`app.cancellation`).

        Raises:
            QueueFullError: Too many calls wait already.
        """
        self._check_room(1)
        return await self._submit(partial(call, *args, **kwargs))

    async def run_for(
        self, request: Request, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do what `run` does for a client whose body has been read, as long as it stays.

        Raises:
            QueueFullError: Too many calls wait already.
            ClientDisconnect: The client went away; the call was dropped, or ends as `run` says.
        """
        self._check_room(1)
        work = self._submit(partial(call, *args, **kwargs))
        (result,) = await self._see_through(request, [work])
        return result

    async def run_parts_for(
        self,
        request: Request,
        call: Callable[[slice], T],
        count: int | None,
        *,
        most: int,
        arrivals: AsyncGenerator[int, None] | None = None,
    ) -> list[T]:
        """Share out `count` items among all threads, for a client as long as it stays.

        A thread takes one part after the other, without a way to the event loop between them,
        unless somebody else waits; what is left then is taken up when more has come, or all. Once
        it has begun, the whole is never refused: one call of it may wait beside a full queue.

        Args:
            request: The client's.
            call: What works on a part of the items.
            count: How many there are; None where that is known when all have come.
            most: Items of a part.
            arrivals: Gives how many items have come so far, while the body is being read; without
                it `count` have.

        Returns:
            What `call` returned of each part, in order.

        Raises:
            QueueFullError: Too many calls wait already; nothing was begun.
            ClientDisconnect: The client went away; parts that still waited were dropped.
        """
        parts = _Parts(call, count, threads=self.threads, most=most, finished=self._finished_a_part)

        def submit() -> list[asyncio.Future[None]]:
            return [
                self._submit(parts.work) for _ in range(parts.begin(self._most - self._pending))
            ]

        working: list[asyncio.Future[None]] = []
        items = 0
        try:
            async with aclosing(arrivals or all_of(count or 0)) as coming:
                async for items in coming:
                    if not parts.come:
                        self._check_room(min(self.threads, max(1, len(parts.ends))))
                    parts.arrive(items)
                    for one in working:
                        if one.done():
                            one.result()  # raises what it raised
                    working = [one for one in working if not one.done()] + submit()
            parts.complete(items)
            working += submit()
            while working or parts.left:
                await self._see_through(request, working)
                working = submit()
        finally:
            parts.drop()
            for one in working:
                one.cancel()
        return [parts.found[at] for at in range(len(parts.ends))]

    def _finished_a_part(self) -> bool:
        """Tell a thread that has finished a part whether somebody else waits for it."""
        self._finished_at = time.monotonic()
        return self._pending > self.threads

    async def _see_through(self, request: Request, work: Sequence["asyncio.Future[T]"]) -> list[T]:
        """Return what calls return, for a client whose body has been read, as long as it stays."""

        def drop(gone: asyncio.Future[None] | None = None) -> None:
            for one in work:
                one.cancel()

        gone = asyncio.ensure_future(_gone(request))
        gone.add_done_callback(drop)
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_EXCEPTION)
            if any(one.cancelled() for one in done):
                raise ClientDisconnect
            for one in done:
                one.result()  # raises what it raised
            return [one.result() for one in work]
        finally:
            gone.cancel()
            drop()

    def _submit(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        """Let a call wait for a thread."""
        loop = asyncio.get_running_loop()
        if not self._pending:
            self._finished_at = time.monotonic()
        self._pending += 1
        self._used = max(self._used, min(self._pending, self.threads))
        left = threading.Event()
        future = self._executor.submit(self._timed, time.perf_counter(), left, call)
        future.add_done_callback(partial(self._tell, loop))
        waiting = asyncio.wrap_future(future)
        waiting.add_done_callback(lambda one: left.set() if one.cancelled() else None)
        return waiting

    def _check_room(self, calls: int) -> None:
        if self._pending + calls > self._most:
            raise QueueFullError(
                f"{self._pending} requests are being worked on or wait; try again in a second."
            )

    def _timed(self, submitted: float, left: threading.Event, call: Callable[[], T]) -> T:
        self._on_wait(time.perf_counter() - submitted)
        with cancel_scope(left):
            return call()

    def _tell(self, loop: asyncio.AbstractEventLoop, future: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop has closed, before the thread was done
            loop.call_soon_threadsafe(self._finished, future)

    def _finished(self, done: Future[Any]) -> None:
        self._pending -= 1
        if not done.cancelled():  # whoever gives up says nothing of the threads
            self._finished_at = time.monotonic()
        if self._rest_s is not None and not (self._pending or self._rest):
            loop = asyncio.get_running_loop()
            self._rest = loop.call_later(self._rest_s, self._give_back)

    def _give_back(self) -> None:
        """Let each thread give back what it has freed, unless there is work again."""
        self._rest = None
        if self._pending:
            return
        together = threading.Barrier(self._used)
        with suppress(RuntimeError):  # the lane was closed while a call of it still ran
            for _ in range(self._used):
                self._executor.submit(trim_heap, together)

    def close(self) -> None:
        """Drop the calls that wait; those that run are waited for no more, as nobody else does."""
        if self._rest:
            self._rest.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)


class _Parts(Generic[T]):
    """Items that come, cut into parts, and how many threads work on these.

    A thread that finds nothing to take is no longer among the busy from then on: its future says so
    only later, and what came in between would lie there until the next comes.

    Attributes:
        ends: Where each part ends.
        come: How many parts have come.
        left: Those of them that nobody has taken.
        found: What came out of the others.
    """

    def __init__(
        self,
        call: Callable[[slice], T],
        count: int | None,
        *,
        threads: int,
        most: int,
        finished: Callable[[], bool],
    ) -> None:
        """Cut `count` items, or those that come if that is None.

        `finished` is told when a part is done, and tells whether the thread is to make way.
        """
        self._call, self._threads, self._most, self._finished = call, threads, most, finished
        self._growing = count is None
        self.ends = [] if count is None else _ends(count, threads, most)
        self.come, self.left = 0, deque[int]()
        self.found: dict[int, T] = {}
        self._busy, self._turn = 0, threading.Lock()

    def arrive(self, items: int) -> None:
        """Take note that so many items have come.

        Of a number that is not known an idle thread takes what there is; busy ones will find more.
        """
        with self._turn:
            much = items >= self._most + (self.ends[-1] if self.ends else 0)
            if self._growing and (much or self._busy < self._threads):
                self._cut(items)
            self._offer(items)

    def complete(self, items: int) -> None:
        """Take note that so many items are all."""
        with self._turn:
            self._cut(items)
            self._offer(items)

    def begin(self, room: int) -> int:
        """Return how many threads are to begin: as many as have room, or one if none works."""
        with self._turn:
            room = max(room, 0 if self._busy else 1)
            threads = min(self._threads - self._busy, len(self.left), room)
            self._busy += threads
        return threads

    def work(self) -> None:
        """Take one part after the other, in a thread, as long as nobody else waits for it."""
        makes_way = False
        while True:
            with self._turn:
                if makes_way or not self.left:
                    self._busy -= 1
                    return
                at = self.left.popleft()
            self.found[at] = self._call(slice(self.ends[at - 1] if at else 0, self.ends[at]))
            makes_way = self._finished()

    def drop(self) -> None:
        """Leave what nobody has taken."""
        with self._turn:
            self.left.clear()

    def _cut(self, items: int) -> None:
        start = self.ends[-1] if self.ends else 0
        if items > start:
            self.ends.extend(start + end for end in _ends(items - start, self._threads, self._most))

    def _offer(self, items: int) -> None:
        while self.come < len(self.ends) and self.ends[self.come] <= items:
            self.left.append(self.come)
            self.come += 1


def _ends(count: int, threads: int, most: int) -> list[int]:
    """Share out items: where each part ends.

    As many parts for each thread, of the same size: none works on while the others are idle. Large
    ones end where a run of a network in int8 does: a few images left over would run alone.
    """
    parts, run = min(count, threads * math.ceil(count / (threads * most))), BATCHES[0]
    ends = [count * number // parts for number in range(1, parts + 1)]
    if count // parts >= run:
        ends[:-1] = [round(end / run) * run for end in ends[:-1]]
    return ends


async def all_of(count: int) -> AsyncGenerator[int, None]:
    """Say that all of so many items have come."""
    yield count


async def _gone(request: Request) -> None:
    """Return when the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
