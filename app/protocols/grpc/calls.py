"""Serves calls: id, key, deadline, memory, counters and access log of each, as for HTTP requests.

`app.web.http.middleware` does the same for HTTP, with the same parts. Every call is handled as a
stream of bytes, whatever its method: gRPC then reads a message only when it is asked to, so a call
that is refused, or that waits, holds no message.
"""

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import grpc.aio

from app.cancellation import WorkCancelled, set_seconds_left
from app.errors import (
    BodyTimeoutError,
    DeadlineError,
    DigitscopeError,
    NotReadyError,
    TooManyConnectionsError,
    UndecodableError,
)
from app.memory_budget import BodyHold
from app.protocols.grpc.arrivals import FREE_S, ArrivalGate
from app.protocols.grpc.call import Call, Method
from app.web.http.auth import OPEN_PATHS, given_keys
from app.web.http.client_address import client_group
from app.web.http.connection_table import ConnectionTable, Place
from app.web.http.middleware import MAX_UNCOUNTED_BYTES, RequestContext
from app.web.http.problem_details import CLIENT_CLOSED_REQUEST, unexpected
from app.web.http.request_timer import RequestTimer
from app.web.requests.content_decoding import HELD_PER_BYTE, UNHELD_BYTES
from app.web.service import Service

log = logging.getLogger(__name__)
OK = 200  # the status of a call that succeeded, as metrics and the access log count it
# Messages that arrive may take this part of the memory for bodies, those of open streams as much
# again; the memory budget does not count them.
ARRIVAL_PART = 1 / 2
# Seconds in which gRPC cancels a call whose client has gone or whose message is too large. Until
# then both look like a call without a message. They cannot be told apart: both count as clients
# that left.
CANCELLED_WITHIN_S = 0.1
WATCH_S = 0.5  # seconds between two looks at a response that a client watches
UNKNOWN_PATH = "unknown"  # stands for the route of an unknown method; it needs a key, as most do
MAX_PATH_CHARS = 200  # of the name of an unknown method, in the log


class Calls:
    """Serves the calls of one process."""

    def __init__(
        self, context: RequestContext, service: Service, connections: ConnectionTable
    ) -> None:
        """Serve calls within the limits of HTTP requests.

        Args:
            context: What the middleware of HTTP needs.
            service: The service.
            connections: The connections of the process; a call counts as a connection.
        """
        self._context, self._service, self._connections = context, service, connections
        # Its parts are not seen while a message arrives, so a slow one cannot be told.
        self._pace = replace(context.pace, bytes_per_s=0)
        places = max(1, int(ARRIVAL_PART * service.memory.share) // service.limits.max_body_bytes)
        self._arrivals = ArrivalGate(places)
        self._streams = ConnectionTable(max_connections=places, max_per_client=places)
        self._idle: set[Call] = set()
        self._running: set[Call] = set()
        self._is_stopping = False

    async def serve(self, method: Method, context: Any) -> None:
        """Serve one call."""
        call = Call(method, self._service, context, self._context.proxies.resolve)
        self._running.add(call)
        place = self._connections.add(call.client, lambda: call.abort(_closed_stream()))
        self._connections.start_request(place)
        try:
            if place.is_within_limits or self._connections.admit(place):
                error = await self._serve_kind(call, place)
            else:
                error = await self._exchange(call, refusal=_too_many("connections"))
            call.finish(error)
        finally:
            self._connections.remove(place)
            self._running.discard(call)
            self._idle.discard(call)

    def close_idle(self) -> None:
        """End the streams that wait for a message, and those that open from now on."""
        self._is_stopping = True
        for call in list(self._idle):
            call.abort(_stopping())

    def abort_all(self) -> None:
        """End the calls that are still running."""
        for call in list(self._running):
            call.abort(NotReadyError("The service has shut down before the response was ready."))

    async def _serve_kind(self, call: Call, place: Place) -> DigitscopeError | None:
        if call.method.kind == "stream":
            return await self._serve_stream(call, place)
        error = await self._exchange(call)
        if call.method.kind == "watch" and error is None:
            self._connections.end_request(place)
            return await self._watch(call)
        return error

    async def _watch(self, call: Call) -> DigitscopeError:
        """Send the response again whenever it changes, until the service or the client ends it."""
        message, last = call.last
        self._idle.add(call)
        try:
            while not self._is_stopping:
                await asyncio.sleep(WATCH_S)
                if (response := await call.method.answer(call, message)) != last:
                    await call.context.write(response)
                    last = response
        except asyncio.CancelledError:
            if not call.absorb_cancellation():
                raise
        return call.reason or _stopping()

    async def _serve_stream(self, call: Call, place: Place) -> DigitscopeError | None:
        """Serve the messages of a stream, one after the other."""
        reading = self._streams.add(call.client, lambda: call.abort(_closed_stream()))
        self._streams.start_request(reading)
        try:
            if not reading.is_within_limits:
                return await self._exchange(call, refusal=_too_many("streams"))
            while True:
                tables = ((self._connections, place), (self._streams, reading))
                for table, each in tables:
                    table.end_request(each)
                received = await self._next(call)
                if received is None or isinstance(received, DigitscopeError):
                    return received
                for table, each in tables:
                    table.start_request(each)
                error = await self._exchange(call, received)
                if error is not None and not await self._report(call, error):
                    return error
        finally:
            self._streams.remove(reading)

    async def _next(self, call: Call) -> bytes | DigitscopeError | None:
        """Return the next message of a stream, None at its end, or the error that ends it."""
        if self._is_stopping:
            return _stopping()
        self._idle.add(call)
        try:
            message = await call.receive()
        except asyncio.CancelledError:
            if call.absorb_cancellation():
                return call.reason
            raise
        finally:
            self._idle.discard(call)
        return message.get("body")

    async def _report(self, call: Call, error: DigitscopeError) -> bool:
        """Report an error as a response of the stream; return whether that is possible."""
        wants_status = call.headers.get("triton_grpc_error") == "true"
        if call.method.error_response is None or wants_status or call.reason is not None:
            return False
        await call.context.write(call.method.error_response(error))
        return True

    async def _exchange(
        self, call: Call, received: bytes | None = None, *, refusal: DigitscopeError | None = None
    ) -> DigitscopeError | None:
        """Answer one message, count it and log it.

        Args:
            call: The call.
            received: The message; None to wait for it.
            refusal: The error with which the call is refused, if it is.

        Returns:
            The error that the client must be told; None if the response was sent.
        """
        exchange = _Exchange(call, self._service)
        status, error = CLIENT_CLOSED_REQUEST, refusal
        self._context.metrics.in_flight += 1
        try:
            if error is None or call.method.path in OPEN_PATHS:
                error = None
                await self._answer(exchange, received)
            status = OK
        except asyncio.CancelledError:
            error = exchange.reason_of_cancellation()
            if error is None:
                raise
        except WorkCancelled:
            pass
        except DigitscopeError as refused:
            error = refused
        except grpc.aio.InternalError:  # the client has gone while its response was sent
            log.debug("request %s: the client has gone", call.id)
        except Exception as fault:  # noqa: BLE001 - `unexpected` logs it
            error = unexpected(fault, call.id)
        finally:
            self._context.metrics.in_flight -= 1
            exchange.close()
            self._record(exchange, error.status if error else status, error)
        return error

    async def _answer(self, exchange: "_Exchange", received: bytes | None) -> None:
        call = exchange.call
        if not self._context.access.is_unrestricted:
            self._context.access.check(call.method.path, given_keys(call.headers), call.client)
        seconds = call.seconds(self._context.deadline_s)
        timer = exchange.timer = RequestTimer(call.receive, seconds, self._pace)
        set_seconds_left(timer.seconds_left)
        if received is None:
            async with self._arrivals.place(client_group(call.client), exchange.give_up):
                received = (await timer.receive()).get("body")
            if received is None:
                await asyncio.sleep(CANCELLED_WITHIN_S)
                raise UndecodableError("The call ended without a message.")
        timer.leave_body()
        if len(received) > UNHELD_BYTES:
            exchange.hold.grow(HELD_PER_BYTE * len(received))
        response = await call.method.answer(call, received)
        if len(response) > MAX_UNCOUNTED_BYTES:
            exchange.hold.add(len(response))
        timer.end()
        await call.context.write(response)
        if call.method.kind == "watch":
            call.last = received, response

    def _record(self, exchange: "_Exchange", status: int, error: DigitscopeError | None) -> None:
        call = exchange.call
        is_known = call.method.path != UNKNOWN_PATH
        self._context.count_rejection(call.method.path, status, type(error) if error else None)
        self._context.record(
            call.method.name if is_known else "other",
            "gRPC",
            quote(call.method.name[:MAX_PATH_CHARS], safe="/."),
            status,
            time.perf_counter() - exchange.started_at,
            call.id,
            call.client,
        )


class _Exchange:
    """One message of a call and its response."""

    def __init__(self, call: Call, service: Service) -> None:
        self.call, self.started_at = call, time.perf_counter()
        self.hold = BodyHold(service.memory)
        self.timer: RequestTimer | None = None

    def give_up(self) -> None:
        """End a call whose message takes too long while others wait for its place."""
        self.call.abort(
            BodyTimeoutError(
                f"The message did not arrive within {FREE_S:g} s, and others wait; send a smaller"
                " one, or try again with a faster connection."
            )
        )

    def reason_of_cancellation(self) -> DigitscopeError | None:
        """Return the error for a cancellation by the service or by gRPC; None for any other."""
        if self.call.absorb_cancellation():
            return self.call.reason
        if self.timer and self.timer.absorb_cancellation():
            return self.timer.reason
        left = self.call.context.time_remaining()
        if left is not None and left <= 0:
            return DeadlineError("The deadline of the call has passed.")
        return None

    def close(self) -> None:
        """Stop the timer, and give the memory for message and response back."""
        if self.timer:
            self.timer.close()
        self.hold.release()


def _too_many(what: str) -> TooManyConnectionsError:
    return TooManyConnectionsError(f"Too many {what} are open.")


def _closed_stream() -> TooManyConnectionsError:
    return TooManyConnectionsError("Too many streams are open: this idle one was closed.")


def _stopping() -> NotReadyError:
    return NotReadyError("The service is shutting down; send the request to another one.")
