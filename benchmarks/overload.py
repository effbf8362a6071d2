"""Right answers per second when clients send twice and seven times what the service can answer.

    python -m benchmarks.overload               (about a minute for each size of photo)
    python -m benchmarks.overload --dry --sizes 1600x1200 --rounds 1

Starts the service with a deadline of 4 s and sends noisy photos from a process of its own. First a
few clients send one photo after the other: that is the capacity. Then photos arrive at random times
at a multiple of the capacity, however long the answers take. In the last phase each refused client
comes back once after its Retry-After. The table goes into docs/reliability.md.

The load generator shares the processors with the service, so the table also has the right answers
per CPU second of the service: whether overload makes it waste work, whatever else runs on the
machine.
"""

import argparse
import asyncio
import io
import multiprocessing
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.samples import sample_pixels
from app.settings import REPOSITORY
from benchmarks.page import fill, table
from tests.server.process import Server, serving

PAGE = REPOSITORY / "docs" / "reliability.md"
DEADLINE_S = 4.0
DIGITS = (2, 3, 7)
CLIENTS = 3  # that measure the capacity: more than threads, too few to be refused
FACTORS = (2, 7)
PAUSE_S = 2.0  # between two phases, so that none begins with the queue of the one before
NOISE, QUALITY = 18.0, 80  # standard deviation of the grey values; of the JPEG file
HEAD = (
    "load",
    "sent/s",
    "right/s",
    "share of capacity",
    "right per CPU s",
    "cores: service + sender",
    "refused",
    "late of accepted",
    "lost",
    "p50, s",
    "p99, s",
    "served when back",
)
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Reply:
    """What a client got.

    Attributes:
        status: HTTP status; 0 if the connection was lost.
        seconds: From the moment when the client wanted to send to the end of the response.
        ended_at: When the response ended, in seconds since the start of the phase.
        is_right: Whether the digit is right and came within the deadline.
        retry_after: Seconds of the header; 0 if there was none.
        attempt: 1, or 2 for a client that has come back.
    """

    status: int
    seconds: float
    ended_at: float
    is_right: bool
    retry_after: int
    attempt: int = 1


@dataclass
class Phase:
    """The replies of one phase, and what it cost.

    Attributes:
        replies: One for each request.
        seconds: Length; the answers to the last requests come later.
        wall_s: Length until the last answer.
        sender_cpu_s: CPU seconds of the load generator.
        service_cpu_s: CPU seconds of all processes of the service.
    """

    replies: list[Reply] = field(default_factory=list)
    seconds: float = 0.0
    wall_s: float = 0.0
    sender_cpu_s: float = 0.0
    service_cpu_s: float = 0.0

    @property
    def first(self) -> list[Reply]:
        """Return the replies to clients that had not been refused before."""
        return [reply for reply in self.replies if reply.attempt == 1]

    @property
    def rate(self) -> float:
        """Return the right answers per second, those of clients that came back included."""
        ended = [reply.ended_at for reply in self.replies if reply.is_right]
        seconds = self.seconds
        if len(self.first) < len(self.replies):
            seconds = max(ended)
        return sum(at <= seconds for at in ended) / seconds


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=["1600x1200", "4000x3000"])
    parser.add_argument("--seconds", type=float, default=8.0, help="Of each phase.")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dry", action="store_true", help="Print and write nothing.")
    arguments = parser.parse_args()
    rows = [["photos", *HEAD]]
    for size in arguments.sizes:
        width, height = map(int, size.split("x"))
        photos = {digit: make_photo(digit, width, height) for digit in DIGITS}
        found = _measure(photos, arguments.seconds, arguments.rounds)
        rows += [[size, *row] for row in _rows(found)]
    print(table(rows))
    if not arguments.dry:
        fill(PAGE, "overload", table(rows))


def make_photo(digit: int, width: int, height: int) -> bytes:
    """Return a JPEG file of a dark digit on noisy paper in uneven light."""
    file = io.BytesIO()
    pixels = photo_pixels(digit, width, height)
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def photo_pixels(digit: int, width: int, height: int) -> NDArray[np.uint8]:
    """Return the same as pixels, uint8 `[height, width, 3]`."""
    noise = np.random.default_rng(digit)
    side = int(0.7 * min(width, height))
    ink = Image.fromarray(sample_pixels(digit)).resize((side, side), Image.Resampling.BICUBIC)
    paper = np.full((height, width), 205.0) + np.linspace(-20, 20, width)
    top, left = (height - side) // 2, (width - side) // 2
    paper[top : top + side, left : left + side] -= 150 / 255 * np.asarray(ink, float)
    pixels = paper[..., None] + noise.normal(0, NOISE, (height, width, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def _measure(photos: dict[int, bytes], seconds: float, rounds: int) -> dict[str, list[Phase]]:
    """Run all phases in turn, so that the noise of the machine falls on all of them alike."""
    found: dict[str, list[Phase]] = {}
    settings = {"deadline_s": DEADLINE_S, "access_log": False}
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), **settings) as server:

        def run(name: str, plan: _Plan, seconds: float = seconds) -> Phase:
            phase = _run(server, photos, seconds, plan)
            found.setdefault(name, []).append(phase)
            print(*_row(name, [phase], found["alone"][-1:]), sep=", ", flush=True)
            return phase

        _run(server, photos, 3.0, lambda sender: sender.one_after_the_other(CLIENTS))
        for _ in range(rounds):
            rate = run("alone", lambda sender: sender.one_after_the_other(CLIENTS)).rate
            for factor in FACTORS:
                run(f"{factor}x", partial(Sender.at_random, per_s=factor * rate))
                run(
                    f"{factor}x, refused come back",
                    partial(Sender.at_random, per_s=factor * rate, comes_back=True),
                )
    return found


class Sender:
    """Sends photos for some seconds and collects the replies; runs in a process of its own."""

    def __init__(self, port: int, photos: dict[int, bytes], seconds: float) -> None:
        """Send to the service at a port."""
        self._port, self._photos, self._seconds = port, list(photos.items()), seconds
        self._began = time.perf_counter()
        self.replies: list[Reply] = []

    async def one_after_the_other(self, clients: int) -> None:
        """Let each of some clients send a photo as soon as its last one is answered."""
        until = self._began + self._seconds

        async def client() -> None:
            while time.perf_counter() < until:
                reply = await self._ask(time.perf_counter())
                await asyncio.sleep(reply.retry_after)

        await asyncio.gather(*(client() for _ in range(clients)))

    async def at_random(self, per_s: float, *, comes_back: bool = False) -> None:
        """Send at random times, so many per second on average, whatever the answers take.

        Args:
            per_s: Requests per second.
            comes_back: Whether a refused client comes back once, after its Retry-After.
        """
        at, gaps = self._began, random.Random(1)
        until, requests = at + self._seconds, set[asyncio.Task[None]]()
        while (at := at + gaps.expovariate(per_s)) < until:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            requests.add(asyncio.create_task(self._visit(at, comes_back=comes_back)))
        await asyncio.gather(*requests)

    async def _visit(self, wanted_at: float, *, comes_back: bool) -> None:
        reply = await self._ask(wanted_at)
        if comes_back and reply.retry_after:
            await asyncio.sleep(reply.retry_after)
            await self._ask(time.perf_counter(), attempt=2)

    async def _ask(self, wanted_at: float, attempt: int = 1) -> Reply:
        digit, photo = self._photos[len(self.replies) % len(self._photos)]
        try:
            status, head, body = await self._exchange(photo)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            status, head, body = 0, b"", b""
        now = time.perf_counter()
        is_right = status == 200 and body.startswith(b'{"digit":%d,' % digit)
        retry_after = head.partition(b"retry-after: ")[2].partition(b"\r\n")[0]
        reply = Reply(
            status,
            seconds=now - wanted_at,
            ended_at=now - self._began,
            is_right=is_right and now - wanted_at <= DEADLINE_S,
            retry_after=int(retry_after or 0),
            attempt=attempt,
        )
        self.replies.append(reply)
        return reply

    async def _exchange(self, photo: bytes) -> tuple[int, bytes, bytes]:
        """Return status, head and body of the response on a new connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
                b"Content-Length: %d\r\n\r\n" % len(photo)
            )
            writer.write(photo)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return int(head[9:12]), head, await reader.readexactly(length)
        finally:
            writer.close()


_Plan = Callable[[Sender], Coroutine[Any, Any, None]]


def _run(server: Server, photos: dict[int, bytes], seconds: float, plan: _Plan) -> Phase:
    """Run one phase in a process of its own, and wait until the service is idle again."""
    results: multiprocessing.Queue[tuple[list[Reply], float]] = multiprocessing.Queue()

    def work() -> None:
        sender = Sender(server.port, photos, seconds)
        asyncio.run(plan(sender))
        usage = resource.getrusage(resource.RUSAGE_SELF)
        results.put((sender.replies, usage.ru_utime + usage.ru_stime))

    began = time.perf_counter()
    service_before_s = _cpu_seconds(server.process.pid)
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    replies, sender_cpu_s = results.get()
    process.join()
    wall_s = time.perf_counter() - began
    service_cpu_s = _cpu_seconds(server.process.pid) - service_before_s
    time.sleep(PAUSE_S)
    return Phase(replies, seconds, wall_s, sender_cpu_s, service_cpu_s)


def _cpu_seconds(process: int) -> float:
    """Return the CPU seconds of a process and its descendants, the ended ones included."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    total = sum(map(int, fields[11:15])) / CLOCK_TICKS
    children = [
        int(child)
        for tasks in Path(f"/proc/{process}/task").glob("*/children")
        for child in tasks.read_text().split()
    ]
    return total + sum(map(_cpu_seconds, children))


def _rows(found: dict[str, list[Phase]]) -> list[list[str]]:
    return [_row(name, phases, found["alone"]) for name, phases in found.items()]


def _row(name: str, phases: Sequence[Phase], alone: Sequence[Phase]) -> list[str]:
    """Return the cells of one load: medians over its phases, and shares of all its requests."""
    replies = [reply for phase in phases for reply in phase.replies]
    first = [reply for phase in phases for reply in phase.first]
    accepted = [reply for reply in first if reply.status in (200, 504)]
    back = [reply for reply in replies if reply.attempt == 2]
    service_cpu_s = sum(phase.service_cpu_s for phase in phases)
    sender_cpu_s = sum(phase.sender_cpu_s for phase in phases)
    wall_s = sum(phase.wall_s for phase in phases)
    right = sum(reply.is_right for reply in replies)
    served = sorted(reply.seconds for reply in first if reply.status == 200)
    rate = statistics.median(phase.rate for phase in phases)
    return [
        name,
        f"{len(first) / sum(phase.seconds for phase in phases):.1f}",
        f"{rate:.1f}",
        f"{rate / statistics.median(phase.rate for phase in alone):.0%}",
        f"{right / service_cpu_s:.2f}",
        f"{service_cpu_s / wall_s:.2f} + {sender_cpu_s / wall_s:.2f}",
        f"{sum(reply.status == 503 for reply in first) / len(first):.0%}",
        f"{sum(reply.status == 504 for reply in accepted) / max(1, len(accepted)):.1%}",
        str(sum(reply.status not in (200, 503, 504) for reply in replies)),
        f"{served[len(served) // 2]:.2f}" if served else "",
        f"{served[int(0.99 * len(served))]:.2f}" if served else "",
        f"{sum(reply.is_right for reply in back) / len(back):.0%}" if back else "",
    ]


if __name__ == "__main__":
    main()
