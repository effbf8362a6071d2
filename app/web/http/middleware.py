"""The middleware around every request: id, authentication, deadline, metrics, access log.

Written as pure ASGI: it adds no task and no copy of the body.
"""

import asyncio
import logging
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app.cancellation import set_seconds_left
from app.errors import (
    BodyTimeoutError,
    DeadlineError,
    DigitscopeError,
    ExpectedWaitError,
    InvalidInputError,
    MemoryBudgetError,
    NotReadyError,
    QueueFullError,
    RateLimitError,
    TooManyConnectionsError,
    UnauthorisedError,
)
from app.memory_budget import BodyHold
from app.web.http.auth import OPEN_PATHS, Access, given_keys
from app.web.http.client_address import TrustedProxies, peer_address
from app.web.http.compression import MIN_COMPRESSED_BYTES, compress, is_compressible
from app.web.http.cors import CrossOrigin
from app.web.http.fast_routes import Dispatcher
from app.web.http.http_protocol import SECURITY_HEADERS
from app.web.http.path_prefix import PathPrefix, route_path
from app.web.http.problem_details import CLIENT_CLOSED_REQUEST, error_response
from app.web.http.request_timer import BodyPace, RequestTimer
from app.web.http.shutdown import Drain
from app.web.http.vary import add_vary
from app.web.observability.metric_definitions import Rejection
from app.web.observability.metrics import Metrics
from app.web.quality_values import choose_coding

log = logging.getLogger("digitscope.access")
# Bytes of a response; a larger one counts in the memory budget until its client has read it.
MAX_UNCOUNTED_BYTES = 256 * 1024
PART_BYTES = 64 * 1024  # of a large response; the next part waits until this one has been read
LINGER_S = 5.0  # seconds for a client to send the rest of a body after its refusal
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
# By class, not by status: several of them share a status.
_REJECTIONS: dict[type[DigitscopeError] | None, Rejection] = {
    BodyTimeoutError: "slow-body",
    DeadlineError: "deadline",
    ExpectedWaitError: "wait",
    MemoryBudgetError: "memory",
    NotReadyError: "not-ready",
    QueueFullError: "busy",
    RateLimitError: "rate-limit",
    TooManyConnectionsError: "connections",
    UnauthorisedError: "key",
}


@dataclass(frozen=True)
class RequestContext:
    """What the middleware needs from the application.

    Attributes:
        access: Checks keys and rates.
        proxies: The reverse proxies in front of the service.
        prefix: The path prefix under which they publish it.
        cors: The origins whose scripts may read responses.
        metrics: The counters of this process.
        drain: Whether the process is shutting down.
        deadline_s: Longest time from the end of a body to the response, in seconds; a client may
            ask for less.
        pace: How fast a body must arrive.
        access_log: Whether each request gets a line in the log.
        trace: Returns the field of the log that names the current trace, if there is one.
    """

    access: Access
    proxies: TrustedProxies
    prefix: PathPrefix
    cors: CrossOrigin
    metrics: Metrics
    drain: Drain
    deadline_s: float
    pace: BodyPace
    access_log: bool
    trace: Callable[[], Mapping[str, str]] = dict

    def count_rejection(
        self, path: str, status: int, refused: type[DigitscopeError] | None
    ) -> None:
        """Count a request that was refused, or whose client left, by the reason for it.

        Args:
            path: Path of the request.
            status: Status of the response.
            refused: Class of the error that the response reports; None if it reports none.
        """
        reason = _REJECTIONS.get(refused)
        if status == CLIENT_CLOSED_REQUEST:
            reason = "client-gone"
        # A probe that reports "not ready" has done its job: it is no rejected request.
        if reason and path not in OPEN_PATHS:
            self.metrics.count_rejection(reason)

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
                extra={
                    "method": method,
                    "path": path,
                    "status": status,
                    "request_id": request_id,
                    "ms": round(1000 * seconds, 3),
                    "client": client,
                    **self.trace(),
                },
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
        is_trusted = self.context.proxies.resolve(scope)
        if is_trusted or self.context.prefix.configured:
            self.context.prefix.apply(scope, is_trusted=is_trusted)
        if scope["method"] == "HEAD":
            # Every route that answers to GET also answers to HEAD; the body is dropped at the end.
            scope = {**scope, "method": "GET"}
            scope.setdefault("state", {})["is_head"] = True
        exchange = _Exchange(scope, receive, send, self.context)
        self.context.metrics.in_flight += 1
        error: DigitscopeError | None = None
        try:
            if self.context.cors.is_enabled and (preflight := exchange.preflight()):
                await preflight(scope, receive, exchange.send)
            else:
                timer = exchange.start()
                await self.app(scope, timer.receive, exchange.send)
        except asyncio.CancelledError:
            if exchange.status:
                raise
            error = exchange.reason_of_cancellation()
            if error is None:
                raise
        except DigitscopeError as refusal:
            error = refusal
        finally:
            self.context.metrics.in_flight -= 1
            exchange.end()
            if error is None:
                self._count(exchange)
        if error is not None:
            await error_response(Request(scope), error)(scope, receive, exchange.send)
            self._count(exchange)
        await exchange.linger()

    def _count(self, exchange: "_Exchange") -> None:
        scope, status = exchange.scope, exchange.status
        # A request that was refused here has not reached its route.
        route = getattr(scope.get("route") or self.app.find(scope), "path", "other")
        method = "HEAD" if exchange.is_head else scope["method"]
        refused = scope["state"].get("refused")
        if refused or status == CLIENT_CLOSED_REQUEST:
            self.context.count_rejection(route_path(scope), status, refused)
        self.context.record(
            route,
            method if method in _METHODS else "other",
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
        scope: The request's ASGI scope; its state gets `request_id`, `body_hold` and `timer`.
        status: Status of the response; 0 before it starts.
        started_at: When the request began, by `time.perf_counter`.
        is_head: Whether the client asks with HEAD; the scope's method is GET then.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, context: RequestContext) -> None:
        self.scope, self._receive, self._send, self._context = scope, receive, send, context
        self.status, self.started_at = 0, time.perf_counter()
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._timer: RequestTimer | None = None
        self._lingers = self._is_replaced = False
        self._held: tuple[Message, str] | None = None  # start of a response to compress, coding
        wanted = self._headers.get(b"x-request-id", b"").decode("latin-1")
        self._id = request_id(wanted)
        state = scope.setdefault("state", {})
        state["request_id"] = self._id
        self.is_head = state.get("is_head", False)
        self._hold = state["body_hold"] = BodyHold(state["service"].memory)
        # Probes are served even then: an overloaded process need not be restarted.
        self._is_overloaded = (
            state.get("too_many_connections", False) and route_path(scope) not in OPEN_PATHS
        )

    def start(self) -> RequestTimer:
        """Check connections, key and rate, then start the timer.

        Raises:
            DigitscopeError: The request is refused.
        """
        if self._is_overloaded:
            raise TooManyConnectionsError("Too many connections are open.")
        if not self._context.access.is_unrestricted:
            keys = given_keys(Headers(scope=self.scope))
            self._context.access.check(route_path(self.scope), keys, peer_address(self.scope))
        seconds = self._context.deadline_s
        if value := self._headers.get(b"x-request-timeout"):
            seconds = min(seconds, _parse_seconds(value))
        self._timer = RequestTimer(self._receive, seconds, self._context.pace)
        self.scope["state"]["timer"] = self._timer
        set_seconds_left(self._timer.seconds_left)
        return self._timer

    def preflight(self) -> Response | None:
        """Return the answer to a CORS preflight request, None for other requests."""
        return self._context.cors.preflight(self.scope["method"], self._headers)

    async def send(self, message: Message) -> None:
        """Send a part of the response: compressed if the client likes, without a body for HEAD."""
        if self._is_replaced:
            return
        if message["type"] == "http.response.start":
            try:
                size = self._count_response(message)
            except MemoryBudgetError as error:
                # Not raised: FastAPI takes the response for started.
                response = error_response(Request(self.scope), error)
                await response(self.scope, self._receive, self.send)
                self._is_replaced = True
                return
            if size >= MIN_COMPRESSED_BYTES and is_compressible(message):
                add_vary(message["headers"], b"Accept-Encoding")
                accepted = self._headers.get(b"accept-encoding", b"").decode("latin-1")
                if coding := choose_coding(accepted):
                    self._held = message, coding
                    return
            await self._send_start(message)
            return
        if self._held:
            (start, coding), self._held = self._held, None
            if not message.get("more_body"):
                message = {**message, "body": await compress(start, message["body"], coding)}
            await self._send_start(start)
        await self._send_body(message)

    async def _send_start(self, message: Message) -> None:
        """Send the start of the response, with this service's headers."""
        self.status = message["status"]
        # From here on, the connection's own timeout applies to slow clients.
        self._end_timer()
        headers = message.setdefault("headers", [])
        headers += [(b"x-request-id", self._id.encode()), *SECURITY_HEADERS]
        if self._context.cors.is_enabled:
            origin = self._headers.get(b"origin", b"").decode("latin-1")
            headers += self._context.cors.headers(origin)
            if self._context.cors.depends_on_origin:
                add_vary(headers, b"Origin")
        if self._context.drain.started or self._is_overloaded:
            MutableHeaders(raw=headers)["Connection"] = "close"
        await self._send(message)

    async def _send_body(self, message: Message) -> None:
        if self.is_head:
            message = {**message, "body": b""}
        if self._leaves_body_unread() and not message.get("more_body"):
            self._lingers = True
            message = {**message, "more_body": True}
        elif len(message.get("body", b"")) > MAX_UNCOUNTED_BYTES:
            message = await self._send_parts(message)
        await self._send(message)

    def _count_response(self, start: Message) -> int:
        """Count a large response in the memory budget, until `end`; return its length.

        Raises:
            MemoryBudgetError: It does not fit at present.
        """
        size = 0
        for name, value in start.get("headers", ()):
            if name.lower() == b"content-length":
                size = int(value)
        if size > MAX_UNCOUNTED_BYTES:
            self._hold.add(size)
        return size

    async def _send_parts(self, message: Message) -> Message:
        """Send a large body in parts, and return what remains to be sent."""
        body = message["body"]
        for start in range(0, len(body), PART_BYTES):
            part = body[start : start + PART_BYTES]
            await self._send({"type": message["type"], "body": part, "more_body": True})
        return {**message, "body": b""}

    def _leaves_body_unread(self) -> bool:
        """Return whether the request is refused although the client still sends its body."""
        return (
            self.status >= HTTPStatus.BAD_REQUEST
            and self.status != HTTPStatus.REQUEST_TIMEOUT
            and self._timer is not None
            and self._timer.awaits_body
            and not self._headers.keys().isdisjoint((b"content-length", b"transfer-encoding"))
        )

    async def linger(self) -> None:
        """Read what the client still sends after its refusal, then end the response.

        To close a connection before that would reset it, and the refusal would be lost.
        """
        if self._lingers and self._timer:
            try:
                await self._timer.discard_body(LINGER_S)
            except asyncio.CancelledError:
                if not self._context.drain.absorb_cancellation():
                    raise
            await self._send({"type": "http.response.body"})

    def end(self) -> None:
        """Stop the timer for good, and give the memory for the body back."""
        if self._timer:
            self._timer.close()
        # In the scope, it would form a reference cycle with the connection's `receive`.
        self.scope["state"].pop("timer", None)
        self._hold.release()

    def _end_timer(self) -> None:
        if self._timer:
            self._timer.end()

    def reason_of_cancellation(self) -> DigitscopeError | None:
        """Return the error for a cancellation by timer or shutdown; None for any other."""
        if self._timer and self._timer.absorb_cancellation():
            return self._timer.reason
        if self._context.drain.absorb_cancellation():
            return NotReadyError("The service has shut down before the response was ready.")
        return None


def request_id(wanted: str) -> str:
    """Return the id that a client wants for its request if it is harmless, else a random one."""
    return wanted if _SAFE_ID.fullmatch(wanted) else f"{random.getrandbits(128):032x}"


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
