"""The thread that writes the log, with readers that read late, never, or no longer."""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.web.observability import log_writer
from app.web.observability.log_writer import MAX_QUEUED_BYTES, LogWriter
from tests.server.process import PATIENCE_S, eventually

SMALL_PIPE = 4096  # bytes, the smallest that the system allows
LONG = "x" * 1000


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A small pipe: the end to read and the end to write."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, SMALL_PIPE)
    yield reader, writer
    os.close(reader)


@pytest.fixture
def start() -> Iterator[Callable[[int], LogWriter]]:
    """Start a writer for a descriptor; end it after the test."""
    writers: list[LogWriter] = []

    def start(descriptor: int) -> LogWriter:
        writers.append(LogWriter(descriptor))
        return writers[-1]

    yield start
    for writer in writers:
        writer.close()
        writer._thread.join()


def _log(writer: LogWriter, message: str, *arguments: object) -> None:
    record = logging.LogRecord("test", logging.INFO, "", 0, message, arguments, None)
    writer.handle(record)


def _read(descriptor: int, until: bytes) -> bytes:
    content = b""
    while until not in content:
        content += os.read(descriptor, 65536)
    return content


def test_lines_arrive_in_their_order(pipe: tuple[int, int], start: Callable) -> None:
    """What is read in time is complete and in order."""
    writer = start(pipe[1])
    for number in range(1000):
        _log(writer, "line %d", number)
    content = _read(pipe[0], b"line 999\n")
    assert content == b"".join(b"line %d\n" % number for number in range(1000))
    assert writer.lost == 0


def test_nobody_waits_for_a_reader(
    pipe: tuple[int, int], start: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full queue drops lines and counts them; a late reader gets the rest and their number."""
    monkeypatch.setattr(log_writer, "POLL_S", 0.01)
    writer, counted = start(pipe[1]), list[int]()
    writer.on_lost = counted.append
    sent = 2 * MAX_QUEUED_BYTES // len(LONG)
    for number in range(sent):
        _log(writer, f"{number} {LONG}")
    assert writer.lost > sent // 3
    eventually(lambda: sum(counted) == writer.lost)
    content = _read(pipe[0], b"were lost").decode()
    lines = content.splitlines()
    numbers = [int(line.split()[0]) for line in lines[:-1]]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == sent - writer.lost
    assert lines[-1].startswith(f"{writer.lost} log lines were lost")
    _log(writer, "later")
    assert b"later" in _read(pipe[0], b"later\n")


def test_flush_ends_without_a_reader(
    pipe: tuple[int, int], start: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends waits for its log once and not for long, and the thread ends too."""
    monkeypatch.setattr(log_writer, "FLUSH_S", 0.05)
    writer = start(pipe[1])
    for _ in range(100):
        _log(writer, LONG)
    writer.flush()
    calls = 0

    def count(seconds: float) -> None:
        nonlocal calls
        calls += 1

    with monkeypatch.context() as patch:
        patch.setattr(log_writer, "_pause", count)
        writer.flush()
    assert calls <= 1
    writer.close()
    writer._thread.join(PATIENCE_S)
    assert not writer._thread.is_alive()


def test_last_lines_are_written_at_once(pipe: tuple[int, int], start: Callable) -> None:
    """At the end of a process a line is written when `emit` returns."""
    writer = start(pipe[1])
    writer.waits = True
    os.set_blocking(pipe[0], False)
    for number in range(3):
        _log(writer, "last %d", number)
        assert os.read(pipe[0], 100) == b"last %d\n" % number


def test_full_disk_costs_only_lines(start: Callable) -> None:
    """Lines that cannot be written are counted, each once."""
    writer = start(os.open("/dev/full", os.O_WRONLY))
    for _ in range(50):
        _log(writer, "line")
    writer.flush()
    eventually(lambda: writer.lost == 50)


def test_reader_that_ends_costs_only_lines(start: Callable) -> None:
    """A pipe whose reader has gone raises nothing in the caller."""
    reader, descriptor = os.pipe()
    os.close(reader)
    writer = start(descriptor)
    _log(writer, "line")
    eventually(lambda: writer.lost == 1)


def test_stream_may_be_non_blocking(pipe: tuple[int, int], start: Callable) -> None:
    """A stream that another program has made non-blocking loses no line."""
    os.set_blocking(pipe[1], False)
    writer = start(pipe[1])
    for number in range(30):
        _log(writer, f"{LONG} {number}")
    content = _read(pipe[0], b"x 29\n")
    assert content.count(b"\n") == 30
    assert writer.lost == 0


def test_wrong_arguments_are_a_lost_line(pipe: tuple[int, int], start: Callable) -> None:
    """A library's log call with the wrong arguments raises nothing and prints nothing."""
    writer = start(pipe[1])
    _log(writer, "%d lines", "no number")
    assert writer.lost == 1


def test_stream_redirected_for_a_while_is_not_written_to(tmp_path: Path) -> None:
    """The copy of the standard error stream stays where it was."""
    copy = log_writer.copy_of_stderr()
    assert copy != log_writer.STDERR
    assert os.path.samestat(os.fstat(copy), os.fstat(log_writer.STDERR))
    os.close(copy)


def test_write_larger_than_the_pipe_is_whole(pipe: tuple[int, int], start: Callable) -> None:
    """A traceback may be longer than a pipe holds."""
    writer = start(pipe[1])
    _log(writer, "y" * (5 * SMALL_PIPE))
    time.sleep(0.01)
    assert _read(pipe[0], b"\n") == b"y" * (5 * SMALL_PIPE) + b"\n"
