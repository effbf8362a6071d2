"""Stopping so that nothing is lost: not ready first, then a pause, then no new connections.

Load balancers take a moment to see that a process is not ready; uvicorn alone closes its socket at
once (its issue 2414), and what arrives in between is refused.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
from types import FrameType

from app.errors import NotReadyError

log = logging.getLogger(__name__)
HURRY = signal.SIGUSR1  # from a supervisor to its workers: no more pause


class Drain:
    """Puts a pause before what the server does on SIGTERM."""

    def __init__(self, *, delay_s: float) -> None:
        """Pause for `delay_s` seconds."""
        self.delay_s, self.begun = delay_s, False

    def check(self) -> None:
        """Do nothing while the process is there to stay.

        Raises:
            NotReadyError: It is about to stop.
        """
        if self.begun:
            raise NotReadyError("The service is shutting down.")

    def caught(self) -> bool:
        """Tell whether a cancellation that arrived is the end of grace; then the task goes on."""
        task = asyncio.current_task()
        return self.begun and task is not None and task.uncancel() == 0

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the place of the handler of SIGTERM; outside the main thread do nothing.

        The second SIGTERM goes to the server's own handler at once, but a worker leaves it to its
        supervisor to tell who is impatient: where a whole process group is told to stop, as systemd
        does, a worker hears of the first one twice.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        server = signal.getsignal(signal.SIGTERM)
        if not callable(server):
            return
        supervised = multiprocessing.parent_process() is not None

        def begin(number: int, frame: FrameType | None) -> None:
            again, self.begun = self.begun, True
            if again and supervised:
                return
            if again or not self.delay_s:
                server(number, frame)
                return
            log.info("stopping in %g s; not ready from now on", self.delay_s)
            loop.call_soon_threadsafe(loop.call_later, self.delay_s, server, number, frame)

        def hurry(number: int, frame: FrameType | None) -> None:
            self.begun = True
            server(signal.SIGTERM, frame)

        signal.signal(signal.SIGTERM, begin)
        if supervised:
            signal.signal(HURRY, hurry)


def end_with_supervisor() -> None:
    """Stop this worker process, as SIGTERM does, when the process that started it is gone.

    uvicorn's workers do not notice that their supervisor was killed: they would keep the port, and
    nobody would replace or stop them. A process without a supervisor is left alone.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return

    def wait() -> None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="supervisor", daemon=True).start()
