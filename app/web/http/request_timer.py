"""The time of one request: for the client to send the body, and for the service to respond."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from starlette.types import Message, Receive

from app.errors import BodyTimeoutError, DeadlineError, DigitscopeError

MIN_DELAY_S = 0.001  # seconds; a timer may fire up to a millisecond early


@dataclass(frozen=True)
class BodyPace:
    """How fast a body must arrive.

    Attributes:
        timeout_s: Longest time for the whole body, in seconds.
        bytes_per_s: Least bytes per second in each window after the first.
        window_s: Length of a window in seconds. The first one is free of charge.
    """

    timeout_s: float
    bytes_per_s: float
    window_s: float = 5.0


class RequestTimer:
    """Cancels the current task when the body comes too slowly or the deadline has passed.

    The clock of the deadline stands still while the service waits for the body, so a slow upload
    takes nothing from the time for the work. One timer of the event loop serves all limits, so a
    small request pays for one timer.

    Attributes:
        reason: The error for the client, once the task has been cancelled.
        awaits_body: Whether the service still reads the body, and its end has not arrived.
    """

    def __init__(
        self,
        receive: Receive,
        seconds: float,
        pace: BodyPace,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the clock.

        Args:
            receive: Waits for the next part of the body.
            seconds: Time for the response, without the time for the body.
            pace: How fast the body must arrive.
            clock: Returns seconds, from any thread, as fast as those of the event loop.
        """
        self.reason: DigitscopeError | None = None
        self._receive, self._seconds, self._pace = receive, seconds, pace
        self._clock = clock
        now = clock()
        self._deadline, self._window_end = now + seconds, now + pace.window_s
        self._waiting_since: float | None = None  # the service waits for the body
        self._waited_s, self._received, self._window_start = 0.0, 0, -1  # seconds, bytes, bytes
        self.awaits_body = True
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._due = now + min(seconds, pace.window_s, pace.timeout_s)
        self._timer = self._loop.call_later(self._due - now, self._check)

    async def receive(self) -> Message:
        """Return the next ASGI message of the request."""
        if not self.awaits_body:
            return await self._receive()
        self._waiting_since = self._clock()
        try:
            message = await self._receive()
        finally:
            self._end_wait()
        self._received += len(message.get("body", b""))
        self.awaits_body &= message.get("more_body", False)
        return message

    async def discard_body(self, seconds: float) -> None:
        """Read the rest of the body, for at most so long, and drop it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.awaits_body:
                    self.awaits_body = (await self._receive()).get("more_body", False)

    def leave_body(self) -> None:
        """Let the clock run from here: the service reads no more of the body."""
        self.awaits_body = False

    def seconds_left(self) -> float:
        """Return the seconds until the deadline; below 0 after it."""
        since = self._waiting_since
        return self._deadline - (self._clock() if since is None else since)

    def absorb_cancellation(self) -> bool:
        """Return whether this timer alone cancelled the task; the task then goes on."""
        return self.reason is not None and self._task is not None and self._task.uncancel() == 0

    def end(self) -> None:
        """Stop the timer for good."""
        self._timer.cancel()
        self._due = 0.0  # a wait that ends later starts no timer

    def close(self) -> None:
        """Stop the timer and forget the task, with which it forms a reference cycle.

        The task's context holds `seconds_left`. Collecting a cycle for each request would cost
        more than the timer.
        """
        self.end()
        self._task = None

    def _end_wait(self) -> None:
        now = self._clock()
        waited_s = now - (self._waiting_since or now)
        self._waiting_since = None
        self._waited_s += waited_s
        self._deadline += waited_s
        if self._deadline < self._due:
            self._timer.cancel()
            self._wait_for_next(now, self._deadline - now)

    def _wait_for_next(self, now: float, delay_s: float) -> None:
        delay_s = max(MIN_DELAY_S, delay_s)
        self._due = now + delay_s
        self._timer = self._loop.call_later(delay_s, self._check)

    def _check(self) -> None:
        """Cancel the task if a limit is exceeded; else look again at the next limit."""
        now = self._clock()
        delays = [self._check_window(now)] if self.awaits_body else []
        if self._waiting_since is None:
            delays.append(self._deadline - now)
            if delays[-1] <= 0:
                self.reason = DeadlineError(
                    f"No response within {self._seconds:g} s; send fewer images at once, or try"
                    " again later."
                )
        else:
            delays.append(self._pace.timeout_s - self._waited_s - (now - self._waiting_since))
            if delays[-1] <= 0:
                self.reason = BodyTimeoutError(
                    f"The body did not arrive within {self._pace.timeout_s:g} s; send a smaller"
                    " one, or try again with a faster connection."
                )
        if self.reason is None:
            self._wait_for_next(now, min(delays))
        elif self._task:
            self.end()
            self._task.cancel()

    def _check_window(self, now: float) -> float:
        """Check the pace at the end of a window; return the seconds until the next end."""
        if now < self._window_end:
            return self._window_end - now
        arrived, expected = self._received - self._window_start, self._pace.bytes_per_s
        # A window counts only if the service has waited for the body at its start and end.
        is_measured = self._window_start >= 0 and self._waiting_since is not None
        if is_measured and arrived < expected * self._pace.window_s:
            self.reason = BodyTimeoutError(
                f"The body arrives too slowly: {arrived} bytes in {self._pace.window_s:g} s;"
                f" expected at least {expected:g} per second."
            )
        self._window_start = -1 if self._waiting_since is None else self._received
        self._window_end = now + self._pace.window_s
        return self._pace.window_s
