"""Clients that end their sending side after a request and wait for the response.

`nc -N`, some HTTP/1.0 clients and some proxies do. From here, a client that has left looks the
same: only its answer to further bytes tells. So the response is waited for a moment; then the
client gets an interim response, which HTTP/1.1 allows at any time and clients skip (RFC 9110,
15.2). The system of a client that has left resets the connection. Knows connections and responses;
knows nothing of requests.
"""

import asyncio
import socket
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

GRACE_S = 0.25  # seconds until the client is asked; most responses are ready by then
# Seconds until a client of HTTP/1.0, which has no interim responses, counts as gone.
OLD_GRACE_S = 0.75
CHECK_S = 0.1  # seconds between two looks for its reset
CHECKS_PER_PROBE = 5  # a client that leaves later is noticed after so many looks
PROBE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HalfClosedClient:
    """Watches a client that sends no more until the last response of its connection ends."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        serving: Callable[[], RequestResponseCycle],
        on_gone: Callable[[], None],
    ) -> None:
        """Begin to watch.

        Args:
            loop: The event loop.
            transport: The connection.
            serving: Returns the request that is being served, and its response.
            on_gone: Called once the client has left.
        """
        self._loop, self._transport = loop, transport
        self._serving, self._on_gone = serving, on_gone
        self._checks = 0
        grace_s = OLD_GRACE_S if self._is_old() else GRACE_S
        self._timer = loop.call_later(grace_s, self._check)

    def end(self) -> None:
        """Watch no more."""
        self._timer.cancel()

    def _is_old(self) -> bool:
        return self._serving().scope["http_version"] == "1.0"

    def _check(self) -> None:
        """See whether the client has left, and ask it from time to time."""
        is_started = self._serving().response_started
        connection = self._transport.get_extra_info("socket")
        was_reset = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        if was_reset or (self._is_old() and not is_started):
            self._on_gone()
            return
        if not is_started and self._checks % CHECKS_PER_PROBE == 0:
            self._transport.write(PROBE)
        self._checks += 1
        self._timer = self._loop.call_later(CHECK_S, self._check)
