"""Tuning of the process: the garbage collector at import, the heap after work, its end.

Knows Python's collector, glibc's allocator and Linux's signals; knows nothing of requests.
"""

import ctypes
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

# Parameters of `mallopt`, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MAX_MMAP_THRESHOLD = 1 << 25  # bytes; the largest value that glibc's own adaptive threshold takes
_DEFAULT_TRIM_THRESHOLD = 2 * _MAX_MMAP_THRESHOLD  # bytes; glibc's own ratio
_CONSOLIDATION_BYTES = 1 << 17  # freeing 64 KiB or more makes glibc trim the end of an arena

_ALLOCATOR_SETTINGS = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"}
_IS_TUNED = bool(_ALLOCATOR_SETTINGS & os.environ.keys())
_libc = ctypes.CDLL(None) if sys.platform == "linux" and not _IS_TUNED else None
_mallopt = getattr(_libc, "mallopt", None)
_malloc_trim = getattr(_libc, "malloc_trim", None)
_trim_lock = threading.Lock()


_PR_SET_PDEATHSIG = 1  # from Linux's prctl.h: the signal that a process gets when its parent ends
_gc_lock = threading.Lock()
_gc_pauses = 0  # threads in `gc_paused`


def end_with(parent: int) -> None:
    """Let Linux end this process with its parent: one that is killed cannot end its children."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended before
            os._exit(1)


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause garbage collection of all threads; it resumes when no thread is in this block."""
    global _gc_pauses
    with _gc_lock:
        _gc_pauses += 1
        gc.disable()
    try:
        yield
    finally:
        with _gc_lock:
            _gc_pauses -= 1
            if not _gc_pauses:
                gc.enable()


@contextmanager
def gc_frozen_imports() -> Iterator[None]:
    """Import modules without garbage collection, and exclude them from later collections.

    Imported modules stay until the process ends. Collecting them while they load takes a sixth of
    the start; a full collection that includes them stops the event loop for 0.1 s.
    """
    with gc_paused():
        try:
            yield
        finally:
            gc.freeze()


def function_of_library(path: str, name: str) -> Callable[[], int]:
    """Return a C function without arguments, of a shared library or of one that it is linked to."""
    function: Callable[[], int] = getattr(ctypes.CDLL(path), name)
    return function


def trim_heap(barrier: threading.Barrier) -> None:
    """Return freed memory to the operating system; takes a few milliseconds.

    glibc keeps what threads free for their next allocations: about 100 MB after a burst of photos.
    Lower thresholds for the whole process would cost a photo 4 to 13 % of its time, so a thread
    pool trims once it is idle. Does nothing on another libc, or if the environment sets glibc's
    allocator.

    Args:
        barrier: Shared by all threads of the pool, each of which calls this function: only the
            thread itself can trim the end of its arena.
    """
    if _mallopt is None or _malloc_trim is None:
        return
    with suppress(threading.BrokenBarrierError):  # the pool has been closed
        barrier.wait(1)
    with _trim_lock:
        _mallopt(_MMAP_THRESHOLD, _MAX_MMAP_THRESHOLD)
        _mallopt(_TRIM_THRESHOLD, 0)
        end = bytearray(_CONSOLIDATION_BYTES)
        del end
        _mallopt(_TRIM_THRESHOLD, _DEFAULT_TRIM_THRESHOLD)
        _malloc_trim(0)
