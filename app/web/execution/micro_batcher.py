"""Quick networks, run beside the event loop on all images that wait, in one go.

Images gather for as long as each turn of the event loop brings another, so nobody waits for what
has not come yet. A few run on the event loop, because the way to a thread and back takes longer. As
many as take `APART_S` are run by a thread, and the loop, since the network needs no Python, goes on
reading requests and sending answers; the thread takes what arrives meanwhile, run after run, until
there are only a few again. Its runs are short, so that the answers of one are sent and the next
requests are read during the next. Loop and thread never run at the same time, and have an
interpreter for themselves: the loop may not wait until an explanation gives one back.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from app.errors import QueueFullError
from app.imaging.decode import Upload
from app.inference.registry import Model
from app.recognise import BatchResult, recognise_unchanged
from app.web.responses.predictions import prediction_texts

MAX_RUN = 16  # images of a run; more are no faster (docs/performance.md), and the first would wait
APART_S, RUN_S = 0.0008, 0.0024  # the shortest run that a thread is for, and its longest
MAX_WAITING = 1024  # images; the last waits some 50 ms for a network of 50 us

_Outcome = tuple[BatchResult, list[str]] | Exception


@dataclass(frozen=True)
class _Call:
    upload: Upload
    model: Model
    seconds: float
    since: float
    text: asyncio.Future[str]


class MicroBatcher:
    """Runs the images of concurrent requests through a quick network."""

    def __init__(
        self,
        *,
        on_wait: Callable[[Sequence[float]], None] = lambda seconds: None,
        on_run: Callable[[Sequence[BatchResult], Model], None] = lambda found, model: None,
    ) -> None:
        """Tell `on_wait` how long the images of a run waited, and `on_run` what came out of it."""
        self._on_wait, self._on_run = on_wait, on_run
        self._waiting: deque[_Call] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside")
        self._due = False  # whether `_turn` will be called
        self._seen = 0  # images that waited a turn ago
        self._last: object = None  # connection of the last image
        self._running_since: float | None = None  # in the thread

    async def run(self, upload: Upload, model: Model, client: object, seconds: float = 0.0) -> str:
        """Return what the network says of an image, as the JSON of a `PredictionAnswer`.

        When the waiting task is cancelled, an image that still waits is dropped.

        Args:
            upload: An image that goes to the network unchanged.
            model: The network.
            client: The connection that it came on.
            seconds: What it took to decode.

        Raises:
            QueueFullError: Too many images wait already.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise QueueFullError(f"{MAX_WAITING} images wait already; try again in a second.")
        loop = asyncio.get_running_loop()
        again, self._last = client == self._last, client
        if again and not (self._waiting or self._running_since):
            # One client that sends one after the other: no other will come in this turn.
            found, texts = _recognise([upload], model, seconds)
            self._on_wait((0.0,))
            self._on_run([found], model.on_event_loop)
            return texts[0]
        call = _Call(upload, model, seconds, time.perf_counter(), loop.create_future())
        self._waiting.append(call)
        self._wait_a_turn(loop)
        return await call.text

    def stalled_for(self) -> float:
        """Return for how many seconds the thread has been running the network; 0 if it is not."""
        return time.monotonic() - self._running_since if self._running_since else 0.0

    def close(self) -> None:
        """Wait for the thread."""
        self._thread.shutdown(wait=True)

    def _wait_a_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let `_turn` be called, once, after what has come in by now has been read."""
        if not (self._due or self._running_since):
            self._due = True
            loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Run what waits, unless this turn has brought another and there is room for more."""
        loop, self._due = asyncio.get_running_loop(), False
        if self._many():
            self._seen, self._running_since = 0, time.monotonic()
            self._thread.submit(self._work, loop)
        elif self._seen < len(self._waiting):
            self._seen = len(self._waiting)
            self._wait_a_turn(loop)
        else:
            self._seen = 0
            if calls := self._take(MAX_RUN):
                self._finish(calls, _run(calls))
            if self._waiting:
                self._wait_a_turn(loop)

    def _many(self) -> bool:
        """Tell whether enough images wait for a run in the thread."""
        return bool(self._waiting) and len(self._waiting) >= _images(
            self._waiting[0].model, APART_S
        )

    def _take(self, most: int) -> list[_Call]:
        """Take those that have waited longest, all of one model, and drop who is gone."""
        calls: list[_Call] = []
        while self._waiting and len(calls) < most:
            if calls and self._waiting[0].model is not calls[0].model:
                break
            call = self._waiting.popleft()
            if not call.text.done():
                calls.append(call)
        if calls:
            now = time.perf_counter()
            self._on_wait([now - call.since for call in calls])
        return calls

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run what waits, in the thread; the event loop takes none meanwhile."""
        half = 0
        while self._many():
            self._running_since = time.monotonic()
            model = self._waiting[0].model
            # Not all at once: the loop would have nothing to do until it has all answers to send.
            half = max(half, math.ceil(len(self._waiting) / 2))
            most = max(_images(model, APART_S), min(half, _images(model, RUN_S)))
            if calls := self._take(most):
                loop.call_soon_threadsafe(self._finish, calls, _run(calls))
        loop.call_soon_threadsafe(self._came_back)

    def _came_back(self) -> None:
        self._running_since = None
        if self._waiting:
            self._wait_a_turn(asyncio.get_running_loop())

    def _finish(self, calls: list[_Call], outcome: _Outcome) -> None:
        if isinstance(outcome, Exception):
            for call in calls:
                if not call.text.done():
                    call.text.set_exception(outcome)
            return
        found, texts = outcome
        for call, text in zip(calls, texts, strict=True):
            if not call.text.done():
                call.text.set_result(text)
        self._on_run([found], calls[0].model.on_event_loop)


def _images(model: Model, seconds: float) -> int:
    """Return how many images a run has that takes so long, 1..`MAX_RUN`."""
    return min(MAX_RUN, math.ceil(seconds / model.seconds))


def _run(calls: list[_Call]) -> _Outcome:
    seconds = sum(call.seconds for call in calls) / len(calls)
    try:
        return _recognise([call.upload for call in calls], calls[0].model, seconds)
    except Exception as error:  # noqa: BLE001 - every caller learns of it
        return error


def _recognise(
    uploads: list[Upload], model: Model, seconds: float
) -> tuple[BatchResult, list[str]]:
    found = recognise_unchanged(uploads, model.on_event_loop, seconds=seconds)
    return found, prediction_texts(found, model.bundle)
