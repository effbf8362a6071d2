"""Workers share the connections of one socket evenly."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from app.web.http.shared_listener import ConnectionCounts, SharedListener
from tests.server.process import PATIENCE_S


class Worker:
    """A listener on the test's event loop, and the connections that it has accepted."""

    def __init__(self, listening: socket.socket, counts: ConnectionCounts, slot: int) -> None:
        """Start to listen."""
        self.connections: set[asyncio.BaseTransport] = set()
        self.listener = SharedListener(
            listening, lambda: _Protocol(self.connections), self.connections.__len__, counts, slot
        )


class _Protocol(asyncio.Protocol):
    def __init__(self, connections: set[asyncio.BaseTransport]) -> None:
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self._transport)


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Two copies of a listening socket, as two workers have them."""
    with socket.create_server(("127.0.0.1", 0)) as listening, listening.dup() as other:
        listening.setblocking(False)
        yield [listening, other]


async def _connect(stack: ExitStack, listening: socket.socket, clients: int) -> list[socket.socket]:
    return [
        stack.enter_context(await asyncio.to_thread(socket.create_connection, _address(listening)))
        for _ in range(clients)
    ]


def _address(listening: socket.socket) -> tuple[str, int]:
    host, port = listening.getsockname()
    return host, port


async def _eventually(workers: list[Worker], expected: list[int]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while [len(worker.connections) for worker in workers] != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def test_connections_are_shared_evenly(sockets: list[socket.socket]) -> None:
    """Connections that arrive together, and one after the other, go to the worker with fewer."""

    async def serve() -> None:
        counts = ConnectionCounts()
        with ExitStack() as stack:
            clients = await _connect(stack, sockets[0], 16)  # they wait in the queue
            workers = [Worker(each, counts, slot) for slot, each in enumerate(sockets)]
            await _eventually(workers, [8, 8])
            first = {client.getsockname() for client in clients}
            mine = {each.get_extra_info("peername") for each in workers[1].connections}
            for client in clients:
                if client.getsockname() in mine & first:
                    client.close()
            await _eventually(workers, [8, 0])
            await _connect(stack, sockets[0], 8)
            await _eventually(workers, [8, 8])
            for worker in workers:
                worker.listener.close()

    asyncio.run(serve())


def test_connection_is_taken_if_no_other_worker_takes_it(sockets: list[socket.socket]) -> None:
    """A worker that hangs, and keeps its low number, does not keep connections waiting."""

    async def serve() -> None:
        counts = ConnectionCounts()
        counts.publish(1, 0)
        with ExitStack() as stack:
            worker = Worker(sockets[0], counts, slot=0)
            await _connect(stack, sockets[0], 12)
            await _eventually([worker], [12])
            worker.listener.close()

    asyncio.run(serve())


def test_closed_listener_leaves_connections_to_the_others(sockets: list[socket.socket]) -> None:
    """A worker that stops takes no further connection, and the other takes all."""

    async def serve() -> None:
        counts = ConnectionCounts()
        with ExitStack() as stack:
            workers = [Worker(each, counts, slot) for slot, each in enumerate(sockets)]
            workers[0].listener.close()
            await _connect(stack, sockets[0], 4)
            await _eventually(workers, [0, 4])
            assert counts.lowest() == 4
            workers[1].listener.close()

    asyncio.run(serve())
