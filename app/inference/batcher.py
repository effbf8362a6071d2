"""Joins the images of concurrent calls into one batch.

Useful for runtimes that are faster per image in batches. LiteRT on CPUs is not
(docs/performance.md), so batching is off by default. Knows runtimes; knows nothing of requests.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.inference.runtime import Outputs, Pixels, Runtime


@dataclass
class _Call:
    """The images of one call, and its result or error once it is `finished`."""

    images: Pixels
    since: float = field(default_factory=time.monotonic)
    finished: bool = False
    outputs: Outputs | None = None
    error: Exception | None = None


class BatchingRuntime:
    """Runs the images of several threads as one batch.

    A call that finds the network idle runs at once. Calls that arrive while it is busy wait in a
    queue. The first call of the queue runs the batch for all of them as soon as the network is
    idle, `max_batch` images wait, or the call has waited for `max_delay_s`.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        max_batch: int,
        max_delay_s: float,
        on_batch: Callable[[int], None] = lambda images: None,
    ) -> None:
        """Wrap a runtime.

        Args:
            runtime: Runs the batches.
            max_batch: Images in a joined batch, at most.
            max_delay_s: Seconds that a call waits for others, at most.
            on_batch: Called with the number of images after each run.
        """
        self._runtime, self._max_batch, self._max_delay_s = runtime, max_batch, max_delay_s
        self._on_batch = on_batch
        self._changed = threading.Condition()  # guards the queue and the number of running batches
        self._queue: list[_Call] = []
        self._running = 0

    def predict(self, images: Pixels) -> Outputs:
        """Run `[N, 28, 28]` images, 0..255, ink high; wait until their batch has run."""
        if len(images) >= self._max_batch:
            return self._predict(images)
        call = _Call(images)
        batch: list[_Call] = []
        with self._changed:
            self._queue.append(call)
            self._changed.notify_all()
            while not (call.finished or batch):
                is_first = bool(self._queue) and self._queue[0] is call
                remaining_s = self._max_delay_s - (time.monotonic() - call.since)
                is_full = self._queued_images() >= self._max_batch
                is_due = not self._running or remaining_s <= 0 or is_full
                if is_first and is_due:
                    batch = self._take_batch()
                else:
                    self._changed.wait(remaining_s if is_first else None)
        if batch:
            self._run(batch)
        if call.error is not None:
            raise call.error
        if call.outputs is None:
            raise RuntimeError("a batch ended without outputs")
        return call.outputs

    def inspect(self, images: Pixels) -> dict[str, NDArray[np.float32]]:
        """Return every layer's output; not batched."""
        return self._runtime.inspect(images)

    def _predict(self, images: Pixels) -> Outputs:
        outputs = self._runtime.predict(images)
        self._on_batch(len(images))
        return outputs

    def _queued_images(self) -> int:
        return sum(len(call.images) for call in self._queue)

    def _take_batch(self) -> list[_Call]:
        """Take the oldest calls from the queue, as many as fit; the lock must be held."""
        images, count = 0, 0
        for call in self._queue:
            images += len(call.images)
            if count and images > self._max_batch:
                break
            count += 1
        taken, self._queue = self._queue[:count], self._queue[count:]
        self._running += 1
        self._changed.notify_all()
        return taken

    def _run(self, calls: list[_Call]) -> None:
        try:
            joined = self._predict(np.concatenate([call.images for call in calls]))
            start = 0
            for call in calls:
                rows = slice(start, start + len(call.images))
                call.outputs = Outputs(
                    joined.probabilities[rows], joined.logits[rows], joined.features[rows]
                )
                start = rows.stop
        except Exception as error:  # noqa: BLE001 - every call raises it in its own thread
            for call in calls:
                call.error = error
        with self._changed:
            self._running -= 1
            for call in calls:
                call.finished = True
            self._changed.notify_all()
