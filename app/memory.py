"""Memory that was freed goes back to the operating system.

The allocator of glibc keeps what threads free for what they ask next: of a burst of photos, 100 MB.
It could be told to keep less, but then each photo would ask the system anew for each of its arrays,
which takes a tenth of its time. So a pool of threads gives back when it rests. Nothing is done with
another library than glibc, or where the environment tells glibc what to keep.
"""

import ctypes
import os
import sys
import threading
from contextlib import suppress

import numpy as np

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
# What glibc's own thresholds, which grow with what is freed, grow to at most.
_MAPPED = 1 << 25
_KEPT = 2 * _MAPPED
_CONSOLIDATING = 1 << 17  # bytes; freeing 64 KiB or more lets glibc look at the end of an arena

_TOLD = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"} & os.environ.keys()
_libc = ctypes.CDLL(None) if sys.platform == "linux" and not _TOLD else None
_mallopt = getattr(_libc, "mallopt", None)
_malloc_trim = getattr(_libc, "malloc_trim", None)
_turn = threading.Lock()


def give_back(together: threading.Barrier) -> None:
    """Give back what has been freed: the end of this thread's memory, and all between of all.

    Takes some milliseconds.

    Args:
        together: Of as many as the pool has threads, each of which is to call this: nobody else can
            give back the end of its memory.
    """
    if _mallopt is None or _malloc_trim is None:
        return
    with suppress(threading.BrokenBarrierError):  # the pool has been closed
        together.wait(1)
    with _turn:
        _mallopt(_MMAP_THRESHOLD, _MAPPED)
        _mallopt(_TRIM_THRESHOLD, 0)
        end = np.empty(_CONSOLIDATING, np.uint8)
        del end
        _mallopt(_TRIM_THRESHOLD, _KEPT)
        _malloc_trim(0)
