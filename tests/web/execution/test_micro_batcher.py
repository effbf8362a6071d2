"""Quick networks beside the event loop: alone at once, together when several come."""

import asyncio
import json
import threading
from dataclasses import replace

import numpy as np
import pytest

from app.errors import QueueFullError
from app.imaging.decode import Upload, from_pixels
from app.inference.registry import Model
from app.web.execution import micro_batcher
from app.web.execution.micro_batcher import MicroBatcher
from tests.web.held import Held

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The service runs on asyncio."""
    return "asyncio"


@pytest.fixture
def held(classic: Model) -> tuple[Model, Held]:
    """A model of 50 us an image whose runtime can be held."""
    runtime = Held()
    return replace(classic, runtime=runtime, seconds=50e-6), runtime


def _upload(digit: int) -> Upload:
    return from_pixels(np.full((28, 28), digit, np.uint8))


def _digit(text: str) -> int:
    return json.loads(text)["digit"]


async def _until(holds) -> None:
    for _ in range(3000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


async def _hold(side: MicroBatcher, model: Model, runtime: Held) -> list[asyncio.Task[str]]:
    """Keep the thread busy with as many 1s as a run has until `runtime.go` is set."""
    runtime.go.clear()
    busy = [
        asyncio.create_task(side.run(_upload(1), model, -n)) for n in range(micro_batcher.MAX_RUN)
    ]
    await _until(lambda: runtime.sizes == [micro_batcher.MAX_RUN])
    return busy


async def test_one_client_is_served_on_the_event_loop(held: tuple[Model, Held]) -> None:
    """Images that come on one connection, one after the other, use no thread."""
    model, runtime = held
    side = MicroBatcher()
    assert [_digit(await side.run(_upload(n), model, "a")) for n in range(5)] == [0, 1, 2, 3, 4]
    assert runtime.threads == {threading.current_thread().name}
    side.close()


async def test_a_few_run_together_without_the_thread(held: tuple[Model, Held]) -> None:
    """Images that come in the same turn of the loop make one run, on the loop."""
    model, runtime = held
    side = MicroBatcher()
    calls = [side.run(_upload(n % 10), model, n) for n in range(micro_batcher.MAX_RUN - 1)]
    found = [_digit(text) for text in await asyncio.gather(*calls)]
    assert found == [n % 10 for n in range(micro_batcher.MAX_RUN - 1)]
    assert runtime.sizes == [micro_batcher.MAX_RUN - 1]
    assert runtime.threads == {threading.current_thread().name}
    side.close()


async def test_images_that_come_meanwhile_run_together(held: tuple[Model, Held]) -> None:
    """While the thread runs, others gather; each gets its own answer, and a run has a limit."""
    model, runtime = held
    ran: list[int] = []
    side = MicroBatcher(on_run=lambda found, model: ran.append(len(found[0].predictions)))
    calls = await _hold(side, model, runtime)
    calls += [asyncio.create_task(side.run(_upload(n % 10), model, n)) for n in range(20)]
    await asyncio.sleep(0)
    assert side.stalled_for() > 0
    runtime.go.set()
    digits = [_digit(text) for text in await asyncio.gather(*calls)]
    assert digits == [1] * micro_batcher.MAX_RUN + [*range(10)] * 2
    assert (
        runtime.sizes
        == ran
        == [micro_batcher.MAX_RUN, micro_batcher.MAX_RUN, 20 - micro_batcher.MAX_RUN]
    )
    assert len(runtime.threads) == 2
    assert side.stalled_for() == 0
    side.close()


async def test_a_thread_runs_a_slower_network_from_few_images_on(held: tuple[Model, Held]) -> None:
    """Half of them at once; it goes on with what has come meanwhile, at most 2.4 ms of work."""
    model, runtime = held
    model = replace(model, seconds=300e-6)
    side = MicroBatcher()
    runtime.go.clear()
    calls = [asyncio.create_task(side.run(_upload(1), model, -n)) for n in range(10)]
    await _until(lambda: runtime.sizes == [5])
    calls += [asyncio.create_task(side.run(_upload(n % 10), model, n)) for n in range(19)]
    await asyncio.sleep(0)
    runtime.go.set()
    digits = [_digit(text) for text in await asyncio.gather(*calls)]
    assert digits == [1] * 10 + [n % 10 for n in range(19)]
    assert runtime.sizes == [5, 8, 8, 8]
    assert len(runtime.threads) == 1
    assert threading.current_thread().name not in runtime.threads
    side.close()


async def test_two_of_a_slower_network_run_on_the_event_loop(held: tuple[Model, Held]) -> None:
    """The way to a thread and back would take longer."""
    model, runtime = held
    model = replace(model, seconds=300e-6)
    side = MicroBatcher()
    calls = [side.run(_upload(n), model, n) for n in range(2)]
    assert [_digit(text) for text in await asyncio.gather(*calls)] == [0, 1]
    assert runtime.sizes == [2]
    assert runtime.threads == {threading.current_thread().name}
    side.close()


async def test_who_is_gone_costs_nothing(held: tuple[Model, Held]) -> None:
    """An image whose request was cancelled while it waited is not run."""
    model, runtime = held
    side = MicroBatcher()
    calls = await _hold(side, model, runtime)
    calls += [asyncio.create_task(side.run(_upload(n), model, n)) for n in range(2, 6)]
    await asyncio.sleep(0)
    calls[-2].cancel()
    runtime.go.set()
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one).__name__ for one in found].count("CancelledError") == 1
    assert runtime.sizes == [micro_batcher.MAX_RUN, 3]
    side.close()


async def test_models_are_not_mixed(held: tuple[Model, Held]) -> None:
    """A run has images of one model only; what was begun with a reloaded one ends with it."""
    model, runtime = held
    other = replace(model, runtime=Held())
    side = MicroBatcher()
    calls = [
        asyncio.create_task(side.run(_upload(n), each, n))
        for n, each in enumerate((model, model, other, model), start=1)
    ]
    assert [_digit(text) for text in await asyncio.gather(*calls)] == [1, 2, 3, 4]
    assert (runtime.sizes, other.runtime.sizes) == ([2, 1], [1])
    side.close()


async def test_an_error_reaches_its_callers_and_no_others(held: tuple[Model, Held]) -> None:
    """Those of a run that failed learn of it, and the next run goes on."""
    model, _ = held
    side = MicroBatcher()
    with pytest.raises(ValueError, match="too bright"):
        await side.run(_upload(255), model, "second")
    assert _digit(await side.run(_upload(3), model, "third")) == 3
    side.close()


async def test_more_than_can_wait_is_refused(held: tuple[Model, Held]) -> None:
    """With the queue full one more is refused at once, and those that wait get their answers."""
    model, runtime = held
    side = MicroBatcher()
    calls = await _hold(side, model, runtime)
    calls += [
        asyncio.create_task(side.run(_upload(2), model, n))
        for n in range(micro_batcher.MAX_WAITING)
    ]
    await asyncio.sleep(0)
    with pytest.raises(QueueFullError, match=f"{micro_batcher.MAX_WAITING} images"):
        await side.run(_upload(3), model, "last")
    runtime.go.set()
    assert len(await asyncio.gather(*calls)) == micro_batcher.MAX_WAITING + micro_batcher.MAX_RUN
    side.close()


async def test_the_event_loop_waits_for_nobody_else_s_run(held: tuple[Model, Held]) -> None:
    """While others keep the model's own runtime busy, images go through the one reserved."""
    model, busy = held
    busy.go.clear()
    event_loop_runtime, side = Held(), MicroBatcher()
    model = replace(model, event_loop_runtime=event_loop_runtime)
    calls = [side.run(_upload(n % 10), model, n) for n in range(micro_batcher.MAX_RUN + 1)]
    found = [_digit(text) for text in await asyncio.gather(*calls)]
    assert found == [n % 10 for n in range(micro_batcher.MAX_RUN + 1)]
    assert (sum(event_loop_runtime.sizes), busy.sizes) == (micro_batcher.MAX_RUN + 1, [])
    side.close()
