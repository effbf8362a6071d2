"""The time for a body and for a response: what is awaited from whom, and for how long.

The event loop has a clock of its own, so that pauses and limits do not depend on the machine.
"""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from starlette.types import Message

from app.cancellation import set_seconds_left
from app.errors import BodyTimeoutError, DeadlineError, DigitscopeError
from app.web.http.request_timer import BodyPace, RequestTimer
from tests.web.clock import ClockedLoop

LONG_S = 60.0
ANY_PACE = BodyPace(timeout_s=LONG_S, bytes_per_s=0)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Run tests on an event loop that waits for nothing."""
    return "asyncio", {"loop_factory": ClockedLoop}


def _timer(parts: AsyncIterator[Message], seconds: float, pace: BodyPace) -> RequestTimer:
    return RequestTimer(_arriving(parts), seconds, pace, asyncio.get_running_loop().time)


def _arriving(parts: AsyncIterator[Message]) -> Callable[[], Awaitable[Message]]:
    return lambda: anext(parts)  # type: ignore[arg-type]


async def _parts(count: int, pause_s: float, size: int = 1) -> AsyncIterator[Message]:
    """Give a body in parts of `size` bytes with pauses before each; then nothing."""
    for number in range(count):
        await asyncio.sleep(pause_s)
        yield {"type": "http.request", "body": b"x" * size, "more_body": number < count - 1}
    await asyncio.sleep(10 * LONG_S)


async def _read_all(timer: RequestTimer) -> None:
    while (await timer.receive()).get("more_body"):
        pass


async def _reason(
    parts: AsyncIterator[Message],
    work: Callable[[RequestTimer], Awaitable[None]],
    seconds: float = LONG_S,
    pace: BodyPace = ANY_PACE,
) -> DigitscopeError | None:
    """Return the error with which the timer ends some work; None if the work ends first."""

    async def serve() -> DigitscopeError | None:
        timer = _timer(parts, seconds, pace)
        try:
            await work(timer)
        except asyncio.CancelledError:
            assert timer.absorb_cancellation()
        finally:
            timer.end()
        return timer.reason

    return await asyncio.create_task(serve())


async def test_body_that_does_not_arrive_is_given_up() -> None:
    """Neither a body that stops nor an endless one is awaited for longer than its timeout."""
    pace = BodyPace(timeout_s=0.05, bytes_per_s=0)
    for parts in (_parts(0, 0), _parts(10_000, 0.01)):
        reason = await _reason(parts, _read_all, pace=pace)
        assert isinstance(reason, BodyTimeoutError)
        assert "did not arrive within 0.05 s" in reason.detail


async def test_body_that_is_too_slow_is_given_up() -> None:
    """After its first window a body must keep its pace."""
    pace = BodyPace(timeout_s=LONG_S, bytes_per_s=1e9, window_s=0.02)
    reason = await _reason(_parts(10_000, 0.005), _read_all, pace=pace)
    assert isinstance(reason, BodyTimeoutError)
    assert "too slowly" in reason.detail


async def test_body_that_keeps_its_pace_is_read() -> None:
    """A body may take many windows; the pace is that of each window."""
    pace = BodyPace(timeout_s=LONG_S, bytes_per_s=100, window_s=0.05)
    parts = _parts(50, 0.01, size=10_000)
    assert await _reason(parts, _read_all, pace=pace) is None


async def test_time_of_the_body_does_not_count_for_the_deadline() -> None:
    """The body takes longer than the deadline; the deadline begins at its end."""
    left: list[float] = []

    async def work(timer: RequestTimer) -> None:
        await _read_all(timer)
        left.append(timer.seconds_left())
        await asyncio.sleep(LONG_S)

    reason = await _reason(_parts(10, 0.05), work, seconds=0.3)
    assert isinstance(reason, DeadlineError)
    assert left == [pytest.approx(0.3)]


async def test_a_short_deadline_is_kept_after_a_body() -> None:
    """A deadline below the pace's window ends the work on time, not at the window's end."""

    async def work(timer: RequestTimer) -> None:
        await _read_all(timer)
        await asyncio.sleep(LONG_S)

    pace = BodyPace(timeout_s=LONG_S, bytes_per_s=0, window_s=LONG_S)
    began = asyncio.get_running_loop().time()
    reason = await _reason(_parts(2, 0.05), work, seconds=0.02, pace=pace)
    assert isinstance(reason, DeadlineError)
    assert asyncio.get_running_loop().time() - began == pytest.approx(2 * 0.05 + 0.02, abs=0.002)


@pytest.mark.parametrize("pause_s", [0.0, 0.01])
async def test_time_of_the_service_counts_for_the_deadline_alone(pause_s: float) -> None:
    """While the service does not ask for the body, the client is not too slow."""

    async def work(timer: RequestTimer) -> None:
        await timer.receive()
        await asyncio.sleep(0.1)
        await _read_all(timer)

    pace = BodyPace(timeout_s=0.08, bytes_per_s=1e9, window_s=0.03)
    assert await _reason(_parts(2, pause_s), work, pace=pace) is None
    pace = BodyPace(timeout_s=LONG_S, bytes_per_s=0)
    assert isinstance(await _reason(_parts(2, pause_s), work, 0.05, pace), DeadlineError)


async def test_body_that_is_not_read_does_not_stop_the_clock() -> None:
    """A client cannot prolong its deadline with a body for a route that reads none."""

    async def work(timer: RequestTimer) -> None:
        timer.leave_body()
        await _read_all(timer)
        await timer.receive()

    assert isinstance(await _reason(_parts(10_000, 0.01), work, 0.05), DeadlineError)


async def test_closed_timer_is_freed_without_the_garbage_collector() -> None:
    """A timer whose task has ended leaves no reference cycle with the task's context."""
    freed = []

    async def serve() -> None:
        timer = _timer(_parts(1, 0), LONG_S, ANY_PACE)
        set_seconds_left(timer.seconds_left)
        weakref.finalize(timer, freed.append, True)
        timer.close()

    gc.disable()
    try:
        await asyncio.create_task(serve())
        await asyncio.sleep(0)
        assert freed
    finally:
        gc.enable()
