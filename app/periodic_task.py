"""Work that repeats in the background: a thread that survives the failures of its work.

Knows threads and the log; knows nothing of what the work is.
"""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class PeriodicTask:
    """Calls a function again and again in a thread of its own, until it is closed.

    A failure ends neither the thread nor the service. It is logged with its traceback when it first
    occurs, not at every repetition, and its end is logged too.
    """

    def __init__(self, name: str, every_s: float, work: Callable[[], object]) -> None:
        """Start the thread.

        Args:
            name: What the work is, for the log, such as `watch the model folder`.
            every_s: Seconds between the end of one call and the start of the next.
            work: The function.
        """
        self._name, self._every_s, self._work = name, every_s, work
        self._closing = threading.Event()
        self._failure = ""  # the failure that was logged last; empty after a success
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self, max_wait_s: float = 0.0) -> None:
        """End the thread after the call that runs; wait at most so many seconds for it."""
        self._closing.set()
        self._thread.join(max_wait_s)

    def _run(self) -> None:
        while not self._closing.wait(self._every_s):
            try:
                self._work()
            except Exception as error:
                if repr(error) != self._failure:
                    log.exception("cannot %s; trying again every %g s", self._name, self._every_s)
                self._failure = repr(error)
            else:
                if self._failure:
                    log.info("can %s again", self._name)
                self._failure = ""
