"""Several workers listen on the same socket and share its connections evenly.

The system wakes all workers for a new connection, and the first one would accept all that wait: of
two workers with 16 clients, one often served all of them. Here a worker leaves a connection to the
others while one of them has fewer. Knows sockets and processes; knows nothing of requests.
"""

import asyncio
import logging
import mmap
import select
import socket
from collections.abc import Callable

import numpy as np
from uvicorn.config import Config
from uvicorn.server import Server

log = logging.getLogger(__name__)
MAX_WORKERS = 1024
LOOK_AGAIN_S = 0.001  # seconds until a worker looks again for a connection that it left to others
MAX_LEFT = 20  # looks after which it takes the connection: the others may be busy or gone
ERROR_PAUSE_S = 1.0  # seconds without new connections after an error, such as too many open files
_ABSENT = np.iinfo(np.int32).max  # in the place of the number of a worker that takes none


class ConnectionCounts:
    """How many connections each worker has, in memory that the workers share."""

    def __init__(self) -> None:
        """Start without workers. To be made before they are forked."""
        self._counts = np.frombuffer(mmap.mmap(-1, 4 * MAX_WORKERS), np.int32)
        self._counts[:] = _ABSENT

    def publish(self, slot: int, connections: int) -> None:
        """Set the number of connections of a worker."""
        self._counts[slot] = connections

    def remove(self, slot: int) -> None:
        """Note that a worker takes no more connections."""
        self._counts[slot] = _ABSENT

    def lowest(self) -> int:
        """Return the number of connections of the worker with the fewest."""
        return int(self._counts.min())


class SharedListener:
    """Accepts the connections of one socket for one worker."""

    def __init__(
        self,
        listening: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        count: Callable[[], int],
        counts: ConnectionCounts,
        slot: int,
    ) -> None:
        """Start to accept, on the running event loop.

        Args:
            listening: The socket, which does not block.
            make_protocol: Returns the protocol of a new connection.
            count: Returns the number of open connections of this worker.
            counts: Those of all workers.
            slot: The place of this worker among them.
        """
        self._socket, self._make_protocol = listening, make_protocol
        self._count, self._counts, self._slot = count, counts, slot
        self._loop = asyncio.get_running_loop()
        self._poll = select.poll()
        self._poll.register(listening, select.POLLIN)
        self._opening: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._left = 0  # times that waiting connections were left to the others
        self.publish()
        self._loop.add_reader(listening, self._on_connection)

    def close(self) -> None:
        """Accept no more connections."""
        self._is_closed = True
        self._counts.remove(self._slot)
        if self._timer:
            self._timer.cancel()
        self._loop.remove_reader(self._socket)

    def publish(self) -> int:
        """Tell the other workers how many connections this one has, and return it."""
        connections = self._count() + len(self._opening)
        if not self._is_closed:
            self._counts.publish(self._slot, connections)
        return connections

    async def wait_closed(self) -> None:
        """Return at once: the server itself waits for its connections."""

    def _on_connection(self) -> None:
        """Accept what waits while no other worker has fewer connections."""
        while self._is_next():
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                self._left = 0
                return  # another worker was faster, or the client has gone
            except OSError as error:
                log.error("cannot accept a connection; next try in %g s: %s", ERROR_PAUSE_S, error)
                self._pause(ERROR_PAUSE_S)
                return
            connection.setblocking(False)
            opening = self._loop.create_task(self._open(connection))
            self._opening.add(opening)
            opening.add_done_callback(self._on_opened)
            if self._left:  # one at a time, so that the others get the rest when they wake up
                break
        self._left += 1
        self._pause(LOOK_AGAIN_S)

    def _is_next(self) -> bool:
        """Return whether this worker takes the next connection."""
        if self.publish() <= self._counts.lowest():
            self._left = 0
            return True
        return self._left >= MAX_LEFT

    def _on_opened(self, opening: asyncio.Task[object]) -> None:
        self._opening.discard(opening)
        self.publish()

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._socket)
        self._timer = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._timer = None
        if not self._poll.poll(0):
            self._left = 0
        self._loop.add_reader(self._socket, self._on_connection)

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make_protocol, connection)
        except OSError:  # the client has gone
            connection.close()


class SharingServer(Server):
    """uvicorn's server for one of several workers."""

    def __init__(self, config: Config, counts: ConnectionCounts, slot: int) -> None:
        """Serve in the worker with the place `slot` among `counts`."""
        super().__init__(config)
        self._counts, self._slot = counts, slot
        self._listeners: list[SharedListener] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen."""
        await super().startup(sockets=[])
        for listening in sockets or []:
            listening.setblocking(False)
            listening.listen(self.config.backlog)
            count = self.server_state.connections.__len__
            self._listeners.append(
                SharedListener(listening, self._make_protocol, count, self._counts, self._slot)
            )
        self.servers += self._listeners  # type: ignore[arg-type]

    async def on_tick(self, counter: int) -> bool:
        """Publish the number of connections, which falls without a new one, ten times a second."""
        for listener in self._listeners:
            listener.publish()
        return await super().on_tick(counter)

    def _make_protocol(self) -> asyncio.Protocol:
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
