"""What happens around every request: its id, its key, its deadline, what is counted; pure ASGI."""

import asyncio
import logging
import random
import re
import time
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

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
from app.web.http.fast_routes import Dispatcher
from app.web.http.http_protocol import SECURITY_HEADERS
from app.web.http.problem_details import GONE, answer
from app.web.http.shutdown import Drain
from app.web.observability.metrics import Metrics

log = logging.getLogger("digitscope.access")
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
# Of kinds of refusals, several of which have one status.
_REASONS: dict[type[DigitscopeError] | None, str] = {
    DeadlineError: "deadline",
    NotReadyError: "not-ready",
    QueueFullError: "busy",
    RateLimitError: "rate-limit",
    UnauthorisedError: "key",
}


@dataclass(frozen=True)
class RequestContext:
    """What the middleware works with.

    Attributes:
        access: Who may ask.
        metrics: What is counted.
        drain: Whether the process is about to stop.
        deadline_s: Longest time to an answer, seconds; a client may ask for less.
        access_log: Whether each request gets a line in the log.
    """

    access: Access
    metrics: Metrics
    drain: Drain
    deadline_s: float
    access_log: bool

    def note(
        self,
        route: str,
        method: str,
        asked: str,
        status: int,
        seconds: float,
        request_id: str,
        client: str,
    ) -> None:
        """Count an answer, and write its line of the log."""
        self.metrics.answered(route, method, status, seconds)
        if self.access_log:
            log.info(
                "%s %s %d",
                method,
                asked,
                status,
                extra={"request_id": request_id, "ms": round(1000 * seconds, 3), "client": client},
            )

    def note_no_request(self, status: int, request_id: str, client: str) -> None:
        """Do the same for what came on a connection and was no request."""
        self.note("other", "other", "-", status, 0.0, request_id, client)


class RequestMiddleware:
    """Gives each request an id (the client's own, if it is harmless) and a deadline; counts it."""

    def __init__(self, app: Dispatcher, around: RequestContext) -> None:
        """Wrap `app`; a request not answered within its deadline gets 504."""
        self.app, self.around = app, around

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, around = time.perf_counter(), self.around
        came: dict[bytes, bytes] = dict(scope["headers"])
        wanted = came.get(b"x-request-id", b"").decode("latin-1")
        request_id = wanted if _SAFE_ID.fullmatch(wanted) else f"{random.getrandbits(128):032x}"
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        # Probes are answered all the same: a process that is asked too much need not be replaced.
        crowded = state.get("crowded", False) and scope["path"] not in OPEN_PATHS
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # How long a client may take for its answer, the connection says.
                if deadline:
                    deadline.end()
                headers = message.setdefault("headers", [])
                headers += [(b"x-request-id", request_id.encode()), *SECURITY_HEADERS]
                if around.drain.begun or crowded:
                    MutableHeaders(raw=headers)["Connection"] = "close"
            await send(message)

        error: DigitscopeError | None = None
        deadline_s = around.deadline_s
        deadline: Deadline | None = None
        try:
            if crowded:
                raise QueueFullError("Too many connections are open; try again in a second.")
            if not around.access.free:
                client = scope.get("client") or ("",)
                around.access.check(scope["path"], given_keys(Headers(scope=scope)), client[0])
            if asked := came.get(b"x-request-timeout"):
                deadline_s = min(deadline_s, _seconds(asked))
            deadline = Deadline(deadline_s)
            await self.app(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            if status:
                raise
            if deadline and deadline.caught():
                error = DeadlineError(
                    f"No answer within {deadline_s:g} s; send less at once, or try again later."
                )
            elif around.drain.caught():
                error = NotReadyError("The service has shut down, and its time of grace is over.")
            else:
                raise
        except DigitscopeError as refused:
            error = refused
        finally:
            if deadline:
                deadline.end()
            if error is None:
                self._count(scope, status, time.perf_counter() - began)
        if error is not None:
            await answer(Request(scope), error)(scope, receive, send_with_headers)
            self._count(scope, status, time.perf_counter() - began)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        # What was refused here has not come to its route.
        route = getattr(scope.get("route") or self.app.find(scope), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        reason = _REASONS.get(scope["state"].get("refused"))
        if status == GONE:
            reason = "client-gone"
        # A probe that is told that the process is not ready has been served.
        if reason and scope["path"] not in OPEN_PATHS:
            self.around.metrics.rejected(reason)
        self.around.note(
            route,
            method,
            # As it came, escaped: a line break in a path must not begin a line of the log.
            scope["raw_path"].decode("latin-1"),
            status,
            seconds,
            scope["state"]["request_id"],
            (scope.get("client") or ("",))[0],
        )


class Deadline:
    """Cancels the task that makes it when its time is over, as `asyncio.timeout`, but faster."""

    def __init__(self, seconds: float) -> None:
        """Begin."""
        self._task, self._passed = asyncio.current_task(), False
        self._timer = asyncio.get_running_loop().call_later(seconds, self._pass)

    def _pass(self) -> None:
        self._passed = True
        if self._task:
            self._task.cancel()

    def caught(self) -> bool:
        """Tell whether a cancellation that arrived was this one alone; then the task goes on."""
        return self._passed and self._task is not None and self._task.uncancel() == 0

    def end(self) -> None:
        """Let the task go on, however long it takes."""
        self._timer.cancel()


def _seconds(header: bytes) -> float:
    try:
        seconds = float(header)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InvalidInputError(
            f"The header X-Request-Timeout is {header.decode('latin-1')!r}; expected seconds, more"
            " than 0."
        )
    return seconds
