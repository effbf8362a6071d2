"""The middleware around every request: id, authentication, deadline, metrics, access log.

Written as pure ASGI: it adds no task and no copy of the body.
"""

import asyncio
import logging
import random
import re
import time
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from app.cancellation import set_seconds_left
from app.errors import (
    DeadlineError,
    DigitscopeError,
    InvalidInputError,
    NotReadyError,
    QueueFullError,
    RateLimitError,
    UnauthorisedError,
)
from app.web.http.auth import OPEN_PATHS, Access, given_keys
from app.web.http.client_address import TrustedProxies, peer_address
from app.web.http.fast_routes import Dispatcher
from app.web.http.http_protocol import SECURITY_HEADERS
from app.web.http.problem_details import CLIENT_CLOSED_REQUEST, error_response
from app.web.http.shutdown import Drain
from app.web.observability.metrics import Metrics, Rejection

log = logging.getLogger("digitscope.access")
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
# By class, not by status: several of them share a status.
_REJECTIONS: dict[type[DigitscopeError] | None, Rejection] = {
    DeadlineError: "deadline",
    NotReadyError: "not-ready",
    QueueFullError: "busy",
    RateLimitError: "rate-limit",
    UnauthorisedError: "key",
}


@dataclass(frozen=True)
class RequestContext:
    """What the middleware needs from the application.

    Attributes:
        access: Checks keys and rates.
        proxies: The reverse proxies in front of the service.
        metrics: The counters of this process.
        drain: Whether the process is shutting down.
        deadline_s: Longest time to a response, in seconds; a client may ask for less.
        access_log: Whether each request gets a line in the log.
    """

    access: Access
    proxies: TrustedProxies
    metrics: Metrics
    drain: Drain
    deadline_s: float
    access_log: bool

    def record(
        self,
        route: str,
        method: str,
        path: str,
        status: int,
        seconds: float,
        request_id: str,
        client: str,
    ) -> None:
        """Count a response, and write its line of the access log."""
        self.metrics.count_request(route, method, status, seconds)
        if self.access_log:
            log.info(
                "%s %s %d",
                method,
                path,
                status,
                extra={"request_id": request_id, "ms": round(1000 * seconds, 3), "client": client},
            )

    def record_refused_connection(self, status: int, request_id: str, client: str) -> None:
        """Count and log a response to bytes that never became a request."""
        self.record("other", "other", "-", status, 0.0, request_id, client)


class RequestMiddleware:
    """Gives each request an id and a deadline, checks its key, counts and logs it.

    A client's own id is kept if it is short and of harmless characters.
    """

    def __init__(self, app: Dispatcher, context: RequestContext) -> None:
        """Wrap `app`."""
        self.app, self.context = app, context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        self.context.proxies.resolve(scope)
        exchange = _Exchange(scope, send, self.context)
        error: DigitscopeError | None = None
        try:
            exchange.check()
            await self.app(scope, receive, exchange.send)
        except asyncio.CancelledError:
            if exchange.status:
                raise
            error = exchange.reason_of_cancellation()
            if error is None:
                raise
        except DigitscopeError as refusal:
            error = refusal
        finally:
            exchange.end_deadline()
            if error is None:
                self._count(exchange)
        if error is not None:
            await error_response(Request(scope), error)(scope, receive, exchange.send)
            self._count(exchange)

    def _count(self, exchange: "_Exchange") -> None:
        scope, status = exchange.scope, exchange.status
        # A request that was refused here has not reached its route.
        route = getattr(scope.get("route") or self.app.find(scope), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        reason = _REJECTIONS.get(scope["state"].get("refused"))
        if status == CLIENT_CLOSED_REQUEST:
            reason = "client-gone"
        # A probe that reports "not ready" has done its job: it is no rejected request.
        if reason and scope["path"] not in OPEN_PATHS:
            self.context.metrics.count_rejection(reason)
        self.context.record(
            route,
            method,
            # As it arrived, percent-encoded: a line break in a path must not start a log line.
            scope["raw_path"].decode("latin-1"),
            status,
            time.perf_counter() - exchange.started_at,
            scope["state"]["request_id"],
            peer_address(scope),
        )


class _Exchange:
    """One request and its response.

    Attributes:
        scope: The request's ASGI scope; its state gets `request_id`.
        status: Status of the response; 0 before it starts.
        started_at: When the request began, by `time.perf_counter`.
    """

    def __init__(self, scope: Scope, send: Send, context: RequestContext) -> None:
        self.scope, self._send, self._context = scope, send, context
        self.status, self.started_at = 0, time.perf_counter()
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._deadline: Deadline | None = None
        wanted = self._headers.get(b"x-request-id", b"").decode("latin-1")
        self._id = wanted if _SAFE_ID.fullmatch(wanted) else f"{random.getrandbits(128):032x}"
        state = scope.setdefault("state", {})
        state["request_id"] = self._id
        # Probes are served even then: an overloaded process need not be restarted.
        self._is_overloaded = (
            state.get("too_many_connections", False) and scope["path"] not in OPEN_PATHS
        )

    def check(self) -> None:
        """Check connections, key and rate, then start the deadline.

        Raises:
            DigitscopeError: The request is refused.
        """
        if self._is_overloaded:
            raise QueueFullError("Too many connections are open; try again in a second.")
        if not self._context.access.is_unrestricted:
            keys = given_keys(Headers(scope=self.scope))
            self._context.access.check(self.scope["path"], keys, peer_address(self.scope))
        seconds = self._context.deadline_s
        if value := self._headers.get(b"x-request-timeout"):
            seconds = min(seconds, _parse_seconds(value))
        self._deadline = Deadline(seconds)
        set_seconds_left(self._deadline.seconds_left)

    async def send(self, message: Message) -> None:
        """Send a part of the response, with this service's headers on its start."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            # From here on, the connection's own timeout applies to slow clients.
            self.end_deadline()
            headers = message.setdefault("headers", [])
            headers += [(b"x-request-id", self._id.encode()), *SECURITY_HEADERS]
            if self._context.drain.started or self._is_overloaded:
                MutableHeaders(raw=headers)["Connection"] = "close"
        await self._send(message)

    def end_deadline(self) -> None:
        """Stop the deadline, if it was started."""
        if self._deadline:
            self._deadline.end()

    def reason_of_cancellation(self) -> DigitscopeError | None:
        """Return the error for a cancellation by deadline or shutdown; None for any other."""
        if self._deadline and self._deadline.absorb_cancellation():
            return DeadlineError(
                f"No response within {self._deadline.seconds:g} s; send fewer images at once, or"
                " try again later."
            )
        if self._context.drain.absorb_cancellation():
            return NotReadyError("The service has shut down before the response was ready.")
        return None


class Deadline:
    """Cancels the current task after some seconds: `asyncio.timeout` at a third of its cost.

    Attributes:
        seconds: The time until then.
    """

    def __init__(self, seconds: float) -> None:
        """Start the timer."""
        self.seconds = seconds
        self._task, self._has_passed = asyncio.current_task(), False
        self._timer = asyncio.get_running_loop().call_later(seconds, self._cancel)

    def seconds_left(self) -> float:
        """Return the seconds until the deadline; below 0 after it."""
        return self._timer.when() - asyncio.get_running_loop().time()

    def _cancel(self) -> None:
        self._has_passed = True
        if self._task:
            self._task.cancel()

    def absorb_cancellation(self) -> bool:
        """Return whether the deadline alone cancelled the task; the task then goes on."""
        return self._has_passed and self._task is not None and self._task.uncancel() == 0

    def end(self) -> None:
        """Stop the timer."""
        self._timer.cancel()


def _parse_seconds(value: bytes) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InvalidInputError(
            f"The header X-Request-Timeout is {value.decode('latin-1')!r}; expected a number of"
            " seconds above 0."
        )
    return seconds
