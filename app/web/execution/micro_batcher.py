"""Micro-batching: runs the images of concurrent requests through a fast network together.

A request has one image, or a few.

Images collect while each iteration of the event loop brings another one, so no image waits for
requests that may never come. A few images run on the event loop itself, because a round trip to a
thread takes longer than the network. Many images (`MIN_THREAD_RUN_S`) run in one thread. LiteRT
releases the interpreter lock, so the event loop reads requests and sends responses meanwhile. The
thread makes short runs and takes whatever has arrived since the last one, until few images are
left. Loop and thread never run a network at the same time. They use an interpreter of their own,
because the event loop must not wait until an explanation releases one.

Its gain: docs/performance.md, "Tried, gain, kept". Knows models and asyncio; knows nothing of HTTP
or JSON.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from app.bundle import Bundle
from app.errors import QueueFullError
from app.inference.model import Model
from app.predictions import BatchResult
from app.recognise import Unprepared, recognise_unprepared

MAX_RUN = 16  # images; a larger run is no faster, and its first image would wait longer
MIN_THREAD_RUN_S = 0.0008  # seconds; below this the round trip to the thread costs more
MAX_THREAD_RUN_S = 0.0024  # seconds; the responses of one run are sent during the next
MAX_WAITING = 1024  # images; the last one waits about 50 ms at 50 us each


class Rows(Protocol):
    """What is written for a batch: one row for each image, such as a list or an array."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Return the rows of some of the images."""
        ...


R = TypeVar("R", bound=Rows)
Write = Callable[[BatchResult, Bundle], R]  # called where the network ran
_Outcome = tuple[BatchResult, Rows] | Exception


@dataclass(frozen=True)
class _Call:
    """The images of one request, which wait for their run.

    Attributes:
        images: The images.
        model: The network to run.
        write: Makes the rows of the answer.
        preparation_s: Seconds that the preparation of an image took.
        queued_at: When the images were queued, by `time.perf_counter`.
        rows: Future of the rows of these images.
    """

    images: Unprepared
    model: Model
    write: Write[Rows]
    preparation_s: float
    queued_at: float
    rows: asyncio.Future[Any]

    @property
    def size(self) -> int:
        """Return the number of images."""
        return len(self.images.pixels)

    def joins(self, other: "_Call") -> bool:
        """Return whether both can be in one run."""
        return self.model is other.model and self.write is other.write


class MicroBatcher:
    """Runs the images of concurrent requests through a fast network."""

    def __init__(
        self,
        *,
        on_wait: Callable[[Sequence[float]], None] = lambda seconds: None,
        on_run: Callable[[Sequence[BatchResult], Model], None] = lambda results, model: None,
    ) -> None:
        """Create the batcher and its thread.

        Args:
            on_wait: Called before each run with the seconds that each of its requests waited.
            on_run: Called on the event loop after each run, with its result.
        """
        self._on_wait, self._on_run = on_wait, on_run
        self._waiting: deque[_Call] = deque()
        self._arrived = self._taken = 0  # images in all; only one thread at a time takes some
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="micro-batch")
        self._is_scheduled = False  # whether the event loop will call `_on_iteration`
        self._waiting_before = 0  # requests that waited one iteration ago
        self._last_client: object = None
        self._thread_run_since: float | None = None  # None while the thread is idle

    async def run(
        self,
        images: Unprepared,
        model: Model,
        write: Write[R],
        *,
        client: object,
        preparation_s: float = 0.0,
    ) -> R:
        """Recognise the images of a request and return the rows that `write` makes of them.

        If the waiting task is cancelled, the queued images are dropped.

        Args:
            images: At most `max_images` images.
            model: The network.
            write: Makes one row for each image of a run.
            client: Identifies the connection. If it is that of the previous request, and none is
                waiting, the images run at once: one connection has one request at a time.
            preparation_s: Seconds that the preparation of an image took.

        Raises:
            QueueFullError: `MAX_WAITING` images are waiting already.
        """
        if self.queued >= MAX_WAITING:
            raise QueueFullError(f"{MAX_WAITING} images are waiting.")
        loop = asyncio.get_running_loop()
        is_same_client, self._last_client = client == self._last_client, client
        if is_same_client and not (self._waiting or self._thread_run_since):
            result, rows = _recognise([images], model, write, preparation_s)
            self._on_wait((0.0,))
            self._on_run([result], model.on_event_loop)
            return rows
        call = _Call(images, model, write, preparation_s, time.perf_counter(), loop.create_future())
        self._waiting.append(call)
        self._arrived += call.size
        self._schedule(loop)
        own: R = await call.rows
        return own

    @property
    def queued(self) -> int:
        """Return the number of images that wait."""
        return self._arrived - self._taken

    def stalled_for(self) -> float:
        """Return the seconds since the thread began its current run; 0 if it is idle."""
        return time.monotonic() - self._thread_run_since if self._thread_run_since else 0.0

    def close(self) -> None:
        """Wait until the thread has ended."""
        self._thread.shutdown(wait=True)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Call `_on_iteration` once, after the event loop has read what has arrived by now."""
        if not (self._is_scheduled or self._thread_run_since):
            self._is_scheduled = True
            loop.call_soon(self._on_iteration)

    def _on_iteration(self) -> None:
        """Run the waiting images, unless this iteration brought another and there is room."""
        loop, self._is_scheduled = asyncio.get_running_loop(), False
        if self._needs_thread():
            self._waiting_before, self._thread_run_since = 0, time.monotonic()
            self._thread.submit(self._work, loop)
        elif self._waiting_before < len(self._waiting):
            self._waiting_before = len(self._waiting)
            self._schedule(loop)
        else:
            self._waiting_before = 0
            if calls := self._take(MAX_RUN):
                self._finish(calls, _run(calls))
            if self._waiting:
                self._schedule(loop)

    def _needs_thread(self) -> bool:
        """Return whether enough images wait for a run in the thread."""
        if not self._waiting:
            return False
        return self.queued * self._waiting[0].model.seconds_per_image >= MIN_THREAD_RUN_S

    def _take(self, at_most: int) -> list[_Call]:
        """Take the oldest requests with one model and kind of answer, and at most so many images.

        Drop those that were cancelled. The oldest is taken whatever its size.
        """
        calls: list[_Call] = []
        room = at_most
        while self._waiting:
            call = self._waiting[0]
            if calls and not (calls[0].joins(call) and call.size <= room):
                break
            self._waiting.popleft()
            self._taken += call.size
            if not call.rows.done():
                calls.append(call)
                room -= call.size
        if calls:
            now = time.perf_counter()
            self._on_wait([now - call.queued_at for call in calls])
        return calls

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the waiting images in the thread until few are left; the loop takes none meanwhile.

        A run has at most half of the images that wait: the event loop sends the responses of one
        half while the other half runs.
        """
        half = 0
        while self._needs_thread():
            self._thread_run_since = time.monotonic()
            model = self._waiting[0].model
            half = max(half, math.ceil(self.queued / 2))
            size = max(max_images(model), min(half, _images_in(MAX_THREAD_RUN_S, model)))
            if calls := self._take(size):
                loop.call_soon_threadsafe(self._finish, calls, _run(calls))
        loop.call_soon_threadsafe(self._on_thread_idle)

    def _on_thread_idle(self) -> None:
        self._thread_run_since = None
        if self._waiting:
            self._schedule(asyncio.get_running_loop())

    def _finish(self, calls: list[_Call], outcome: _Outcome) -> None:
        """Resolve the futures of one run, on the event loop."""
        if isinstance(outcome, Exception):
            for call in calls:
                if not call.rows.done():
                    call.rows.set_exception(outcome)
            return
        result, rows = outcome
        start = 0
        for call in calls:
            stop = start + call.size
            if not call.rows.done():
                call.rows.set_result(rows[start:stop])
            start = stop
        self._on_run([result], calls[0].model.on_event_loop)


def max_images(model: Model) -> int:
    """Return how many images a request may have, so that the event loop can run them at once."""
    return _images_in(MIN_THREAD_RUN_S, model)


def _run(calls: Sequence[_Call]) -> _Outcome:
    """Return the result of one run, or the error that each of its callers raises."""
    preparation_s = sum(call.preparation_s for call in calls) / len(calls)
    try:
        return _recognise(
            [call.images for call in calls], calls[0].model, calls[0].write, preparation_s
        )
    except Exception as error:  # noqa: BLE001 - each caller of the run raises it
        return error


def _recognise(
    images: Sequence[Unprepared], model: Model, write: Write[R], preparation_s: float
) -> tuple[BatchResult, R]:
    result = recognise_unprepared(images, model.on_event_loop, preparation_s=preparation_s)
    return result, write(result, model.bundle)


def _images_in(seconds: float, model: Model) -> int:
    """Return the size of a run that takes about `seconds`, 1..`MAX_RUN` images."""
    return min(MAX_RUN, math.ceil(seconds / model.seconds_per_image))
