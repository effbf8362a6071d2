"""Supervises several worker processes: replaces dead ones while at least one worker serves.

Differs from uvicorn's own supervisor in three points:

- If a replacement cannot start, uvicorn stops all workers with exit code 0. A damaged bundle on
  disk would end the service with the next worker that dies. Here the start is tried again, and the
  service ends with an error only if no worker is left.
- uvicorn keeps its socket open until the last worker has ended, so that clients connect to a socket
  that nobody serves. Here it is closed when the shutdown begins.
- uvicorn ignores signals while it stops. Here a second SIGTERM skips the pause of the shutdown.
"""

import logging
import os
import signal
import time
from multiprocessing.connection import wait
from socket import socket

from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from app.web.http.shutdown import SKIP_PAUSE

log = logging.getLogger(__name__)
STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})
SIGNAL_POLL_S = 0.1  # seconds between checks for another signal while workers stop
MIN_PAUSE_S, MAX_PAUSE_S = 1.0, 16.0  # seconds before the next try to start; doubles each time


class Supervisor(Multiprocess):
    """Starts, replaces and stops the workers.

    Attributes:
        failed: Whether it ended because no worker served and none could start.
    """

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        """Supervise `config.workers` processes that listen on `sockets`."""
        super().__init__(config, sockets)
        self.failed, self._skips_pause = False, False
        self._replace_at: dict[Process, float] = {}  # by dead worker, when to replace it
        self._pause_s = MIN_PAUSE_S

    def keep_subprocess_alive(self) -> None:
        """Replace workers that have died or hang; stop if none is left and none can start."""
        for place, worker in enumerate(self.processes):
            if worker not in self._replace_at:
                if worker.is_alive(timeout=self.config.timeout_worker_healthcheck):
                    continue
                worker.kill()
                worker.join()
                if worker.exitcode == STARTUP_FAILURE and not self._serves_without(worker):
                    log.error("no worker serves, and none can start: see the errors above")
                    self.failed = True
                    self.should_exit.set()
                    return
                self._replace_at[worker] = time.monotonic() + self._pause_after(worker)
            if time.monotonic() >= self._replace_at[worker]:
                del self._replace_at[worker]
                self.processes[place] = Process(self.config, self.sockets)
                self.processes[place].start()

    def handle_term(self) -> None:
        """Stop the workers; skip their pause if a signal came before."""
        self._skips_pause = self.should_exit.is_set()
        super().handle_term()

    def join_all(self) -> None:
        """Close the sockets and wait for the workers; skip their pause after another signal."""
        for listening in self.sockets:
            listening.close()
        while alive := [worker for worker in self.processes if worker.exitcode is None]:
            signals = [self.signal_queue.pop() for _ in range(len(self.signal_queue))]
            if self._skips_pause or not STOP_SIGNALS.isdisjoint(signals):
                self._skips_pause = False
                for process in filter(None, (worker.pid for worker in alive)):
                    os.kill(process, SKIP_PAUSE)
            wait([worker.process.sentinel for worker in alive], timeout=SIGNAL_POLL_S)
        super().join_all()

    def _pause_after(self, worker: Process) -> float:
        """Return the seconds before a dead worker is replaced; longer after each failed start."""
        if worker.exitcode != STARTUP_FAILURE:
            log.warning("worker %s died; starting another", worker.pid)
            self._pause_s = MIN_PAUSE_S
            return 0.0
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, MAX_PAUSE_S)
        log.error("a new worker could not start; the others go on; next try in %g s", pause_s)
        return pause_s

    def _serves_without(self, worker: Process) -> bool:
        timeout = self.config.timeout_worker_healthcheck
        return any(other.is_ready(timeout) for other in self.processes if other is not worker)
