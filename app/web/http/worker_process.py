"""A worker process, forked from its supervisor, so that both share the memory of what is loaded.

A fork copies only the thread that forks, so no other thread may hold a lock at that moment. The
supervisor has two threads: the main one, which forks, and the writer of its log, which the worker
starts again. Knows processes and pipes; knows nothing of requests.
"""

import logging
import os
import signal
from collections.abc import Callable, Collection
from multiprocessing import Pipe
from socket import socket

from uvicorn.config import Config
from uvicorn.server import Server
from uvicorn.supervisors.multiprocess import SIGNALS, Process

log = logging.getLogger(__name__)


class ForkedProcess:
    """A forked process, with the methods of `multiprocessing.Process` that uvicorn calls."""

    def __init__(self, target: Callable[[], None]) -> None:
        """Take the function that the process runs once `start` has been called."""
        self._target = target
        self._exitcode: int | None = None
        self.pid: int | None = None

    def start(self) -> None:
        """Fork.

        Signals wait until the process has its own handlers: with those of the supervisor it would
        ignore them.
        """
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        pid = os.fork()
        if pid == 0:
            _run_and_exit(self._target, mask)
        self.pid = pid
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    @property
    def exitcode(self) -> int | None:
        """Return the exit code, or minus the signal that ended the process; None while it runs."""
        if self._exitcode is None and self.pid is not None:
            self._collect(os.WNOHANG)
        return self._exitcode

    def is_alive(self) -> bool:
        """Tell whether the process runs."""
        return self.pid is not None and self.exitcode is None

    def kill(self) -> None:
        """End the process at once."""
        if self.pid is not None and self.is_alive():
            os.kill(self.pid, signal.SIGKILL)

    def join(self) -> None:
        """Wait until the process has ended."""
        if self.pid is not None and self._exitcode is None:
            self._collect(0)

    def _collect(self, options: int) -> None:
        pid, status = os.waitpid(self.pid or 0, options)
        if pid:
            self._exitcode = os.waitstatus_to_exitcode(status)


def _run_and_exit(target: Callable[[], None], mask: Collection[int]) -> None:
    """Run a function in a process that has just been forked, then end the process."""
    code = 1
    try:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        target()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        log.exception("the worker failed")
    finally:
        logging.shutdown()
        os._exit(code)  # the functions that the supervisor calls at its end must not run here


class Worker(Process):
    """A worker with uvicorn's health check and shutdown.

    It stops as on SIGTERM when its supervisor has died: nobody would replace or stop it.

    Attributes:
        slot: Its number, which no other running worker has.
    """

    def __init__(
        self, config: Config, sockets: list[socket], slot: int, prepare: Callable[[int], Server]
    ) -> None:
        """Prepare a worker, which `start` starts.

        Args:
            config: Configuration of the server.
            sockets: Sockets to listen on.
            slot: Its number.
            prepare: Called in the worker with `slot`; returns the server.
        """
        self.config, self.slot = config, slot
        self.parent_conn, self.child_conn = Pipe()
        self._server: Server | None = None
        self._sockets, self._prepare = sockets, prepare
        self.process = ForkedProcess(self._run)  # type: ignore[assignment]

    def start(self) -> None:
        """Fork the worker."""
        super().start()
        self.child_conn.close()  # so that the end of the worker ends the connection

    def always_pong(self) -> None:
        """Answer health checks until the supervisor ends the connection."""
        try:
            super().always_pong()
        except (EOFError, OSError):
            os.kill(os.getpid(), signal.SIGTERM)

    def _run(self) -> None:
        self.parent_conn.close()  # so that the end of the supervisor ends the connection
        self._server = self._prepare(self.slot)
        self.target(self._sockets)
