"""Large bodies are parsed in a thread that leaves time for others."""

import asyncio
import gc
import threading
import time

import pytest

from app.errors import UndecodableError
from app.memory_budget import MemoryBudget
from app.web.execution.thread_pool import BoundedThreadPool
from app.web.requests.parsing import MAX_INLINE_BYTES, BodyParser, parse, without_gc
from tests.server.process import PATIENCE_S
from tests.web.requests.bodies import request_with_json


def _parser(memory: MemoryBudget) -> BodyParser:
    return BodyParser(BoundedThreadPool(threads=1, max_queue=9), memory.working)


@pytest.mark.parametrize(
    ("size", "is_inline"), [(MAX_INLINE_BYTES, True), (MAX_INLINE_BYTES + 1, False)]
)
async def test_large_bodies_are_parsed_in_a_thread(size: int, is_inline: bool) -> None:
    """Small ones are parsed at once; both give the result, and the errors."""
    request = request_with_json([])

    def note_thread(body: bytes, other: str) -> tuple[int, str, bool]:
        return len(body), other, threading.current_thread() is threading.main_thread()

    def refuse(body: bytes) -> None:
        raise UndecodableError("no")

    assert await parse(request, note_thread, bytes(size), "x") == (size, "x", is_inline)
    with pytest.raises(UndecodableError):
        await parse(request, refuse, bytes(size))


async def test_thread_rests_after_each_body() -> None:
    """It rests for as long as the last body took, and holds no memory meanwhile."""
    memory, times = MemoryBudget(1000), list[float]()

    def work() -> None:
        assert memory.used == 10
        times.append(time.monotonic())
        time.sleep(0.1)
        times.append(time.monotonic())

    parser = _parser(memory)
    first = asyncio.ensure_future(parser.run(10, work))
    await asyncio.gather(first, parser.run(10, work))
    assert memory.used == 0
    began, ended, next_began, _ = times
    assert next_began - ended >= 0.9 * (ended - began)
    parser.close()


def test_collector_stays_paused_while_any_thread_parses() -> None:
    """The first thread that ends does not start the collector for the others."""
    started, ends = threading.Event(), threading.Event()
    seen: list[bool] = []

    @without_gc
    def parse_long() -> None:
        started.set()
        ends.wait(PATIENCE_S)
        seen.append(gc.isenabled())

    thread = threading.Thread(target=parse_long)
    thread.start()
    started.wait(PATIENCE_S)
    without_gc(lambda: None)()
    seen.append(gc.isenabled())
    ends.set()
    thread.join()
    assert seen == [False, False]
    assert gc.isenabled()
