"""Quick networks, run beside the event loop on all images that wait, in one go.

Images gather for as long as each turn of the event loop brings another, up to `MOST`, so nobody
waits for what has not come yet. Fewer run on the event loop, because the way to a thread and back
takes longer. So many are run by a thread, and the loop, since the network needs no Python, goes on
reading requests; what arrives meanwhile makes the next run.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from app.errors import QueueFullError
from app.inference.registry import Model
from app.recognise import Prediction, Read, predict

MOST = 16  # images of a run; more are no faster (docs/performance.md), and the first would wait
MOST_WAITING = 1024  # images; the last of them waits some 50 ms for a network of 50 us


@dataclass(frozen=True)
class _Call:
    read: Read
    model: Model
    since: float
    found: asyncio.Future[Prediction]


class Beside:
    """Runs the images of concurrent requests through a quick network."""

    def __init__(
        self,
        *,
        waited: Callable[[float], None] = lambda seconds: None,
        ran: Callable[[Sequence[Prediction], Model], None] = lambda predictions, model: None,
    ) -> None:
        """Tell `waited` how long the first image of a run waited, and `ran` what came out of it."""
        self._waited, self._ran = waited, ran
        self._waiting: deque[_Call] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside")
        self._due = False  # whether `_turn` will be called
        self._seen = 0  # images that waited a turn ago
        self._last: object = None  # connection of the last image
        self._running_since: float | None = None  # in the thread

    async def run(self, read: Read, model: Model, client: object) -> Prediction:
        """Return what the network says of a prepared image that came on the connection `client`.

        When the waiting task is cancelled, an image that still waits is dropped.

        Raises:
            QueueFullError: Too many images wait already.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise QueueFullError(f"{MOST_WAITING} images wait already; try again in a second.")
        loop = asyncio.get_running_loop()
        again, self._last = client == self._last, client
        if again and not (self._waiting or self._running_since):
            # One client that sends one after the other: no other will come in this turn.
            alone = predict([read], model)
            self._ran(alone, model)
            return alone[0]
        call = _Call(read, model, time.perf_counter(), loop.create_future())
        self._waiting.append(call)
        self._wait_a_turn(loop)
        return await call.found

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
        if self._seen < len(self._waiting) < MOST:
            self._seen = len(self._waiting)
            self._wait_a_turn(loop)
            return
        self._seen, calls = 0, self._take()
        if len(calls) == MOST:
            self._running_since = time.monotonic()
            self._thread.submit(self._work, loop, calls)
        elif calls:
            self._finish(calls, _run(calls))
            if self._waiting:
                self._wait_a_turn(loop)

    def _take(self) -> list[_Call]:
        """Take those that have waited longest, all of one model, and drop who is gone."""
        calls: list[_Call] = []
        while self._waiting and len(calls) < MOST:
            if calls and self._waiting[0].model is not calls[0].model:
                break
            call = self._waiting.popleft()
            if not call.found.done():
                calls.append(call)
        if calls:
            self._waited(time.perf_counter() - calls[0].since)
        return calls

    def _work(self, loop: asyncio.AbstractEventLoop, calls: list[_Call]) -> None:
        loop.call_soon_threadsafe(self._came_back, calls, _run(calls))

    def _came_back(self, calls: list[_Call], outcome: list[Prediction] | Exception) -> None:
        self._running_since = None
        self._finish(calls, outcome)
        if self._waiting:
            self._wait_a_turn(asyncio.get_running_loop())

    def _finish(self, calls: list[_Call], outcome: list[Prediction] | Exception) -> None:
        if isinstance(outcome, Exception):
            for call in calls:
                if not call.found.done():
                    call.found.set_exception(outcome)
            return
        for call, prediction in zip(calls, outcome, strict=True):
            if not call.found.done():
                call.found.set_result(prediction)
        self._ran(outcome, calls[0].model)


def _run(calls: list[_Call]) -> list[Prediction] | Exception:
    try:
        return predict([call.read for call in calls], calls[0].model)
    except Exception as error:  # noqa: BLE001 - every caller learns of it
        return error
