"""The micro-batcher: single images run at once, concurrent ones together."""

import asyncio
import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from app.bundle import Bundle
from app.errors import QueueFullError
from app.inference.model import Model
from app.predictions import BatchResult, InputSummary
from app.recognise import Unprepared
from app.web.execution import micro_batcher
from app.web.execution.micro_batcher import MicroBatcher, max_images
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
    """A micro-batcher."""
    return MicroBatcher()


def _images(*digits: int) -> Unprepared:
    summary = InputSummary(28, 28, "pixels", "light-on-dark", ())
    pixels = np.stack([np.full((28, 28), digit, np.uint8) for digit in digits])
    return Unprepared(pixels, [summary] * len(digits))


def _probabilities(result: BatchResult, bundle: Bundle) -> NDArray[np.float32]:
    return result.predictions.probabilities


async def _ask(batcher: MicroBatcher, digit: int, model: Model, client: object) -> int:
    """Return the digit that the answer to one image names."""
    (text,) = await batcher.run(_images(digit), model, prediction_texts, client=client)
    return json.loads(text)["digit"]


async def _until(condition) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the condition never became true")


async def _occupy_thread(
    batcher: MicroBatcher, model: Model, runtime: PausedRuntime
) -> list[asyncio.Task[int]]:
    """Keep the thread busy with one full run of 1s until `runtime.go` is set."""
    runtime.go.clear()
    calls = [asyncio.create_task(_ask(batcher, 1, model, -n)) for n in range(MAX_RUN)]
    await _until(lambda: runtime.sizes == [MAX_RUN])
    return calls


async def test_one_client_is_served_on_the_event_loop(
    paused: tuple[Model, PausedRuntime], batcher: MicroBatcher
) -> None:
    """Images that arrive one after the other on one connection use no thread."""
    model, runtime = paused
    digits = [await _ask(batcher, n, model, "a") for n in range(5)]
    assert digits == [0, 1, 2, 3, 4]
    assert runtime.threads == {threading.current_thread().name}
    batcher.close()


async def test_few_images_run_together_on_the_event_loop(
    paused: tuple[Model, PausedRuntime], batcher: MicroBatcher
) -> None:
    """Images that arrive in one iteration of the event loop make one run, on the loop."""
    model, runtime = paused
    calls = [_ask(batcher, n % 10, model, n) for n in range(MAX_RUN - 1)]
    digits = await asyncio.gather(*calls)
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
    batcher = MicroBatcher(on_run=lambda results, model: runs.append(len(results[0].predictions)))
    calls = await _occupy_thread(batcher, model, runtime)
    calls += [asyncio.create_task(_ask(batcher, n % 10, model, n)) for n in range(20)]
    await asyncio.sleep(0)
    assert batcher.stalled_for() > 0
    runtime.go.set()
    digits = await asyncio.gather(*calls)
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
    calls = [asyncio.create_task(_ask(batcher, 1, model, -n)) for n in range(10)]
    await _until(lambda: runtime.sizes == [5])
    calls += [asyncio.create_task(_ask(batcher, n % 10, model, n)) for n in range(19)]
    await asyncio.sleep(0)
    runtime.go.set()
    digits = await asyncio.gather(*calls)
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
    calls = [_ask(batcher, n, model, n) for n in range(2)]
    assert await asyncio.gather(*calls) == [0, 1]
    assert runtime.sizes == [2]
    assert runtime.threads == {threading.current_thread().name}
    batcher.close()


async def test_cancelled_image_is_not_run(
    paused: tuple[Model, PausedRuntime], batcher: MicroBatcher
) -> None:
    """An image whose request is cancelled while it waits is dropped."""
    model, runtime = paused
    calls = await _occupy_thread(batcher, model, runtime)
    calls += [asyncio.create_task(_ask(batcher, n, model, n)) for n in range(2, 6)]
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
        asyncio.create_task(_ask(batcher, n, each, n))
        for n, each in enumerate((model, model, other, model), start=1)
    ]
    assert await asyncio.gather(*calls) == [1, 2, 3, 4]
    assert (runtime.sizes, other.runtime.sizes) == ([2, 1], [1])
    batcher.close()


async def test_request_may_have_a_few_images(paused: tuple[Model, PausedRuntime]) -> None:
    """Each request gets the rows of its images; a run of the thread has at most `MAX_RUN`."""
    model, runtime = paused
    waits: list[int] = []
    batcher = MicroBatcher(on_wait=lambda seconds: waits.append(len(seconds)))
    calls = await _occupy_thread(batcher, model, runtime)
    sizes = (7, 1, 8, 2, max_images(model))
    calls += [
        asyncio.create_task(
            batcher.run(_images(*(n % 10 for n in range(size))), model, _probabilities, client=size)
        )
        for size in sizes
    ]
    await asyncio.sleep(0)
    assert batcher.queued == sum(sizes)
    runtime.go.set()
    found = [rows.argmax(axis=1).tolist() for rows in (await asyncio.gather(*calls))[MAX_RUN:]]
    assert found == [[n % 10 for n in range(size)] for size in sizes]
    assert runtime.sizes == [MAX_RUN, 7 + 1 + 8, 2, MAX_RUN]
    assert waits == [MAX_RUN, 3, 1, 1]
    assert batcher.queued == 0
    batcher.close()


async def test_run_has_answers_of_one_kind(
    paused: tuple[Model, PausedRuntime], batcher: MicroBatcher
) -> None:
    """Requests for texts and for probabilities run apart, in the order in which they came."""
    model, runtime = paused
    writers = (prediction_texts, prediction_texts, _probabilities, prediction_texts)
    calls = [
        batcher.run(_images(n), model, write, client=n) for n, write in enumerate(writers, start=1)
    ]
    first, second, third, fourth = await asyncio.gather(*calls)
    assert [json.loads(text)["digit"] for (text,) in (first, second, fourth)] == [1, 2, 4]
    assert third.argmax(axis=1).tolist() == [3]
    assert runtime.sizes == [2, 1, 1]
    batcher.close()


async def test_error_reaches_only_the_callers_of_its_run(
    paused: tuple[Model, PausedRuntime], batcher: MicroBatcher
) -> None:
    """The callers of a failed run get its exception, and the next run succeeds."""
    model, _ = paused
    with pytest.raises(ValueError, match="too bright"):
        await _ask(batcher, 255, model, "second")
    assert await _ask(batcher, 3, model, "third") == 3
    batcher.close()


async def test_full_queue_refuses_and_keeps_the_waiting_images(
    paused: tuple[Model, PausedRuntime], batcher: MicroBatcher
) -> None:
    """With the queue full, one more image is refused at once; the waiting ones get answers."""
    model, runtime = paused
    calls = await _occupy_thread(batcher, model, runtime)
    calls += [
        asyncio.create_task(_ask(batcher, 2, model, n)) for n in range(micro_batcher.MAX_WAITING)
    ]
    await asyncio.sleep(0)
    with pytest.raises(QueueFullError, match=f"{micro_batcher.MAX_WAITING} images"):
        await _ask(batcher, 3, model, "last")
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
    calls = [_ask(batcher, n % 10, model, n) for n in range(MAX_RUN + 1)]
    digits = await asyncio.gather(*calls)
    assert digits == [n % 10 for n in range(MAX_RUN + 1)]
    assert (sum(reserved.sizes), runtime.sizes) == (MAX_RUN + 1, [])
    batcher.close()
