"""Lets Ctrl-C end a command that has worker processes, however often it is pressed.

A terminal sends SIGINT to all processes of a command, and again for as long as the keys are held.
A worker that it ends while it holds a lock of a queue leaves the others waiting for ever; one that
ends the clean-up leaves the workers behind.

Knows signals; knows nothing of what the command does.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

HELD_KEY_S = 1.0  # seconds after the first Ctrl-C in which others are the same one
INTERRUPTED = 130  # exit code, as of shells: 128 + SIGINT


def block_interrupts() -> None:
    """Let this thread, and the threads and processes that it starts, get no SIGINT."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Start processes that never get SIGINT; this thread gets it after the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def interrupt_once() -> Callable[[], None]:
    """Let only the first SIGINT raise a `KeyboardInterrupt`, so that the clean-up is not disturbed.

    One that comes `HELD_KEY_S` later ends the process at once, in case that the clean-up hangs.
    Does nothing outside the main thread, or where somebody else handles SIGINT.

    Returns:
        What undoes it; after a SIGINT it does nothing, because the command is about to end.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return lambda: None
    first = list[float]()

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if not first:
            first.append(time.monotonic())
            raise KeyboardInterrupt
        if time.monotonic() - first[0] > HELD_KEY_S:
            os._exit(INTERRUPTED)

    def restore() -> None:
        if not first:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, on_interrupt)
    return restore
