"""Whether anybody still waits for what a thread works out.

Who runs the work says so (`watching`), and long work looks between its steps (`go_on`). Knows
threads; knows nothing of requests.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_left: ContextVar[threading.Event | None] = ContextVar("left", default=None)


class NobodyWaitsError(Exception):
    """Work was broken off; as nobody waits for it, nobody is told."""


@contextmanager
def watching(left: threading.Event) -> Iterator[None]:
    """Let `go_on`, in this thread, end the work once `left` is set."""
    before = _left.set(left)
    try:
        yield
    finally:
        _left.reset(before)


def go_on() -> None:
    """Do nothing as long as somebody waits.

    Raises:
        NobodyWaitsError: Nobody does any more.
    """
    left = _left.get()
    if left is not None and left.is_set():
        raise NobodyWaitsError
