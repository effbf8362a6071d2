"""One large batch shared out among the threads of a pool, even while its items still arrive.

Its gain: docs/performance.md, "Tried, gain, kept". Knows threads and item counts; knows nothing of
images or HTTP.
"""

import asyncio
import math
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

from app.cancellation import Disconnected
from app.web.execution.expected_wait import Kind
from app.web.execution.thread_pool import BoundedThreadPool, wait_until

T = TypeVar("T")


async def run_batch(
    pool: BoundedThreadPool,
    disconnected: Disconnected,
    kind_of: Callable[[int], Kind],
    call: Callable[[slice], T],
    count: int | None,
    *,
    max_part: int,
    run_size: int = 1,
    max_part_of: Callable[[slice], int] | None = None,
    arrivals: AsyncGenerator[int, None] | None = None,
) -> list[T]:
    """Split a batch into parts and run `call` on each, on all threads of `pool`.

    A thread takes one part after the other without a round trip to the event loop. It stops when
    other calls wait for a thread; its remaining parts are queued behind those calls. The pool
    refuses a batch only at its start: later, one call of the batch may exceed the queue.

    Args:
        pool: The threads.
        disconnected: Returns once the caller has gone.
        kind_of: Returns the kind of work of a part with so many items.
        call: Works on the items of one slice, in a thread.
        count: Number of items; None if unknown until all have arrived.
        max_part: Largest number of items in a part.
        run_size: Parts of at least this many items end at a multiple of it, so that a network that
            runs so many items at once has no small remainder in each part.
        max_part_of: Returns the largest number of items in a part of items that have arrived, at
            least `max_part`; None: always `max_part`.
        arrivals: Yields how many items have arrived so far, in increasing order; None if all
            `count` items are there.

    Returns:
        The results of `call`, in the order of the parts.

    Raises:
        QueueFullError: The pool is full; no part was started.
        ExpectedWaitError: The batch would end after its deadline; no part was started.
        WorkCancelled: The caller disconnected; queued parts were dropped.
    """
    split = _Splitter(pool.threads, max_part, run_size, max_part_of or (lambda items: max_part))
    parts = _Parts(
        call, count, split=split, should_yield=lambda items: pool.note_progress(kind_of(items))
    )

    def admit() -> None:
        threads = parts.wanted_threads
        rounds = math.ceil(len(parts.ends) / threads) or 1
        pool.admit(kind_of(parts.first_size), calls=threads, rounds=rounds)

    def start_threads() -> list[asyncio.Future[None]]:
        kind = kind_of(parts.first_size)
        return [pool.submit(kind, parts.work) for _ in range(parts.claim_threads(pool.room))]

    running: list[asyncio.Future[None]] = []
    items = 0
    try:
        if arrivals is None:
            items = count or 0
            admit()
        else:
            async with aclosing(arrivals):
                async for items in arrivals:
                    if not parts.arrived:
                        admit()
                    parts.arrive(items)
                    for future in running:
                        if future.done():
                            future.result()  # raises the exception of a part
                    running = [future for future in running if not future.done()]
                    running += start_threads()
        parts.complete(items)
        running += start_threads()
        while running or parts.unclaimed:
            await wait_until(disconnected, running)
            running = start_threads()
    finally:
        parts.drop()
        for future in running:
            future.cancel()
    return [parts.results[part] for part in range(len(parts.ends))]


class _Splitter:
    """Cuts a number of items into parts of nearly equal size."""

    def __init__(
        self, threads: int, max_part: int, run_size: int, max_part_of: Callable[[slice], int]
    ) -> None:
        self.threads, self.max_part, self._run_size = threads, max_part, run_size
        self._max_part_of = max_part_of

    def ends(self, start: int, stop: int) -> list[int]:
        """Return where each part of the items from `start` to `stop` ends.

        Every thread gets the same number of parts, so that none works alone at the end. Parts of
        at least `run_size` items end at a multiple of it, except the last.
        """
        count = stop - start
        rounds = math.ceil(count / (self.threads * self._max_part_of(slice(start, stop))))
        parts = min(count, self.threads * rounds)
        ends = [count * number // parts for number in range(1, parts + 1)]
        if count // parts >= self._run_size:
            ends[:-1] = [round(end / self._run_size) * self._run_size for end in ends[:-1]]
        return [start + end for end in ends]


class _Parts(Generic[T]):
    """The parts of one batch and the number of threads that work on them.

    Threads call `work`; the event loop calls the other methods. A thread that finds no part counts
    as idle at once, not when its future is done: parts that arrive in between would otherwise wait
    for the next arrival.

    Attributes:
        ends: End of each part, as an index of the items.
        arrived: Number of parts whose items have all arrived.
        unclaimed: Indices of arrived parts that no thread has taken.
        results: Result of each finished part, by the part's index.
    """

    def __init__(
        self,
        call: Callable[[slice], T],
        count: int | None,
        *,
        split: _Splitter,
        should_yield: Callable[[int], bool],
    ) -> None:
        """Split `count` items, or the items that arrive if it is None.

        `should_yield` is called after each part with the number of its items, and tells whether the
        thread must stop for others.
        """
        self._call, self._split, self._should_yield = call, split, should_yield
        self._count_is_unknown = count is None
        self.ends = [] if count is None else split.ends(0, count)
        self.arrived, self.unclaimed = 0, deque[int]()
        self.results: dict[int, T] = {}
        self._busy = 0  # threads that were claimed and have not ended
        self._starting = 0  # of these, the ones that have not entered `work`
        self._lock = threading.Lock()

    @property
    def wanted_threads(self) -> int:
        """Return how many threads the batch can use from the start, at least 1."""
        return min(self._split.threads, max(1, len(self.ends)))

    @property
    def first_size(self) -> int:
        """Return the number of items of the first part, which is about that of all parts."""
        return self.ends[0] if self.ends else 1

    def arrive(self, items: int) -> None:
        """Note that `items` items have arrived so far.

        In a batch of unknown size, an idle thread takes what there is. While all threads are busy,
        items collect until they fill a part.
        """
        with self._lock:
            fills_a_part = items >= self._split.max_part + (self.ends[-1] if self.ends else 0)
            if self._count_is_unknown and (fills_a_part or self._busy < self._split.threads):
                self._cut(items)
            self._offer(items)

    def complete(self, items: int) -> None:
        """Note that all items have arrived, and that there are `items` of them."""
        with self._lock:
            self._cut(items)
            self._offer(items)

    def claim_threads(self, room: int) -> int:
        """Return how many more threads to start: at most `room`, but one if none is working.

        Each thread that is starting will take one of the unclaimed parts.
        """
        with self._lock:
            room = max(room, 0 if self._busy else 1)
            parts = len(self.unclaimed) - self._starting
            threads = max(0, min(self._split.threads - self._busy, parts, room))
            self._busy += threads
            self._starting += threads
        return threads

    def work(self) -> None:
        """Work on one part after the other, in a thread, until none is left or others wait."""
        must_yield = False
        with self._lock:
            self._starting -= 1
        while True:
            with self._lock:
                if must_yield or not self.unclaimed:
                    self._busy -= 1
                    return
                part = self.unclaimed.popleft()
            start, stop = self.ends[part - 1] if part else 0, self.ends[part]
            self.results[part] = self._call(slice(start, stop))
            must_yield = self._should_yield(stop - start)

    def drop(self) -> None:
        """Drop the parts that no thread has taken."""
        with self._lock:
            self.unclaimed.clear()

    def _cut(self, items: int) -> None:
        start = self.ends[-1] if self.ends else 0
        if items > start:
            self.ends += self._split.ends(start, items)

    def _offer(self, items: int) -> None:
        while self.arrived < len(self.ends) and self.ends[self.arrived] <= items:
            self.unclaimed.append(self.arrived)
            self.arrived += 1
