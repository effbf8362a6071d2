"""Several workers share connections and memory."""

import os
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.server.footprint import process_mb
from tests.server.process import Server, eventually, serving


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_share_connections_and_memory(tmp_path: Path) -> None:
    """Each worker gets connections, and most memory is common; so it is after a replacement."""
    with serving(tmp_path, workers=2) as server:
        server.wait_for_starts(2)
        _check_shares(server)
        os.kill(min(server.workers()), signal.SIGKILL)
        server.wait_for_starts(3)
        _check_shares(server)


def _check_shares(server: Server) -> None:
    workers = server.workers()
    before = {worker: _open_sockets(worker) for worker in workers}
    with ExitStack() as clients:

        def each_has_some() -> bool:
            clients.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            return min(_open_sockets(worker) - before[worker] for worker in workers) >= 4

        # With eight clients on an idle machine; a worker that waits for its core gets later ones.
        eventually(each_has_some, every_s=0.1)
    for worker in workers:
        assert _private_mb(worker) < 0.7 * process_mb(worker)  # 0.3 at rest


def _open_sockets(process: int) -> int:
    count = 0
    for file in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            count += os.readlink(file).startswith("socket:")
    return count


def _private_mb(process: int) -> float:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


@pytest.mark.parametrize("workers", [1, 2])
def test_all_ipv6_addresses_include_ipv4(tmp_path: Path, workers: int) -> None:
    """With the address `::` the service listens on IPv6 and IPv4."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with (
        serving(tmp_path, workers=workers, host="::") as server,  # ready on 127.0.0.1
        socket.create_connection(("::1", server.port)) as client,
    ):
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.makefile("rb").readline().split()[1] == b"200"
