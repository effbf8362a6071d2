"""Cancellation of work that runs in a thread, and the callable that says when to cancel it.

The thread pool opens a `cancel_scope` around the work; long work calls `check_cancelled` between
its steps. Before it queues work, the pool asks `seconds_left` whether it can be done in time. Knows
threads; knows nothing of HTTP.
"""

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Returns once the caller no longer waits for the result. The HTTP layer makes one from a request;
# another protocol makes one from its own connection.
Disconnected = Callable[[], Awaitable[None]]

_seconds_left: ContextVar[Callable[[], float]] = ContextVar(
    "seconds_left", default=lambda: float("inf")
)
_cancelled: ContextVar[threading.Event | None] = ContextVar("cancelled", default=None)


class WorkCancelled(Exception):
    """The work ended early because its client disconnected or its deadline passed."""


@contextmanager
def cancel_scope(cancelled: threading.Event) -> Iterator[None]:
    """Make `check_cancelled` raise in this thread once `cancelled` is set."""
    outer = _cancelled.set(cancelled)
    try:
        yield
    finally:
        _cancelled.reset(outer)


def check_cancelled() -> None:
    """Raise if the work of this thread is cancelled; do nothing outside a `cancel_scope`.

    Raises:
        WorkCancelled: The client disconnected, or the deadline passed.
    """
    cancelled = _cancelled.get()
    if cancelled is not None and cancelled.is_set():
        raise WorkCancelled


def set_seconds_left(seconds_left: Callable[[], float]) -> None:
    """Set, for the current task, the function that says how long its deadline is away."""
    _seconds_left.set(seconds_left)


def seconds_left() -> float:
    """Return the seconds until the deadline of the current task; infinite if it has none."""
    return _seconds_left.get()()
