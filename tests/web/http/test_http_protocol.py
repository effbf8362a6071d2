"""How long a client may take to read or to be silent, with a clock that the test controls.

tests/server/test_clients.py tests real clients of a real server.
"""

from collections.abc import Callable, Coroutine

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from app.web.http.connection_table import ConnectionTable
from app.web.http.half_close import (
    CHECK_S,
    CHECKS_PER_PROBE,
    GRACE_S,
    OLD_GRACE_S,
    PROBE,
)
from app.web.http.http_protocol import MIN_READ_BYTES, Connection, ConnectionLimits

TIMEOUT_S = 10
LOW, HIGH = 16_384, 131_072  # unread bytes at which writing is resumed and paused


class Timer:
    """A call at a given time; also stands for the task that serves a request."""

    def __init__(self, due: float, call: Callable[[], None]) -> None:
        """Make `call` due at a time."""
        self.due, self.call, self.is_cancelled = due, call, False

    def cancel(self) -> None:
        """Never call."""
        self.is_cancelled = True

    def add_done_callback(self, call: Callable[..., None]) -> None:
        """Do nothing: the task never ends."""


class Clock:
    """An event loop whose time passes only in `wait`."""

    def __init__(self) -> None:
        """Start at 0 without timers."""
        self._now, self._timers = 0.0, list[Timer]()

    def call_later(self, delay: float, call: Callable[..., None], *arguments: object) -> Timer:
        """Add a timer."""
        self._timers.append(Timer(self._now + delay, lambda: call(*arguments)))
        return self._timers[-1]

    def create_task(self, work: Coroutine[None, None, None]) -> Timer:
        """Do not run the application: the test plays its part."""
        work.close()
        return Timer(0, self.create_task)

    def wait(self, seconds: float) -> None:
        """Let time pass, and call the timers that are due."""
        self._now += seconds
        for timer in [timer for timer in self._timers if timer.due <= self._now]:
            self._timers.remove(timer)
            if not timer.is_cancelled:
                timer.call()


class Transport:
    """A transport whose client reads as much as the test sets; also its own socket."""

    def __init__(self) -> None:
        """Start with nothing to read."""
        self.unread, self.is_aborted = 0, False
        self.error, self.written = 0, b""

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the client has not read."""
        return self.unread

    def get_extra_info(self, name: str) -> "Transport | None":
        """Return itself as the socket."""
        return self if name == "socket" else None

    def getsockname(self) -> tuple[str, int]:
        """Return an address."""
        return ("127.0.0.1", 1)

    getpeername = getsockname

    def setsockopt(self, *arguments: object) -> None:
        """Accept any option."""

    def getsockopt(self, *arguments: object) -> int:
        """Return the error that the client's system has reported."""
        return self.error

    def is_closing(self) -> bool:
        """Return whether the connection is closed."""
        return self.is_aborted

    def abort(self) -> None:
        """Close the connection."""
        self.is_aborted = True

    def write(self, content: bytes) -> None:
        """Accept all bytes."""
        self.written += content

    def resume_reading(self) -> None:
        """Do nothing."""

    close = abort


async def _app(scope: object, receive: object, send: object) -> None:
    """Serve nothing."""


Parts = tuple[Connection, Transport, Clock]


def _request(head: bytes) -> Parts:
    """Return a connection on which the head of a request has arrived."""
    clock, transport = Clock(), Transport()
    table = ConnectionTable(max_connections=1, max_per_client=1)
    state = {"connections": ConnectionLimits(timeout_s=TIMEOUT_S, table=table)}
    config = Config(_app, log_config=None)
    connection = Connection(config, ServerState(), state, _loop=clock)
    connection.connection_made(transport)
    connection.data_received(head)
    return connection, transport, clock


@pytest.fixture
def requested() -> Parts:
    """A connection with a request whose body of two bytes has not arrived."""
    return _request(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")


@pytest.mark.parametrize(("version", "is_told"), [(b"1.1", True), (b"1.0", False)])
def test_interim_response_is_for_http_1_1(version: bytes, is_told: bool) -> None:
    """HTTP/1.0 has none, so its `Expect: 100-continue` is ignored (RFC 9110, 10.1.1)."""
    head = b"POST / HTTP/%b\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    connection, _, _ = _request(head % version)
    assert connection.cycle.waiting_for_100_continue == is_told


def _half_closed(version: bytes = b"1.1") -> Parts:
    """Return a connection whose client has sent a request and the end of its bytes."""
    parts = _request(b"POST / HTTP/%b\r\nHost: x\r\nContent-Length: 2\r\n\r\nab" % version)
    assert parts[0].eof_received()
    return parts


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_client_that_sends_no_more_gets_its_response(version: bytes) -> None:
    """A response that is ready soon is sent alone, and the connection closes after it."""
    connection, transport, clock = _half_closed(version)
    clock.wait(0.9 * GRACE_S)
    assert (transport.written, transport.is_aborted) == (b"", False)
    assert not connection.cycle.keep_alive


def test_client_is_asked_whether_it_still_waits() -> None:
    """While a response takes longer, interim responses show whether the client is still there."""
    connection, transport, clock = _half_closed()
    clock.wait(GRACE_S)
    assert transport.written == PROBE
    for _ in range(CHECKS_PER_PROBE):
        clock.wait(CHECK_S)
    assert (transport.written, transport.is_aborted) == (2 * PROBE, False)
    transport.error = 32  # the client's system answered with a reset
    clock.wait(CHECK_S)
    assert transport.is_aborted
    connection.connection_lost(None)
    assert connection.cycle.disconnected
    clock.wait(TIMEOUT_S)
    assert transport.written == 2 * PROBE


def test_old_client_cannot_be_asked() -> None:
    """HTTP/1.0 has no interim responses: a client that sends no more is waited for, then gone."""
    _, transport, clock = _half_closed(b"1.0")
    clock.wait(0.9 * OLD_GRACE_S)
    assert not transport.is_aborted
    clock.wait(0.2 * OLD_GRACE_S)
    assert (transport.written, transport.is_aborted) == (b"", True)


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_response_that_has_begun_is_not_interrupted(version: bytes) -> None:
    """An interim response would be taken for a part of it. A client that left is still noticed."""
    connection, transport, clock = _half_closed(version)
    connection.cycle.response_started = True
    for _ in range(20):
        clock.wait(OLD_GRACE_S)
    assert (transport.written, transport.is_aborted) == (b"", False)
    transport.error = 104
    clock.wait(CHECK_S)
    assert transport.is_aborted


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST / HTTP/1.1\r\nHost: x\r\nCont",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n",
    ],
)
def test_client_that_ends_within_a_request_is_gone(sent: bytes) -> None:
    """The rest of an incomplete request cannot come any more, so its connection closes."""
    connection, _, _ = _request(sent)
    assert not connection.eof_received()


@pytest.fixture
def responding(requested: Parts) -> Parts:
    """A connection whose response is being written, and waits for the client to read."""
    connection, transport, _ = requested
    transport.unread = HIGH
    connection.pause_writing()
    return requested


@pytest.mark.parametrize("rest", [b"ab", b"abGET / HTTP/1.1\r\nHost:", b"a"])
def test_rest_of_a_refused_request_does_not_keep_the_connection(
    requested: Parts, rest: bytes
) -> None:
    """After a response to the head alone, the timeout applies to the rest of the request."""
    connection, transport, clock = requested
    clock.wait(TIMEOUT_S)
    assert not transport.is_aborted  # the body is limited by the deadline
    connection.cycle.response_complete = True
    connection.on_response_complete()
    connection.data_received(rest)
    clock.wait(TIMEOUT_S)
    assert transport.is_aborted


def test_client_that_reads_in_time_gets_the_whole_response(responding: Parts) -> None:
    """What counts is how much the client reads, not how much is unread: more is written."""
    connection, transport, clock = responding
    for _ in range(5):
        transport.unread = LOW
        connection.resume_writing()
        transport.unread = HIGH
        connection.pause_writing()
        clock.wait(0.6 * TIMEOUT_S)
    assert not transport.is_aborted


def test_client_that_stops_reading_at_the_end_is_cut_off(responding: Parts) -> None:
    """A client that reads almost all and then stops loses its connection."""
    connection, transport, clock = responding
    transport.unread = LOW
    connection.resume_writing()
    clock.wait(TIMEOUT_S)
    assert transport.is_aborted


def test_client_must_read_a_minimum_in_each_period(responding: Parts) -> None:
    """64 KiB in each period keep the connection; one byte less closes it."""
    _, transport, clock = responding
    transport.unread = HIGH - MIN_READ_BYTES
    clock.wait(TIMEOUT_S)
    assert not transport.is_aborted
    transport.unread -= MIN_READ_BYTES - 1
    clock.wait(TIMEOUT_S)
    assert transport.is_aborted


def test_client_that_has_read_everything_may_be_silent(responding: Parts) -> None:
    """No timer runs once the response has been read."""
    _, transport, clock = responding
    transport.unread = 0
    for _ in range(3):
        clock.wait(TIMEOUT_S)
    assert not transport.is_aborted
