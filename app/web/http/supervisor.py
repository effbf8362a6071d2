"""Supervises several worker processes: replaces dead ones while at least one worker serves.

Differs from uvicorn's own supervisor in four points:

- uvicorn spawns its workers, so each imports and loads everything for itself. Here they are forked.
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
from collections.abc import Callable
from itertools import count
from socket import socket

from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.server import Server
from uvicorn.supervisors.multiprocess import Multiprocess

from app.web.http.shared_listener import ConnectionCounts, SharingServer
from app.web.http.shutdown import SKIP_PAUSE
from app.web.http.worker_process import Worker

log = logging.getLogger(__name__)
STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})
STOP_POLL_S = 0.05  # seconds between checks for another signal while workers stop
MIN_PAUSE_S, MAX_PAUSE_S = 1.0, 16.0  # seconds before the next try to start; doubles each time


class Supervisor(Multiprocess):
    """Starts, replaces and stops the workers.

    Attributes:
        failed: Whether it ended because no worker served and none could start.
    """

    processes: list[Worker]  # type: ignore[assignment]

    def __init__(
        self, config: Config, sockets: list[socket], on_fork: Callable[[], None] = lambda: None
    ) -> None:
        """Supervise `config.workers` processes that listen on `sockets`.

        `on_fork` is called first in each of them.
        """
        super().__init__(config, sockets)
        self._on_fork, self._counts = on_fork, ConnectionCounts()
        self.failed, self._skips_pause = False, False
        self._replace_at: dict[Worker, float] = {}  # by dead worker, when to replace it
        self._pause_s = MIN_PAUSE_S

    def init_processes(self) -> None:
        """Start all workers."""
        for _ in range(self.processes_num):
            self.processes.append(self._start_worker())

    def restart_all(self) -> None:
        """Replace each worker; it stops when its replacement is ready."""
        for place, old in enumerate(self.processes):
            new = self._start_worker()
            if not new.wait_until_ready(self.config.timeout_worker_healthcheck, self.should_exit):
                new.kill()
                new.join()
                self._counts.remove(new.slot)
                log.error("a new worker was not ready in time; the old ones go on")
                return
            self.processes[place] = new
            old.terminate()
            old.join()

    def handle_ttin(self) -> None:
        """Start another worker."""
        self.processes_num += 1
        self.processes.append(self._start_worker())

    def keep_subprocess_alive(self) -> None:
        """Replace workers that have died or hang; stop if none is left and none can start."""
        for place, worker in enumerate(self.processes):
            if worker not in self._replace_at:
                if worker.is_alive(timeout=self.config.timeout_worker_healthcheck):
                    continue
                worker.kill()
                worker.join()
                self._counts.remove(worker.slot)
                if worker.exitcode == STARTUP_FAILURE and not self._serves_without(worker):
                    log.error("no worker serves, and none can start: see the errors above")
                    self.failed = True
                    self.should_exit.set()
                    return
                self._replace_at[worker] = time.monotonic() + self._pause_after(worker)
            if time.monotonic() >= self._replace_at[worker]:
                del self._replace_at[worker]
                self.processes[place] = self._start_worker()

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
            time.sleep(STOP_POLL_S)
        super().join_all()

    def _start_worker(self) -> Worker:
        slots = {worker.slot for worker in self.processes}
        slot = next(slot for slot in count() if slot not in slots)
        worker = Worker(self.config, self.sockets, slot, self._prepare_worker)
        worker.start()
        return worker

    def _prepare_worker(self, slot: int) -> Server:
        """Return the server of a worker; runs in the worker, just after the fork."""
        for other in self.processes:
            other.parent_conn.close()  # else it would outlive the supervisor
        self._on_fork()
        return SharingServer(self.config, self._counts, slot)

    def _pause_after(self, worker: Worker) -> float:
        """Return the seconds before a dead worker is replaced; longer after each failed start."""
        if worker.exitcode != STARTUP_FAILURE:
            log.warning("worker %s died; starting another", worker.pid)
            self._pause_s = MIN_PAUSE_S
            return 0.0
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, MAX_PAUSE_S)
        log.error("a new worker could not start; the others go on; next try in %g s", pause_s)
        return pause_s

    def _serves_without(self, worker: Worker) -> bool:
        timeout = self.config.timeout_worker_healthcheck
        return any(other.is_ready(timeout) for other in self.processes if other is not worker)
