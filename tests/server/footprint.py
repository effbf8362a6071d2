"""Measure the memory and the open files of a server process, from /proc."""

import re
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from app.main import TRIM_AFTER_S
from tests.server.process import Server, eventually

MAX_GROWTH_MB = 15  # a leak of 10 kB per request would exceed it between two measurements


class Footprint(NamedTuple):
    """Resident memory in MB, and the number of open files and sockets."""

    memory_mb: float
    files: int


def footprint(server: Server) -> Footprint:
    """Measure an idle server after it has returned freed memory to the system."""
    time.sleep(TRIM_AFTER_S + 1)
    return Footprint(memory_mb(server), _files(server))


def memory_mb(server: Server) -> float:
    """Return the resident memory of a server, in MB."""
    return process_mb(server.process.pid)


def peak_mb(server: Server) -> float:
    """Return the peak resident memory of a server since its start, in MB."""
    return process_mb(server.process.pid, "VmHWM")


def tree_mb(server: Server) -> float:
    """Return the memory of a server and its descendants, in MB; shared pages count once."""
    total, processes = 0, [server.process.pid]
    while processes:
        folder = Path(f"/proc/{processes.pop()}")
        with suppress(OSError, ValueError):  # the process has ended
            for tasks in folder.glob("task/*/children"):
                processes += map(int, tasks.read_text().split())
            rollup = (folder / "smaps_rollup").read_text()
            total += int(rollup.partition("\nPss:")[2].split()[0])
    return total / 1024


def process_mb(process: int, field: str = "VmRSS") -> float:
    """Return the resident memory of a process, or another memory field of its status, in MB."""
    match = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(match[1]) / 1024


def _files(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def assert_is_back_at(before: Footprint, server: Server) -> None:
    """Fail if a server never closes its extra descriptors or never returns its extra memory."""
    eventually(lambda: _files(server) <= before.files)
    eventually(lambda: memory_mb(server) - before.memory_mb < MAX_GROWTH_MB)
