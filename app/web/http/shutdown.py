"""Graceful shutdown: report "not ready", pause, then stop accepting connections.

Load balancers take a moment to notice that a process is not ready. uvicorn alone closes its socket
at once (its issue 2414), and connections in between are refused.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType

from app.errors import NotReadyError

log = logging.getLogger(__name__)
SKIP_PAUSE = signal.SIGUSR1  # from a supervisor to its workers: stop without the pause


class Drain:
    """Delays the server's own reaction to SIGTERM.

    Attributes:
        delay_s: Pause in seconds.
        started: Whether the process is shutting down.
    """

    def __init__(self, *, delay_s: float, is_supervised: bool = False) -> None:
        """Pause for `delay_s` seconds; `is_supervised` in a worker of several."""
        self.delay_s, self.started = delay_s, False
        self._is_supervised = is_supervised

    def check(self) -> None:
        """Raise if the process is shutting down.

        Raises:
            NotReadyError: It is.
        """
        if self.started:
            raise NotReadyError("The service is shutting down; send the request to another one.")

    def absorb_cancellation(self) -> bool:
        """Return whether the end of the grace period cancelled this task; the task then goes on."""
        task = asyncio.current_task()
        return self.started and task is not None and task.uncancel() == 0

    def install(
        self, loop: asyncio.AbstractEventLoop, on_stop: Callable[[], None] = lambda: None
    ) -> None:
        """Replace the handler of SIGTERM; do nothing outside the main thread.

        `on_stop` is called on the event loop when the server's own reaction begins.

        A second SIGTERM skips the pause. A worker leaves that decision to its supervisor: if a
        whole process group is told to stop, as by systemd, a worker gets the first SIGTERM twice.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        handler = signal.getsignal(signal.SIGTERM)
        if not callable(handler):
            return

        def stop_server(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(on_stop)
            handler(number, frame)

        def on_term(number: int, frame: FrameType | None) -> None:
            is_repeated, self.started = self.started, True
            if is_repeated and self._is_supervised:
                return
            if is_repeated or not self.delay_s:
                stop_server(number, frame)
                return
            log.info("not ready from now on; closing the socket in %g s", self.delay_s)
            loop.call_soon_threadsafe(loop.call_later, self.delay_s, stop_server, number, frame)

        def on_skip_pause(number: int, frame: FrameType | None) -> None:
            self.started = True
            stop_server(signal.SIGTERM, frame)

        signal.signal(signal.SIGTERM, on_term)
        if self._is_supervised:
            signal.signal(SKIP_PAUSE, on_skip_pause)
