"""What a server process holds: memory and file descriptors, from /proc."""

import re
import time
from pathlib import Path
from typing import NamedTuple

from app.main import REST_S
from tests.server.process import Server, eventually

# A leak of 10 kB in each of the requests that are sent between two looks would be more than this.
MOST_GROWTH_MB = 15


class Footprint(NamedTuple):
    """Resident memory in MB, and how many files and sockets are open."""

    memory_mb: float
    files: int


def footprint(server: Server) -> Footprint:
    """Look at a server that has nothing to do, once it has given back what it took."""
    time.sleep(REST_S + 1)
    return Footprint(memory_mb(server), _files(server))


def memory_mb(server: Server) -> float:
    """Return the memory that a server holds now, MB."""
    return process_mb(server.process.pid)


def peak_mb(server: Server) -> float:
    """Return the most memory that a server ever held, MB."""
    return process_mb(server.process.pid, "VmHWM")


def process_mb(process: int, field: str = "VmRSS") -> float:
    """Return what a process holds now, or another of its figures, MB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) / 1024


def _files(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def assert_is_back_at(before: Footprint, server: Server) -> None:
    """Fail where memory has grown; descriptors are given time to be closed."""
    eventually(lambda: _files(server) <= before.files)
    grown = footprint(server).memory_mb - before.memory_mb
    assert grown < MOST_GROWTH_MB, f"{grown:.1f} MB more than before"
