"""Sends a response that comes in one piece by one system call.

uvicorn writes the head and the body of a response apart, so that a small request pays for two
system calls and two packets. Its gain: docs/performance.md, "Tried, gain, kept".
"""

from collections.abc import Sequence

from uvicorn._types import ASGISendEvent, HTTPResponseBodyEvent, HTTPResponseStartEvent
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

# With one of these headers uvicorn's own code sends the response.
_UNUSUAL = frozenset({b"connection", b"transfer-encoding"})

Headers = Sequence[tuple[bytes, bytes]]


class JoinedResponseCycle(RequestResponseCycle):
    """A request and its response; holds the head of the response back until its body follows."""

    _start: HTTPResponseStartEvent | None = None

    async def send(self, message: ASGISendEvent) -> None:
        """Send one ASGI message of the response."""
        start, self._start = self._start, None
        if message["type"] == "http.response.start" and not self.response_started:
            self._start = message
            return
        if start is not None:
            if message["type"] == "http.response.body" and self._send_whole(start, message):
                return
            await super().send(start)
        await super().send(message)

    def _send_whole(self, start: HTTPResponseStartEvent, message: HTTPResponseBodyEvent) -> bool:
        """Send a whole response; return False if it is not whole, or unusual in another way."""
        is_unusual = self.scope["method"] == "HEAD" or self.flow.write_paused or self.access_log
        if message.get("more_body") or is_unusual:
            return False
        headers, body = [*self.default_headers, *start.get("headers", ())], message.get("body", b"")
        if _content_length(headers) != len(body):
            return False
        if self.disconnected:
            return True
        self.response_started, self.waiting_for_100_continue = True, False
        self.transport.write(
            b"%b%b%b\r\n%b"
            % (
                STATUS_LINE[start["status"]],
                _head_lines(headers),
                b"" if self.keep_alive else b"connection: close\r\n",
                body,
            )
        )
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True


def _content_length(headers: Headers) -> int | None:
    """Return the length of the body; None if it is unknown or if there is an unusual header."""
    length = None
    for name, value in headers:
        name = name.lower()
        if name == b"content-length":
            length = int(value)
        elif name in _UNUSUAL:
            return None
    return length


def _head_lines(headers: Headers) -> bytes:
    """Return the lines of a head.

    Raises:
        RuntimeError: A name or a value has a character that would end it.
    """
    if HEADER_RE.search(b"".join([name for name, _ in headers])):
        raise RuntimeError("A header has an invalid name.")
    if HEADER_VALUE_RE.search(b"".join([value for _, value in headers])):
        raise RuntimeError("A header has an invalid value.")
    return b"".join([b"%b: %b\r\n" % header for header in headers])
