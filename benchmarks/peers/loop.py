"""Repeat a call as often as each line of the input says, and print CPU and wall seconds."""

import sys
import time
from collections.abc import Callable


def repeat(call: Callable[[], object]) -> None:
    """Print what a first call returns, then measure."""
    print(call(), flush=True)
    for line in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(int(line)):
            call()
        print(time.process_time() - cpu, time.perf_counter() - wall, flush=True)
