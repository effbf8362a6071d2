"""Measure the memory that a piece of work takes, although other threads of the process allocate."""

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

MAX_RUNS = 20
PAUSE_S = 0.25  # before another run, for what other threads do

T = TypeVar("T")


class Traced(NamedTuple):
    """Bytes of memory since the start of the work: the most at a time, and those at its end."""

    peak: int
    held: int


def least_traced(make: Callable[[], T], work: Callable[[T], object], enough: Traced) -> Traced:
    """Return the least memory that some work takes, of several runs.

    Other threads only add to it: those of an application of another test read files, for example.

    Args:
        make: Makes what each run works on; it is not measured.
        work: Does the work.
        enough: The runs end with the first that takes less.
    """
    found: list[Traced] = []
    while len(found) < MAX_RUNS:
        if found:
            time.sleep(PAUSE_S)
        subject = make()
        tracemalloc.start()
        try:
            work(subject)
            held, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        found.append(Traced(peak, held))
        if peak < enough.peak and held < enough.held:
            break
    return Traced(min(each.peak for each in found), min(each.held for each in found))


def least_peak(make: Callable[[], T], work: Callable[[T], object], enough: int) -> int:
    """Return the least peak, in bytes; see `least_traced`."""
    return least_traced(make, work, Traced(enough, enough)).peak


@contextmanager
def collections_counted(counts: list[int]) -> Iterator[None]:
    """Append how often the garbage collector starts and stops inside the block."""
    counts.append(0)

    def count(phase: str, info: dict[str, int]) -> None:
        counts[-1] += 1

    gc.callbacks.append(count)
    try:
        yield
    finally:
        gc.callbacks.remove(count)
