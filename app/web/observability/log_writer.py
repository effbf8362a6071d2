"""Writes the log in a thread of its own, so that nothing waits for its reader.

A write to a pipe that nobody reads, or to a disk that hangs, never returns. Threads that log only
put their line into a queue. A line that does not fit is lost and counted.
"""

import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

MAX_QUEUED_BYTES = 1 << 20  # lines that wait to be written: about 4,000 of usual length
LINE_BYTES = 128  # memory that a line takes in addition to its text
BATCH_S = 0.05  # pause after a write: a thread that wakes for each line slows the others down
FLUSH_S = 1.0  # longest wait until the queue is empty, at the end of a process
POLL_S = 0.5  # between two checks of whether the log is read again
FLUSH_POLL_S = 0.005  # between two checks of whether the queue is empty
STDERR = 2


class LogWriter(logging.Handler):
    """Writes records to a file descriptor without blocking the thread that logs.

    Attributes:
        on_lost: Called in the writer's thread with the number of lines lost since its last call.
        waits: Whether a record is written before its caller goes on, if that takes less than
            `FLUSH_S`. For the last lines of a process that a signal will end.
    """

    def __init__(self, descriptor: int) -> None:
        """Start the writer's thread, which closes the descriptor at its end."""
        super().__init__()
        self.on_lost: Callable[[int], None] = lambda lines: None
        self.waits = False
        self._descriptor = descriptor
        self.restart()

    def restart(self) -> None:
        """Start the writer's thread with an empty queue; also in a process that was just forked.

        The thread of the process that forked does not exist here, and writes its lines there.
        """
        self._lines: deque[bytes] = deque()
        # Unlike the `set` of an Event, its `put` may interrupt itself: signal handlers log, too.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._closed = False
        # Each of these is written by one thread at a time: the first two under the handler's lock,
        # the others by the writer's thread.
        self._put_bytes, self._dropped = 0, 0
        self._taken_bytes, self._failed, self._counted, self._reported = 0, 0, 0, 0
        self._taken_at_timeout = -1  # `_taken_bytes` when a flush took too long
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Number of lines that were lost so far."""
        return self._dropped + self._failed

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record; drop it if too much is waiting."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
        except Exception:  # noqa: BLE001 - arguments that do not fit the text must not end a request
            self._dropped += 1
            return
        size = len(line) + LINE_BYTES
        if self._put_bytes - self._taken_bytes + size > MAX_QUEUED_BYTES:
            self._dropped += 1
            return
        self._put_bytes += size
        self._lines.append(line)
        if self._wake.empty():
            self._wake.put(None)
        if self.waits:
            self.flush()

    def flush(self) -> None:
        """Wait until the queue is empty, for `FLUSH_S` at most.

        If a wait was in vain, the next ones return at once until something is written.
        """
        end = time.monotonic() + FLUSH_S
        while self._taken_bytes < self._put_bytes and self._taken_bytes != self._taken_at_timeout:
            if time.monotonic() > end:
                self._taken_at_timeout = self._taken_bytes
            _pause(FLUSH_POLL_S)

    def close(self) -> None:
        """Flush, then end the writer's thread."""
        self.flush()
        self._closed = True
        self._wake.put(None)
        super().close()

    def _run(self) -> None:
        while not self._closed:
            self._wake.get()
            while self._lines:
                lines = self._take()
                if not self._write(b"".join(lines)):
                    self._failed += len(lines)
                self._taken_bytes += sum(len(line) + LINE_BYTES for line in lines)
                self._count_lost()
            self._report_lost()
            if not self.waits:
                _pause(BATCH_S)
        os.close(self._descriptor)

    def _take(self) -> list[bytes]:
        """Take lines of `PIPE_BUF` bytes at most, or one longer line.

        Lines of several processes do not mix in a pipe if a write is not longer than that.
        """
        lines = [self._lines.popleft()]
        size = len(lines[0])
        while self._lines and size + len(self._lines[0]) <= select.PIPE_BUF:
            lines.append(self._lines.popleft())
            size += len(lines[-1])
        return lines

    def _write(self, data: bytes) -> bool:
        """Write; return whether that succeeded."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        left = memoryview(data)
        while left:
            # Not blocked in `write`, so that losses are counted and `close` has an effect.
            while not poll.poll(0 if self._closed else POLL_S * 1000):
                self._count_lost()
                if self._closed:
                    return False
            try:
                left = left[os.write(self._descriptor, left[: select.PIPE_BUF]) :]
            except BlockingIOError:  # another program has made the stream non-blocking
                _pause(FLUSH_POLL_S)
            except OSError:
                return False
        return True

    def _count_lost(self) -> None:
        lost = self.lost
        if lost > self._counted:
            self.on_lost(lost - self._counted)
            self._counted = lost

    def _report_lost(self) -> None:
        """Write how many lines were lost since the last report."""
        lost = self.lost
        if lost == self._reported:
            return
        record = logging.makeLogRecord(
            {
                "name": __name__,
                "levelno": logging.WARNING,
                "levelname": "WARNING",
                "msg": "%d log lines were lost: nobody read the log, or it could not be written",
                "args": (lost - self._reported,),
            }
        )
        if self._write(self.format(record).encode() + b"\n"):
            self._reported = lost


def _pause(seconds: float) -> None:
    """Sleep until the time has passed by a clock that nobody sets.

    `time.sleep` waits for a point in time, which libfaketime (`tests/server`) moves by years.
    """
    select.select((), (), (), seconds)


def copy_of_stderr() -> int:
    """Return a descriptor of the standard error stream that `native_logs` does not redirect."""
    if sys.stderr is None:
        return os.open(os.devnull, os.O_WRONLY)
    return os.dup(STDERR)
