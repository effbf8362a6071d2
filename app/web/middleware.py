"""What happens around every request: its id, its deadline, and headers for safety; pure ASGI."""

import asyncio
import re
import uuid

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import DeadlineError
from app.web.problems import answer

_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestMiddleware:
    """Gives each request an id (the client's own, if it is harmless) and a deadline."""

    def __init__(self, app: ASGIApp, *, deadline_s: float) -> None:
        """Wrap `app`; a request not answered within `deadline_s` seconds gets 504."""
        self.app, self.deadline_s = app, deadline_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        came = request.headers.get("x-request-id", "")
        request.state.request_id = came if _SAFE_ID.fullmatch(came) else uuid.uuid4().hex
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request.state.request_id
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        try:
            async with asyncio.timeout(self.deadline_s) as deadline:
                await self.app(scope, receive, send_with_headers)
        except TimeoutError:
            if not deadline.expired() or begun:
                raise
            late = DeadlineError(
                f"No answer within {self.deadline_s:g} s; send less at once, or try again later."
            )
            await answer(request, late)(scope, receive, send_with_headers)
