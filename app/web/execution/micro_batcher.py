"""Micro-batching: runs the images of concurrent requests through a fast network together.

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

from app.bundle import Bundle
from app.errors import QueueFullError
from app.imaging.decode import Upload
from app.inference.model import Model
from app.predictions import BatchResult
from app.recognise import recognise_passthrough

MAX_RUN = 16  # images; a larger run is no faster, and its first image would wait longer
MIN_THREAD_RUN_S = 0.0008  # seconds; below this the round trip to the thread costs more
MAX_THREAD_RUN_S = 0.0024  # seconds; the responses of one run are sent during the next
MAX_WAITING = 1024  # images; the last one waits about 50 ms at 50 us each

_Outcome = tuple[BatchResult, list[str]] | Exception


@dataclass(frozen=True)
class _Call:
    """One image that waits for its run.

    Attributes:
        upload: The decoded image.
        model: The network to run.
        decode_s: Seconds that decoding took.
        queued_at: When the image was queued, by `time.perf_counter`.
        text: Future of the response's text.
    """

    upload: Upload
    model: Model
    decode_s: float
    queued_at: float
    text: asyncio.Future[str]


class MicroBatcher:
    """Runs the images of concurrent requests through a fast network."""

    def __init__(
        self,
        write: Callable[[BatchResult, Bundle], list[str]],
        *,
        on_wait: Callable[[Sequence[float]], None] = lambda seconds: None,
        on_run: Callable[[Sequence[BatchResult], Model], None] = lambda results, model: None,
    ) -> None:
        """Create the batcher and its thread.

        Args:
            write: Returns one text for each image of a result; called where the network ran.
            on_wait: Called before each run with the seconds that each of its images waited.
            on_run: Called on the event loop after each run, with its result.
        """
        self._write, self._on_wait, self._on_run = write, on_wait, on_run
        self._waiting: deque[_Call] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="micro-batch")
        self._is_scheduled = False  # whether the event loop will call `_on_iteration`
        self._waiting_before = 0  # images that waited one iteration ago
        self._last_client: object = None
        self._thread_run_since: float | None = None  # None while the thread is idle

    async def run(self, upload: Upload, model: Model, client: object, decode_s: float = 0.0) -> str:
        """Recognise one image and return the text that `write` makes of the result.

        If the waiting task is cancelled, a queued image is dropped.

        Args:
            upload: An image that goes to the network unchanged.
            model: The network.
            client: Identifies the connection. If it is that of the previous image, and none is
                waiting, the image runs at once: one connection has one request at a time.
            decode_s: Seconds that decoding the image took.

        Raises:
            QueueFullError: `MAX_WAITING` images are waiting already.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise QueueFullError(f"{MAX_WAITING} images are waiting.")
        loop = asyncio.get_running_loop()
        is_same_client, self._last_client = client == self._last_client, client
        if is_same_client and not (self._waiting or self._thread_run_since):
            result, texts = self._recognise([upload], model, decode_s)
            self._on_wait((0.0,))
            self._on_run([result], model.on_event_loop)
            return texts[0]
        call = _Call(upload, model, decode_s, time.perf_counter(), loop.create_future())
        self._waiting.append(call)
        self._schedule(loop)
        return await call.text

    @property
    def queued(self) -> int:
        """Return the number of images that wait."""
        return len(self._waiting)

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
                self._finish(calls, self._run(calls))
            if self._waiting:
                self._schedule(loop)

    def _needs_thread(self) -> bool:
        """Return whether enough images wait for a run in the thread."""
        if not self._waiting:
            return False
        return len(self._waiting) >= _images_in(MIN_THREAD_RUN_S, self._waiting[0].model)

    def _take(self, max_images: int) -> list[_Call]:
        """Take the oldest waiting images of one model; drop those whose request was cancelled."""
        calls: list[_Call] = []
        while self._waiting and len(calls) < max_images:
            if calls and self._waiting[0].model is not calls[0].model:
                break
            call = self._waiting.popleft()
            if not call.text.done():
                calls.append(call)
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
            half = max(half, math.ceil(len(self._waiting) / 2))
            max_images = max(
                _images_in(MIN_THREAD_RUN_S, model), min(half, _images_in(MAX_THREAD_RUN_S, model))
            )
            if calls := self._take(max_images):
                loop.call_soon_threadsafe(self._finish, calls, self._run(calls))
        loop.call_soon_threadsafe(self._on_thread_idle)

    def _on_thread_idle(self) -> None:
        self._thread_run_since = None
        if self._waiting:
            self._schedule(asyncio.get_running_loop())

    def _finish(self, calls: list[_Call], outcome: _Outcome) -> None:
        """Resolve the futures of one run, on the event loop."""
        if isinstance(outcome, Exception):
            for call in calls:
                if not call.text.done():
                    call.text.set_exception(outcome)
            return
        result, texts = outcome
        for call, text in zip(calls, texts, strict=True):
            if not call.text.done():
                call.text.set_result(text)
        self._on_run([result], calls[0].model.on_event_loop)

    def _run(self, calls: list[_Call]) -> _Outcome:
        decode_s = sum(call.decode_s for call in calls) / len(calls)
        try:
            return self._recognise([call.upload for call in calls], calls[0].model, decode_s)
        except Exception as error:  # noqa: BLE001 - each caller of the run raises it
            return error

    def _recognise(
        self, uploads: list[Upload], model: Model, decode_s: float
    ) -> tuple[BatchResult, list[str]]:
        result = recognise_passthrough(uploads, model.on_event_loop, preparation_s=decode_s)
        return result, self._write(result, model.bundle)


def _images_in(seconds: float, model: Model) -> int:
    """Return the size of a run that takes about `seconds`, 1..`MAX_RUN` images."""
    return min(MAX_RUN, math.ceil(seconds / model.seconds_per_image))
