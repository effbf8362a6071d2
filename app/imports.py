"""Imports that the garbage collector leaves alone."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept() -> Iterator[None]:
    """Keep the garbage collector from what is imported, now and later, because it stays.

    To look through it again and again takes a sixth of a service's start, and each time that the
    collector looks through everything it would keep the event loop from its work for 0.1 s.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
