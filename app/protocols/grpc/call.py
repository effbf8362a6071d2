"""One call of a client: its method, metadata, address and deadline, and how it ends.

Knows gRPC's context of a call; knows nothing of limits.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

import grpc.aio
from starlette.types import Message

from app.errors import DeadlineError, DigitscopeError
from app.protocols.grpc.status import retry_metadata, status_code, status_detail
from app.web.http.client_address import peer_address
from app.web.http.middleware import request_id
from app.web.service import Service


@dataclass(frozen=True)
class Method:
    """A method of a gRPC service.

    Attributes:
        name: Its name, such as `/inference.GRPCInferenceService/ModelInfer`.
        path: The HTTP route that does the same; its rules for keys and rates apply.
        answer: Returns the response to a message.
        kind: `unary` has one message and one response, `stream` a response for each message;
            `watch` has one message, whose response comes again whenever it changes.
        error_response: Returns the response that reports an error on a stream, given its message;
            None if an error ends the stream.
    """

    name: str
    path: str
    answer: Callable[["Call", bytes], Awaitable[bytes]]
    kind: Literal["unary", "stream", "watch"] = "unary"
    error_response: Callable[[DigitscopeError], bytes] | None = None


class Call:
    """One call of a client.

    Attributes:
        method: The method that is called.
        service: The service.
        headers: The client's metadata, without binary values.
        id: The id of the request.
        client: Address of the client.
        reason: The error for the client once `abort` has cancelled the call.
        last: The last message and its response, if the client watches it.
    """

    def __init__(
        self, method: Method, service: Service, context: Any, proxies: Callable[[Any], object]
    ) -> None:
        """Read the call's metadata; `proxies` finds the client behind trusted proxies."""
        self.method, self.service, self.context = method, service, context
        entries = [
            (key, value)
            for key, value in context.invocation_metadata() or ()
            if isinstance(value, str)
        ]
        self.headers = dict(reversed(entries))  # the first of several values, as for HTTP
        scope = {
            "client": _parse_peer(context.peer()),
            "headers": [(key.encode(), value.encode()) for key, value in entries],
        }
        proxies(scope)
        self.client = peer_address(scope)
        self.id = request_id(self.headers.get("x-request-id", ""))
        self.reason: DigitscopeError | None = None
        self.last = b"", b""
        self._task = asyncio.current_task()

    def abort(self, reason: DigitscopeError) -> None:
        """End the call with an error."""
        if self.reason is None and self._task:
            self.reason = reason
            self._task.cancel()

    def absorb_cancellation(self) -> bool:
        """Return whether `abort` alone cancelled the call, which then goes on."""
        return self.reason is not None and self._task is not None and self._task.uncancel() == 0

    def seconds(self, most: float) -> float:
        """Return the seconds until the client's deadline, at most `most`.

        Raises:
            DeadlineError: It has passed.
        """
        left = self.context.time_remaining()
        if left is None:
            return most
        if left <= 0:
            raise DeadlineError("The deadline of the call has passed.")
        return min(most, float(left))

    async def receive(self) -> Message:
        """Wait for the client's next message, as ASGI's `receive` does for a body."""
        content = await self.context.read()
        if content is grpc.aio.EOF:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": content}

    async def ended(self) -> None:
        """Wait for ever: gRPC cancels the task of a call whose client has gone."""
        await asyncio.get_running_loop().create_future()

    def finish(self, error: DigitscopeError | None) -> None:
        """Set the status that gRPC sends at the end of the call."""
        metadata = [("x-request-id", self.id)]
        if error is not None:
            self.context.set_code(status_code(error))
            self.context.set_details(status_detail(error))
            metadata += retry_metadata(error)
        self.context.set_trailing_metadata(tuple(metadata))


def _parse_peer(peer: str) -> tuple[str, int]:
    """Return the address in gRPC's name of a peer, such as `ipv6:%5B::1%5D:80`; "" for others."""
    kind, _, address = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return "", 0
    return address.rpartition(":")[0].strip("[]"), 0
