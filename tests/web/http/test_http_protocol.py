"""How long a client may take for an answer, on a clock that is moved by hand.

Real clients of a real server are in tests/server/test_clients.py.
"""

from collections.abc import Callable, Coroutine

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from app.web.http.http_protocol import MIN_TAKEN_BYTES, Connection, ConnectionLimits

PATIENCE_S = 10
LOW, HIGH = 16_384, 131_072  # bytes that wait where writing is resumed and where it is paused


class Timer:
    """What is due at a time."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        """Do this then."""
        self.at, self.call, self.over = at, call, False

    def cancel(self) -> None:
        """Do nothing any more."""
        self.over = True

    def add_done_callback(self, call: Callable[..., None]) -> None:
        """Be a task that never ends."""


class Clock:
    """A loop whose time passes when it is told to."""

    def __init__(self) -> None:
        """Begin with no timers."""
        self._now, self._timers = 0.0, list[Timer]()

    def call_later(self, delay: float, call: Callable[..., None], *words: object) -> Timer:
        """Note what is due."""
        self._timers.append(Timer(self._now + delay, lambda: call(*words)))
        return self._timers[-1]

    def create_task(self, work: Coroutine[None, None, None]) -> Timer:
        """Do nothing of it: the test answers."""
        work.close()
        return Timer(0, self.create_task)

    def wait(self, seconds: float) -> None:
        """Do what is due until then."""
        self._now += seconds
        for timer in [timer for timer in self._timers if timer.at <= self._now]:
            self._timers.remove(timer)
            if not timer.over:
                timer.call()


class Transport:
    """A connection whose client takes as much as it is told to."""

    def __init__(self) -> None:
        """Begin with nothing to take."""
        self.waiting, self.aborted = 0, False

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the client has not taken."""
        return self.waiting

    def get_extra_info(self, name: str) -> "Transport | None":
        """Be the socket too."""
        return self if name == "socket" else None

    def getsockname(self) -> tuple[str, int]:
        """Be somewhere."""
        return ("127.0.0.1", 1)

    getpeername = getsockname

    def setsockopt(self, *words: object) -> None:
        """Take any option."""

    def is_closing(self) -> bool:
        """Tell whether the connection is closed."""
        return self.aborted

    def abort(self) -> None:
        """Close."""
        self.aborted = True

    def write(self, content: bytes) -> None:
        """Take it all at once."""

    def resume_reading(self) -> None:
        """Go on."""

    close = abort


async def _serve_nothing(scope: object, receive: object, send: object) -> None:
    """Be an application."""


Parts = tuple[Connection, Transport, Clock]


@pytest.fixture
def asked() -> Parts:
    """A connection on which a request has come, but for its body of two bytes."""
    clock, transport = Clock(), Transport()
    state = {"connections": ConnectionLimits(timeout_s=PATIENCE_S, max_connections=1)}
    config = Config(_serve_nothing, log_config=None)
    connection = Connection(config, ServerState(), state, _loop=clock)
    connection.connection_made(transport)
    connection.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
    return connection, transport, clock


@pytest.fixture
def parts(asked: Parts) -> Parts:
    """A connection on which an answer is being written, and waits."""
    connection, transport, _ = asked
    transport.waiting = HIGH
    connection.pause_writing()
    return asked


@pytest.mark.parametrize("late", [b"ab", b"abGET / HTTP/1.1\r\nHost:", b"a"])
def test_rest_of_what_was_answered_keeps_no_connection(asked: Parts, late: bytes) -> None:
    """Who sends the body of a request that was refused by its head is waited for like others."""
    connection, transport, clock = asked
    clock.wait(PATIENCE_S)
    assert not transport.aborted  # that is for the deadline to say
    connection.cycle.response_complete = True
    connection.on_response_complete()
    connection.data_received(late)
    clock.wait(PATIENCE_S)
    assert transport.aborted


def test_parts_that_are_taken_in_time_go_on(parts: Parts) -> None:
    """What counts is how much was taken, not how much waits: the service writes on meanwhile."""
    connection, transport, clock = parts
    for _ in range(5):
        transport.waiting = LOW
        connection.resume_writing()
        transport.waiting = HIGH
        connection.pause_writing()
        clock.wait(0.6 * PATIENCE_S)
    assert not transport.aborted


def test_what_is_left_must_be_taken_too(parts: Parts) -> None:
    """Who takes almost all and then no more is cut off."""
    connection, transport, clock = parts
    transport.waiting = LOW
    connection.resume_writing()
    clock.wait(PATIENCE_S)
    assert transport.aborted


def test_one_long_piece_is_taken_bit_by_bit(parts: Parts) -> None:
    """64 KiB each time are enough, until they are not taken."""
    _, transport, clock = parts
    transport.waiting = HIGH - MIN_TAKEN_BYTES
    clock.wait(PATIENCE_S)
    assert not transport.aborted
    transport.waiting -= MIN_TAKEN_BYTES - 1
    clock.wait(PATIENCE_S)
    assert transport.aborted


def test_what_is_taken_is_waited_for_no_more(parts: Parts) -> None:
    """A client that has its answer may be silent, for as long as the server keeps connections."""
    _, transport, clock = parts
    transport.waiting = 0
    for _ in range(3):
        clock.wait(PATIENCE_S)
    assert not transport.aborted
