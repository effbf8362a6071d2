"""Cancellation of work that runs in a thread.

The thread pool opens a `cancel_scope` around the work; long work calls `check_cancelled` between
its steps. Knows threads; knows nothing of requests.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_cancelled: ContextVar[threading.Event | None] = ContextVar("cancelled", default=None)


class WorkCancelled(Exception):
    """The work has ended early because its client has gone or its deadline has passed."""


@contextmanager
def cancel_scope(cancelled: threading.Event) -> Iterator[None]:
    """Let `check_cancelled` raise in this thread once `cancelled` is set."""
    before = _cancelled.set(cancelled)
    try:
        yield
    finally:
        _cancelled.reset(before)


def check_cancelled() -> None:
    """Raise if the work of this thread is cancelled.

    Raises:
        WorkCancelled: The client has gone, or the deadline has passed.
    """
    cancelled = _cancelled.get()
    if cancelled is not None and cancelled.is_set():
        raise WorkCancelled
