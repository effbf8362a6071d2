"""Images of concurrent calls through a network together.

For runtimes that gain by it; LiteRT on CPUs does not (docs/performance.md), so it is off by
default. Knows runtimes; knows nothing of requests.
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
    """Images that wait, and what became of them."""

    images: Pixels
    since: float = field(default_factory=time.monotonic)
    finished: bool = False
    outputs: Outputs | None = None
    error: Exception | None = None


class BatchingRuntime:
    """Runs what several threads ask for at the same time as one batch.

    Whoever finds the network idle runs at once. While it is busy others gather; the first of them
    runs for all, when the network is free, `max_batch` images have gathered or `max_delay_s` is
    over.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        max_batch: int,
        max_delay_s: float,
        on_run: Callable[[int], None] = lambda images: None,
    ) -> None:
        """Put at most `max_batch` images together, and wait at most `max_delay_s` for others.

        `on_run` is told of each run how many images it had.
        """
        self._runtime, self._most, self._delay = runtime, max_batch, max_delay_s
        self._on_run = on_run
        self._changed = threading.Condition()
        self._waiting: list[_Call] = []
        self._busy = 0

    def predict(self, images: Pixels) -> Outputs:
        """Read `[N, 28, 28]` images, 0..255, ink high; waits for its turn."""
        if len(images) >= self._most:
            return self._predict(images)
        call = _Call(images)
        mine: list[_Call] = []
        with self._changed:
            self._waiting.append(call)
            self._changed.notify_all()
            while not (call.finished or mine):
                first = bool(self._waiting) and self._waiting[0] is call
                left = self._delay - (time.monotonic() - call.since)
                if first and (not self._busy or left <= 0 or self._rows() >= self._most):
                    mine = self._take()
                else:
                    self._changed.wait(left if first else None)
        if mine:
            self._run(mine)
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
        self._on_run(len(images))
        return outputs

    def _rows(self) -> int:
        return sum(len(call.images) for call in self._waiting)

    def _take(self) -> list[_Call]:
        """Take the calls that have waited longest, as many as fit; the lock is held."""
        rows, count = 0, 0
        for call in self._waiting:
            rows += len(call.images)
            if count and rows > self._most:
                break
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        self._busy += 1
        self._changed.notify_all()
        return taken

    def _run(self, calls: list[_Call]) -> None:
        try:
            joined = self._predict(np.concatenate([call.images for call in calls]))
            start = 0
            for call in calls:
                part = slice(start, start + len(call.images))
                call.outputs = Outputs(
                    joined.probabilities[part], joined.logits[part], joined.features[part]
                )
                start = part.stop
        except Exception as error:  # noqa: BLE001 - every caller learns of it
            for call in calls:
                call.error = error
        with self._changed:
            self._busy -= 1
            for call in calls:
                call.finished = True
            self._changed.notify_all()
