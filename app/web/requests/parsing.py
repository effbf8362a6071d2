"""Parses bodies where that delays nobody: small ones on the event loop, large ones in a thread.

JSON of 5 MB takes up to half a second to parse, mostly in steps that let the event loop run.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from starlette.requests import Request

from app.errors import DigitscopeError
from app.process_tuning import gc_paused

P = ParamSpec("P")
T = TypeVar("T")

MAX_INLINE_BYTES = 1 << 14  # bytes; take up to 1 ms to parse, ten times a round trip to a thread
# Bytes of working memory that a parser takes for each byte, list and value of JSON; measured.
_PER_BYTE, _PER_LIST, _PER_VALUE = 2, 80, 50


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

    def work() -> T:
        return parse_body(body, *args, **kwargs)

    return await run_in_thread(request, working_bytes(body), work)


async def run_in_thread(request: Request, size: int, work: Callable[[], T]) -> T:
    """Run `work` in the thread for large bodies, with `size` bytes of working memory.

    Raises:
        QueueFullError: Too many bodies wait for the thread.
    """
    service = request.state.service

    def run() -> T:
        with service.memory.working(size):
            return work()

    result: T = await service.parsing_pool.run(run)
    return result


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
