"""Parses bodies where that delays nobody: small ones on the event loop, large ones in a thread.

JSON of 5 MB takes up to half a second to parse, mostly in steps that let the event loop run.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial, wraps
from typing import Concatenate, ParamSpec, TypeVar

from starlette.requests import Request

from app.cancellation import check_cancelled
from app.errors import DigitscopeError
from app.process_tuning import gc_paused
from app.web.execution.thread_pool import BoundedThreadPool

P = ParamSpec("P")
T = TypeVar("T")

MAX_INLINE_BYTES = 1 << 14  # bytes; take up to 1 ms to parse, ten times a round trip to a thread
POLL_S = 0.05  # seconds between two looks at cancellation during a rest
# Bytes of working memory that a parser takes for each byte, list and value of JSON; measured.
_PER_BYTE, _PER_LIST, _PER_VALUE = 2, 80, 50


class BodyParser:
    """A thread for large bodies, which rests after each for as long as it took.

    Parsers hold Python's global lock for up to 0.2 s at a time. Without the rests, a queue of
    bodies would stop the event loop, which needs the lock for every packet: `/livez` took 30 s.
    """

    def __init__(
        self,
        pool: BoundedThreadPool,
        working_memory: Callable[[int], AbstractContextManager[None]],
    ) -> None:
        """Parse in `pool`, which has one thread; `working_memory` holds bytes meanwhile."""
        self._pool, self._working_memory = pool, working_memory
        self._rests_until = 0.0

    async def run(self, size: int, work: Callable[[], T]) -> T:
        """Return the result of `work`, which takes `size` bytes of working memory.

        Raises:
            QueueFullError: Too many bodies wait for the thread.
        """
        return await self._pool.run(self._run, size, work)

    def close(self) -> None:
        """Drop the bodies that wait."""
        self._pool.close()

    def _run(self, size: int, work: Callable[[], T]) -> T:
        while (rest_s := self._rests_until - time.monotonic()) > 0:
            time.sleep(min(rest_s, POLL_S))
            check_cancelled()
        with self._working_memory(size):
            began = time.monotonic()
            try:
                return work()
            finally:
                self._rests_until = 2 * time.monotonic() - began


async def parse(
    request: Request,
    parse_body: Callable[Concatenate[bytes, P], T],
    body: bytes,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Return what `parse_body` makes of a body; run it in a thread if the body is large.

    Keep no reference to the body: it is freed as soon as it is parsed.

    Raises:
        QueueFullError: Too many bodies wait to be parsed.
        DigitscopeError: Those of `parse_body`.
    """
    if len(body) <= MAX_INLINE_BYTES:
        return parse_body(body, *args, **kwargs)
    call = partial(parse_body, body, *args, **kwargs)
    parser: BodyParser = request.state.service.body_parser
    return await parser.run(working_bytes(body), call)


def working_bytes(body: bytes) -> int:
    """Return about how many bytes it takes to parse a body, if it is JSON."""
    lists, values = body.count(b"["), body.count(b",")
    return _PER_BYTE * len(body) + _PER_LIST * lists + _PER_VALUE * values


def without_gc(parse_body: Callable[P, T]) -> Callable[P, T]:
    """Pause garbage collection while a function parses JSON, which has no reference cycles.

    The collector would visit every list again and again: a million lists take seconds with it and
    0.3 s without. A `DigitscopeError` loses its traceback and causes, which would keep the parsed
    lists in memory.
    """

    @wraps(parse_body)
    def paused(*args: P.args, **kwargs: P.kwargs) -> T:
        with gc_paused():
            try:
                return parse_body(*args, **kwargs)
            except DigitscopeError as error:
                raise detached(error)  # noqa: B904 - the cause is dropped on purpose

    return paused


def detached(error: DigitscopeError) -> DigitscopeError:
    """Return an error without the traceback and causes that keep the parsed body in memory."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
