"""Several worker processes as one service: who dies is replaced, as long as another serves.

uvicorn's own supervisor stops them all, with exit code 0, once a replacement cannot start: a bundle
that was refused by a reload, and lies there still, would cost the service with the next worker that
dies. Here the replacement is tried again, and a service that nobody is left to serve says so.

It also keeps its socket until the last worker has gone: who connects after the drain would wait for
nobody. And it is deaf while it stops, where here a second SIGTERM cuts the drain short.
"""

import logging
import os
import signal
import time
from multiprocessing.connection import wait
from socket import socket

from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from app.web.http.shutdown import HURRY

log = logging.getLogger(__name__)
STOPS = frozenset({signal.SIGINT, signal.SIGTERM})
LISTEN_S = 0.1  # between looks for another signal
MIN_PAUSE_S, MAX_PAUSE_S = 1.0, 16.0  # before a replacement that could not start, again


class Supervisor(Multiprocess):
    """Starts the workers, replaces and stops them.

    Attributes:
        failed: Whether it ended because no worker served and none could start.
    """

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        """Supervise `config.workers` processes that listen at `sockets`."""
        super().__init__(config, sockets)
        self.failed, self._hurried = False, False
        self._due: dict[Process, float] = {}  # when another takes the place of one that is gone
        self._pause_s = MIN_PAUSE_S

    def keep_subprocess_alive(self) -> None:
        """Replace those that have died or hang."""
        for place, worker in enumerate(self.processes):
            if worker not in self._due:
                if worker.is_alive(timeout=self.config.timeout_worker_healthcheck):
                    continue
                worker.kill()
                worker.join()
                if worker.exitcode == STARTUP_FAILURE and not self._serves_without(worker):
                    log.error("no worker serves, and none can start: what it said stands above")
                    self.failed = True
                    self.should_exit.set()
                    return
                self._due[worker] = time.monotonic() + self._pause_after(worker)
            if time.monotonic() >= self._due[worker]:
                del self._due[worker]
                self.processes[place] = Process(self.config, self.sockets)
                self.processes[place].start()

    def handle_term(self) -> None:
        """Stop; at once if there was word of it before."""
        self._hurried = self.should_exit.is_set()
        super().handle_term()

    def join_all(self) -> None:
        """Wait for the workers, which alone listen from now on, and hurry them if told again."""
        for listening in self.sockets:
            listening.close()
        while there := [worker for worker in self.processes if worker.exitcode is None]:
            told = [self.signal_queue.pop() for _ in range(len(self.signal_queue))]
            if self._hurried or not STOPS.isdisjoint(told):
                self._hurried = False
                for process in filter(None, (worker.pid for worker in there)):
                    os.kill(process, HURRY)
            wait([worker.process.sentinel for worker in there], timeout=LISTEN_S)
        super().join_all()

    def _pause_after(self, worker: Process) -> float:
        """Return for how many seconds its place stays empty; longer each time one cannot start."""
        if worker.exitcode != STARTUP_FAILURE:
            log.warning("worker %s died; another takes its place", worker.pid)
            self._pause_s = MIN_PAUSE_S
            return 0.0
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, MAX_PAUSE_S)
        log.error("a new worker could not start; the others serve on; again in %g s", pause_s)
        return pause_s

    def _serves_without(self, worker: Process) -> bool:
        timeout = self.config.timeout_worker_healthcheck
        return any(other.is_ready(timeout) for other in self.processes if other is not worker)
