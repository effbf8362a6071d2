"""What a server process holds: memory and file descriptors, from /proc."""

import re
from pathlib import Path
from typing import NamedTuple

from tests.engine.server import Server, eventually

# The C library keeps some of what was freed; a leak of 10 kB in each of the requests that are sent
# between two looks would be more than this. Measured: 1 to 2 MB.
MOST_GROWTH_MB = 15


class Footprint(NamedTuple):
    """Resident memory in MB, and how many files and sockets are open."""

    memory_mb: float
    files: int


def footprint(server: Server) -> Footprint:
    """Look at a server."""
    process = Path("/proc") / str(server.process.pid)
    resident = re.search(r"VmRSS:\s+(\d+) kB", (process / "status").read_text())
    return Footprint(int(resident[1]) / 1024, len(list((process / "fd").iterdir())))


def peak_mb(server: Server) -> float:
    """Return the most memory that a server ever held, MB."""
    status = (Path("/proc") / str(server.process.pid) / "status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


def assert_is_back_at(before: Footprint, server: Server) -> None:
    """Fail where memory has grown; descriptors are given time to be closed."""
    eventually(lambda: footprint(server).files <= before.files)
    grown = footprint(server).memory_mb - before.memory_mb
    assert grown < MOST_GROWTH_MB, f"{grown:.1f} MB more than before"
