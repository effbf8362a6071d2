"""Limits on connections and slow clients, on top of uvicorn's HTTP protocol.

uvicorn closes only idle connections. A client that never ends a request's head, that sends on after
its response, or that does not read the response would hold a connection, and the memory for it, for
as long as it likes. The time for a body is limited by the request's deadline instead.
"""

import asyncio
import socket
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from app.web.http.connection_table import ConnectionTable
from app.web.http.half_close import HalfClosedClient
from app.web.http.joined_response import JoinedResponseCycle
from app.web.http.problem_details import MEDIA_TYPE
from app.web.schemas.problem import Problem

# Bytes that a client may send without a part of a body; a browser's request head has about 1 kB.
MAX_HEAD_BYTES = 64 * 1024
# Of these, bytes of the target: path and query. RFC 9110 recommends at least 8,000.
MAX_TARGET_BYTES = 16 * 1024
# Requests of a connection that wait behind the one being served; httptools parses what it gets to
# the end, so it gets pieces with one head, or with the few that fit into `MIN_PIECE_BYTES`.
MAX_PIPELINED = 4
MIN_PIECE_BYTES = 64
HEAD_END = b"\r\n\r\n"
MIN_READ_BYTES = 64 * 1024  # bytes of a response that a client must read within each timeout
# On every response, including those that uvicorn or this module writes.
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)


@dataclass(frozen=True)
class ConnectionLimits:
    """What clients may do with their connections.

    Attributes:
        timeout_s: Seconds for the head of a request, and for each `MIN_READ_BYTES` of a response.
        table: The open connections of this process; requests on those beyond its limits are
            refused.
        on_refused: Called with status, request id and client address of each response that this
            module writes instead of the application.
    """

    timeout_s: float
    table: ConnectionTable
    on_refused: Callable[[int, str, str], None] = lambda status, request_id, client: None


class HeadError(Exception):
    """The head of a request is refused before it becomes a request."""

    def __init__(self, status: int, detail: str) -> None:
        """Create the error with the status and the sentence of its response."""
        super().__init__(detail)
        self.status, self.detail = HTTPStatus(status), detail


class HoldableFlow(FlowControl):
    """Flow control that does not resume reading while the connection holds bytes back."""

    is_held = False

    def resume_reading(self) -> None:
        """Read on, unless bytes are held back."""
        if not self.is_held:
            super().resume_reading()


class Connection(HttpToolsProtocol):
    """One client connection; its `ConnectionLimits` come from the lifespan's state."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place among the connections; start the timer for the first request's head."""
        super().connection_made(transport)
        self._limits: ConnectionLimits = self.app_state["connections"]
        self.flow: HoldableFlow = HoldableFlow(transport)
        self._unparsed = b""  # what follows the last request that may wait
        self._bytes_without_body = 0  # bytes since the last part of a body or end of a request
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self._serving: RequestResponseCycle | None = None
        self._half_closed: HalfClosedClient | None = None
        self._start_head_timer()
        address = self.client[0] if self.client else ""
        self._place = self._limits.table.add(address, self._make_room)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the place, stop the timers, and notify the request that is being served."""
        self._limits.table.remove(self._place)
        for timer in (self._head_timer, self._read_timer):
            if timer:
                timer.cancel()
        if self._half_closed:
            self._half_closed.end()
        # uvicorn notifies the last request that arrived, which may be a later, pipelined one.
        if self._serving and not self._serving.response_complete:
            self._serving.disconnected = True
            self._serving.message_event.set()
        self._unparsed = b""
        self.pipeline.clear()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection if the client has sent whole requests and waits for responses."""
        if self._is_idle() or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        self._half_closed = HalfClosedClient(
            self.loop, self.transport, lambda: self._serving or self.cycle, self.transport.close
        )
        return True

    def data_received(self, data: bytes) -> None:
        """Parse the next bytes, within the limits of a head."""
        self._unset_keepalive_if_required()
        self._unparsed += data
        self._parse()

    def _parse(self) -> None:
        """Parse what has arrived, until enough requests wait; hold the rest back."""
        data, start = self._unparsed, 0
        try:
            while start < len(data) and len(self.pipeline) < MAX_PIPELINED:
                end = data.find(HEAD_END, start + MIN_PIECE_BYTES) + len(HEAD_END)
                end = end if end >= len(HEAD_END) else len(data)
                self._feed(memoryview(data)[start:end])
                start = end
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, HeadError):
                self._refuse(error.__context__.status, error.__context__.detail)
            else:
                self.send_400_response("Invalid HTTP request received.")
            start = len(data)
        self._unparsed = data[start:]
        self.flow.is_held = bool(self._unparsed)
        if self._unparsed:
            self.flow.pause_reading()
        # Most heads arrive whole: then a request is running by now, and no timer is needed.
        if self._head_timer is None and self._is_idle():
            self._start_head_timer()
        if self._bytes_without_body > MAX_HEAD_BYTES:
            self._end(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"The head of the request is larger than {MAX_HEAD_BYTES} bytes.",
            )

    def _feed(self, data: memoryview) -> None:
        """Parse bytes; give a request that asks for another protocol its answer in HTTP/1.1.

        httptools takes such a request for complete after its head. So its head is parsed again
        without the question, and what follows is its body (RFC 9110, section 7.8).

        Raises:
            httptools.HttpParserError: The bytes are no HTTP, or their head is refused.
        """
        self._bytes_without_body += len(data)
        rest = data
        while rest:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:
                if not self._asks_for_upgrade():
                    return  # what follows CONNECT is meant for another server
                rest = rest[upgrade.args[0] :]
                head = self._head_without_upgrade()
                self._renew_parser()
                self.parser.feed_data(head)

    def _asks_for_upgrade(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _renew_parser(self) -> None:
        """Forget a request whose head may have said "close": its parser would skip what follows."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        return (
            b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)
            + b"".join(b"%b: %b\r\n" % one for one in self.headers if one[0] != b"upgrade")
            + b"\r\n"
        )

    def on_url(self, url: bytes) -> None:
        """Receive a part of the target.

        Raises:
            HeadError: It is too long.
        """
        self.url += url
        if len(self.url) > MAX_TARGET_BYTES:
            raise HeadError(
                414, f"The target of the request is longer than {MAX_TARGET_BYTES} bytes."
            )

    def on_headers_complete(self) -> None:
        """Start the request; note in its state whether the connection is beyond the limits.

        Raises:
            HeadError: It has no header Host, or several.
        """
        self._bytes_without_body = 0
        if self._asks_for_upgrade():
            return  # `_feed` parses this head again
        self._check_host()
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # no interim responses: RFC 9110, 10.1.1
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None
        if self._place.is_idle:
            self._limits.table.start_request(self._place)
        self.scope["state"]["too_many_connections"] = not (
            self._place.is_within_limits or self._limits.table.admit(self._place)
        )
        super().on_headers_complete()

    def _check_host(self) -> None:
        """Raise unless there is one header Host; HTTP/1.0 may have none (RFC 9112, 3.2)."""
        hosts = 0
        for name, _ in self.headers:
            if name == b"host":
                hosts += 1
        if hosts > 1:
            raise HeadError(400, f"The request has {hosts} headers Host; expected one.")
        if not hosts and self.parser.get_http_version() == "1.1":
            raise HeadError(400, "The request has no header Host, which HTTP/1.1 needs.")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        cycle.__class__ = JoinedResponseCycle  # uvicorn has no setting for it
        self._serving = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """Receive a part of a body."""
        self._bytes_without_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Receive the end of a request."""
        self._bytes_without_body = 0
        if self._asks_for_upgrade():
            return
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Note that the connection is idle; start the timer for the client to read the response."""
        super().on_response_complete()
        if self._unparsed and not self.transport.is_closing():
            self._parse()
        if self._is_idle():
            self._limits.table.end_request(self._place)
        if self._read_timer is None:
            self._start_read_timer()

    def pause_writing(self) -> None:
        """Start the timer for the client to read what was written."""
        super().pause_writing()
        if self._read_timer is None:
            self._start_read_timer()

    def resume_writing(self) -> None:
        """Restart the timer: the client has read enough that more will be written."""
        super().resume_writing()
        if self._read_timer:
            self._read_timer.cancel()
        self._start_read_timer()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _make_room(self) -> None:
        """Close this idle connection, because there are too many."""
        if self._bytes_without_body:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections are open.")
        else:
            self.transport.close()  # sends the rest of the last response first

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(
            self._limits.timeout_s,
            self._end,
            HTTPStatus.REQUEST_TIMEOUT,
            f"The head of the request did not arrive within {self._limits.timeout_s:g} s.",
        )

    def _start_read_timer(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._read_timer = (
            self.loop.call_later(self._limits.timeout_s, self._check_read, unread)
            if unread
            else None
        )

    def _check_read(self, unread_before: int) -> None:
        """Close the connection if the client has read too little; else restart the timer."""
        unread = self.transport.get_write_buffer_size()
        if unread and unread > unread_before - MIN_READ_BYTES:
            self._abort()
        else:
            self._start_read_timer()

    def _end(self, status: HTTPStatus, detail: str) -> None:
        """Close the connection; send an error first if a request has begun and none is served."""
        if self.transport.is_closing():
            return
        if self._bytes_without_body and self._is_idle():
            self._refuse(status, detail)
        else:
            self._abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are no HTTP, and everything behind them."""
        self._refuse(
            HTTPStatus.BAD_REQUEST,
            f"{msg} Expected HTTP/1.1; a body has one Content-Length or is chunked.",
        )

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Send a problem document that belongs to no request, and close the connection."""
        request_id = uuid.uuid4().hex
        content = Problem(
            type="about:blank",
            title=status.phrase,
            status=status,
            detail=detail,
            instance="",
            request_id=request_id,
        ).model_dump_json()
        self.transport.write(
            STATUS_LINE[status]
            + b"content-type: %b\r\nconnection: close\r\n" % MEDIA_TYPE.encode()
            + b"x-request-id: %b\r\n" % request_id.encode()
            + b"".join(b"%b: %b\r\n" % header for header in SECURITY_HEADERS)
            + b"content-length: %d\r\n\r\n%b" % (len(content), content.encode())
        )
        self.transport.close()
        self._limits.on_refused(status, request_id, self.client[0] if self.client else "")

    def _abort(self) -> None:
        """Close at once; the operating system drops the bytes that it has not sent."""
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
