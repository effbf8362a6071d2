"""The micro-batcher: single images run at once, concurrent ones together."""

import asyncio
import json
import threading
from dataclasses import replace

import numpy as np
import pytest

from app.errors import QueueFullError
from app.imaging.decode import Upload, from_pixels
from app.inference.model import Model
from app.web.execution import micro_batcher
from app.web.execution.micro_batcher import MicroBatcher
from app.web.responses.predictions import prediction_texts
from tests.web.paused_runtime import PausedRuntime

pytestmark = pytest.mark.anyio
MAX_RUN = micro_batcher.MAX_RUN


@pytest.fixture
def paused(classic: Model) -> tuple[Model, PausedRuntime]:
    """A model that takes 50 us per image, and its runtime, which a test can pause."""
    runtime = PausedRuntime()
    return replace(classic, runtime=runtime, seconds_per_image=50e-6), runtime


@pytest.fixture
def batcher() -> MicroBatcher:
    """A micro-batcher that writes predictions as JSON."""
    return MicroBatcher(prediction_texts)


def _upload(digit: int) -> Upload:
    return from_pixels(np.full((28, 28), digit, np.uint8))


def _digit(text: str) -> int:
    return json.loads(text)["digit"]


async def _until(condition) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the condition never became true")


async def _occupy_thread(
    batcher: MicroBatcher, model: Model, runtime: PausedRuntime
) -> list[asyncio.Task[str]]:
    """Keep the thread busy with one full run of 1s until `runtime.go` is set."""
    runtime.go.clear()
    calls = [asyncio.create_task(batcher.run(_upload(1), model, -n)) for n in range(MAX_RUN)]
    await _until(lambda: runtime.sizes == [MAX_RUN])
    return calls


async def test_one_client_is_served_on_the_event_loop(
    paused: tuple[Model, PausedRuntime], batcher: MicroBatcher
) -> None:
    """Images that arrive one after the other on one connection use no thread."""
    model, runtime = paused
    digits = [_digit(await batcher.run(_upload(n), model, "a")) for n in range(5)]
    assert digits == [0, 1, 2, 3, 4]
    assert runtime.threads == {threading.current_thread().name}
    batcher.close()


async def test_few_images_run_together_on_the_event_loop(
    paused: tuple[Model, PausedRuntime], batcher: MicroBatcher
) -> None:
    """Images that arrive in one iteration of the event loop make one run, on the loop."""
    model, runtime = paused
    calls = [batcher.run(_upload(n % 10), model, n) for n in range(MAX_RUN - 1)]
    digits = [_digit(text) for text in await asyncio.gather(*calls)]
    assert digits == [n % 10 for n in range(MAX_RUN - 1)]
    assert runtime.sizes == [MAX_RUN - 1]
    assert runtime.threads == {threading.current_thread().name}
    batcher.close()


async def test_images_that_arrive_during_a_run_are_batched(
    paused: tuple[Model, PausedRuntime],
) -> None:
    """Images that arrive while the thread runs make the next runs, of at most `MAX_RUN` images."""
    model, runtime = paused
    runs: list[int] = []
    batcher = MicroBatcher(
        prediction_texts, on_run=lambda results, model: runs.append(len(results[0].predictions))
    )
    calls = await _occupy_thread(batcher, model, runtime)
    calls += [asyncio.create_task(batcher.run(_upload(n % 10), model, n)) for n in range(20)]
    await asyncio.sleep(0)
    assert batcher.stalled_for() > 0
    runtime.go.set()
    digits = [_digit(text) for text in await asyncio.gather(*calls)]
    assert digits == [1] * MAX_RUN + [*range(10)] * 2
    assert runtime.sizes == runs == [MAX_RUN, MAX_RUN, 20 - MAX_RUN]
    assert len(runtime.threads) == 2
    assert batcher.stalled_for() == 0
    batcher.close()


async def test_thread_runs_a_slower_network_in_short_runs(
    paused: tuple[Model, PausedRuntime], batcher: MicroBatcher
) -> None:
    """The thread runs half of the waiting images, then what has arrived, up to 2.4 ms of work."""
    model, runtime = paused
    model = replace(model, seconds_per_image=300e-6)
    runtime.go.clear()
    calls = [asyncio.create_task(batcher.run(_upload(1), model, -n)) for n in range(10)]
    await _until(lambda: runtime.sizes == [5])
    calls += [asyncio.create_task(batcher.run(_upload(n % 10), model, n)) for n in range(19)]
    await asyncio.sleep(0)
    runtime.go.set()
    digits = [_digit(text) for text in await asyncio.gather(*calls)]
    assert digits == [1] * 10 + [n % 10 for n in range(19)]
    assert runtime.sizes == [5, 8, 8, 8]
    assert len(runtime.threads) == 1
    assert threading.current_thread().name not in runtime.threads
    batcher.close()


async def test_two_images_of_a_slower_network_run_on_the_event_loop(
    paused: tuple[Model, PausedRuntime], batcher: MicroBatcher
) -> None:
    """Two images of 300 us are less work than a thread is worth."""
    model, runtime = paused
    model = replace(model, seconds_per_image=300e-6)
    calls = [batcher.run(_upload(n), model, n) for n in range(2)]
    assert [_digit(text) for text in await asyncio.gather(*calls)] == [0, 1]
    assert runtime.sizes == [2]
    assert runtime.threads == {threading.current_thread().name}
    batcher.close()


async def test_cancelled_image_is_not_run(
    paused: tuple[Model, PausedRuntime], batcher: MicroBatcher
) -> None:
    """An image whose request is cancelled while it waits is dropped."""
    model, runtime = paused
    calls = await _occupy_thread(batcher, model, runtime)
    calls += [asyncio.create_task(batcher.run(_upload(n), model, n)) for n in range(2, 6)]
    await asyncio.sleep(0)
    calls[-2].cancel()
    runtime.go.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes].count("CancelledError") == 1
    assert runtime.sizes == [MAX_RUN, 3]
    batcher.close()


async def test_run_has_images_of_one_model(
    paused: tuple[Model, PausedRuntime], batcher: MicroBatcher
) -> None:
    """Images of different models run apart; an image stays with the model it came for."""
    model, runtime = paused
    other = replace(model, runtime=PausedRuntime())
    calls = [
        asyncio.create_task(batcher.run(_upload(n), each, n))
        for n, each in enumerate((model, model, other, model), start=1)
    ]
    assert [_digit(text) for text in await asyncio.gather(*calls)] == [1, 2, 3, 4]
    assert (runtime.sizes, other.runtime.sizes) == ([2, 1], [1])
    batcher.close()


async def test_error_reaches_only_the_callers_of_its_run(
    paused: tuple[Model, PausedRuntime], batcher: MicroBatcher
) -> None:
    """The callers of a failed run get its exception, and the next run succeeds."""
    model, _ = paused
    with pytest.raises(ValueError, match="too bright"):
        await batcher.run(_upload(255), model, "second")
    assert _digit(await batcher.run(_upload(3), model, "third")) == 3
    batcher.close()


async def test_full_queue_refuses_and_keeps_the_waiting_images(
    paused: tuple[Model, PausedRuntime], batcher: MicroBatcher
) -> None:
    """With the queue full, one more image is refused at once; the waiting ones get answers."""
    model, runtime = paused
    calls = await _occupy_thread(batcher, model, runtime)
    calls += [
        asyncio.create_task(batcher.run(_upload(2), model, n))
        for n in range(micro_batcher.MAX_WAITING)
    ]
    await asyncio.sleep(0)
    with pytest.raises(QueueFullError, match=f"{micro_batcher.MAX_WAITING} images"):
        await batcher.run(_upload(3), model, "last")
    runtime.go.set()
    assert len(await asyncio.gather(*calls)) == micro_batcher.MAX_WAITING + MAX_RUN
    batcher.close()


async def test_images_run_on_the_reserved_runtime(
    paused: tuple[Model, PausedRuntime], batcher: MicroBatcher
) -> None:
    """While other work occupies the model's own runtime, images use the event loop's runtime."""
    model, runtime = paused
    runtime.go.clear()
    reserved = PausedRuntime()
    model = replace(model, event_loop_runtime=reserved)
    calls = [batcher.run(_upload(n % 10), model, n) for n in range(MAX_RUN + 1)]
    digits = [_digit(text) for text in await asyncio.gather(*calls)]
    assert digits == [n % 10 for n in range(MAX_RUN + 1)]
    assert (sum(reserved.sizes), runtime.sizes) == (MAX_RUN + 1, [])
    batcher.close()
