"""Connections: how many there may be, and what a client may keep of the service, and for how long.

uvicorn closes connections that are idle, and nothing else: a client that never ends the head of a
request, that sends on after its answer or that does not take it would hold a connection, and what
was read or written for it, for as long as it likes. How long a body may take, the deadline says.
"""

import asyncio
import socket
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from app.web.http.problem_details import MEDIA_TYPE
from app.web.schemas.problem import Problem

MAX_HEAD_BYTES = 64 * 1024  # browsers send some 1 kB; so much is read in a row without a body
MIN_TAKEN_BYTES = 64 * 1024  # of an answer, while the patience lasts
# On every answer, those included that no application gives.
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_HEAD_TOO_LARGE, _HEAD_TOO_SLOW = 431, 408


@dataclass(frozen=True)
class ConnectionLimits:
    """What clients may do.

    Attributes:
        patience_s: Time for the head of a request, and for the next part of an answer, seconds.
        most: Connections at once; requests on more are refused.
        told: Told of each answer to what was no request: its status, its id, the client's address.
    """

    timeout_s: float
    max_connections: int
    on_refused: Callable[[int, str, str], None] = lambda status, request_id, client: None


class Connection(HttpToolsProtocol):
    """One connection to a client; finds its `ConnectionLimits` in the lifespan's state."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._limits: ConnectionLimits = self.app_state["connections"]
        self._bodiless = 0  # bytes since the last that was part of a body, or ended a request
        self._head: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._served: RequestResponseCycle | None = None
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        for timer in (self._head, self._taking):
            if timer:
                timer.cancel()
        # uvicorn tells the last request that came; with several in a row another one is served.
        if self._served and not self._served.response_complete:
            self._served.disconnected = True
            self._served.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, within the limits of a head."""
        self._bodiless += len(data)
        super().data_received(data)
        # Most heads come as a whole, and need no timer: then there is a request by now.
        if self._head is None and self._is_idle():
            self._wait_for_head()
        if self._bodiless > MAX_HEAD_BYTES:
            self._end(_HEAD_TOO_LARGE, "The head of the request is too large.")

    def on_headers_complete(self) -> None:
        """Let the application answer, and tell it where there are too many connections."""
        self._bodiless = 0
        if self._head:
            self._head.cancel()
            self._head = None
        self.scope["state"]["crowded"] = len(self.connections) > self._limits.max_connections
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._served = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._bodiless = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self._bodiless = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait until the client has taken the answer."""
        super().on_response_complete()
        if self._taking is None:
            self._wait_for_taking()

    def pause_writing(self) -> None:
        """Wait until the client has taken some of what was written."""
        super().pause_writing()
        if self._taking is None:
            self._wait_for_taking()

    def resume_writing(self) -> None:
        """Begin to wait anew: much was taken, and what is written next comes on top of the rest."""
        super().resume_writing()
        if self._taking:
            self._taking.cancel()
        self._wait_for_taking()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_head(self) -> None:
        self._head = self.loop.call_later(
            self._limits.timeout_s, self._end, _HEAD_TOO_SLOW, "The head of the request is late."
        )

    def _wait_for_taking(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._taking = (
            self.loop.call_later(self._limits.timeout_s, self._taken, left) if left else None
        )

    def _taken(self, before: int) -> None:
        """Go on waiting where enough of an answer was taken; else drop the rest of it."""
        left = self.transport.get_write_buffer_size()
        if left and left > before - MIN_TAKEN_BYTES:
            self._abort()
        else:
            self._wait_for_taking()

    def _end(self, status: int, said: str) -> None:
        """Close the connection, with a refusal where a request was begun and nothing is due."""
        if self.transport.is_closing():
            return
        if self._bodiless and self._is_idle():
            self._refuse(status, said)
        else:
            self._abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, and all that comes behind it."""
        self._refuse(400, f"{msg} It is no HTTP/1.1, or its length can be read in two ways.")

    def _refuse(self, status: int, said: str) -> None:
        """Answer with a problem that is nobody's request, and close the connection."""
        request_id = uuid.uuid4().hex
        content = Problem(
            type="about:blank",
            title=HTTPStatus(status).phrase,
            status=status,
            detail=said,
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
        """Close at once; the system forgets what it was to send."""
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
