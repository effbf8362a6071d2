"""A line between browser and service that can be slow, held or cut: a TCP proxy in a thread."""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

PACKET = 1400  # bytes
CHUNK = 4096  # bytes that are read at once; at 94 kB/s, 44 ms


class Line:
    """Passes connections on to a port of this machine, each direction with a delay.

    Attributes:
        delay: Seconds that a byte needs in each direction.
        rate: Bytes a second from the browser to the service; None for no limit.
        port: The port to connect to.
    """

    def __init__(self, target: int) -> None:
        """Start to listen on a free port, without a delay.

        Args:
            target: Port of the service.
        """
        self.delay: float = 0
        self.rate: float | None = None
        self.is_cut = False
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def address(self) -> str:
        """Return the address to open in the browser."""
        return f"http://127.0.0.1:{self.port}"

    def hold(self) -> None:
        """Keep back what is sent in both directions, until `release`.

        What a page shows while it waits for an answer then lasts, however slow the machine is.
        """
        self._run(self._flows.clear)

    def release(self) -> None:
        """Pass on what was kept back."""
        self._run(self._flows.set)

    def cut(self) -> None:
        """Cut all connections, and refuse new ones until `mend`."""
        self.is_cut = True
        self._run(self._abort)

    def mend(self) -> None:
        """Accept connections again."""
        self.is_cut = False

    def close(self) -> None:
        """Stop listening, and end the thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self, action: Callable[[], None]) -> None:
        """Run an action in the thread of the line, and wait until it is done."""

        async def run() -> None:
            action()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    async def _serve(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        self._flows = asyncio.Event()
        self._flows.set()
        listener = socket.create_server(("127.0.0.1", 0))
        # The buffers of this machine take a whole photo at once, and the browser would call it
        # sent. With packets as small as on a network, its own buffer stays small.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, PACKET)
        server = await asyncio.start_server(self._connect, sock=listener, limit=CHUNK)
        self.port = listener.getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        server.close()
        self._abort()

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _connect(self, browser: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        if self.is_cut:
            back.transport.abort()
            return
        service, forth = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {back, forth}
        if self.is_cut:  # in the meantime
            self._abort()
        pumps = self._pump(browser, forth, limited=True), self._pump(service, back, limited=False)
        with suppress(asyncio.CancelledError):  # at the end of the thread
            await asyncio.gather(*pumps)
        self._writers -= {back, forth}

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, limited: bool
    ) -> None:
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivery = asyncio.create_task(self._deliver(late, sink))
        content = b"-"
        with suppress(ConnectionError):
            while content:
                content = await source.read(CHUNK)
                if limited and self.rate:
                    await asyncio.sleep(len(content) / self.rate)
                late.put_nowait((self._loop.time() + self.delay, content))
        await delivery if not content else delivery.cancel()

    async def _deliver(
        self, late: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter
    ) -> None:
        with suppress(ConnectionError):
            while True:
                due, content = await late.get()
                await asyncio.sleep(max(0, due - self._loop.time()))
                await self._flows.wait()
                if not content:
                    sink.close()
                    return
                sink.write(content)
