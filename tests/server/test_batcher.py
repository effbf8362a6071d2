"""Concurrent calls run together: each gets its own rows, and nobody waits for nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from app.inference.batcher import BatchingRuntime
from app.inference.model import Model
from app.inference.runtime import Outputs, Pixels
from tests.conftest import Digits


class Slow:
    """A runtime that waits to be let go, and writes down how many images came together."""

    def __init__(self) -> None:
        """Begin with no runs."""
        self.sizes: list[int] = []
        self.go = threading.Event()

    def predict(self, images: Pixels) -> Outputs:
        """Give each image's first row back."""
        self.sizes.append(len(images))
        self.go.wait(30)
        if images.max() == 255:
            raise ValueError("too bright")
        marks = images[:, 0, :10].astype(np.float32)
        return Outputs(marks, marks, marks)

    def inspect(self, images: Pixels) -> dict[str, NDArray[np.float32]]:
        """Give nothing."""
        return {}


def _image(value: int) -> NDArray[np.uint8]:
    return np.full((1, 28, 28), value, np.uint8)


def _until(holds) -> None:
    for _ in range(3000):
        if holds():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came true")


def test_calls_that_gather_run_as_one_batch() -> None:
    """The first runs at once; what comes meanwhile runs together, in rows of its own."""
    slow = Slow()
    batching = BatchingRuntime(slow, max_batch=8, max_delay_s=30)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(batching.predict, _image(1))
        _until(lambda: slow.sizes == [1])
        others = [pool.submit(batching.predict, _image(value)) for value in range(2, 6)]
        _until(lambda: batching._queued_images() == 4)
        slow.go.set()
        assert first.result().probabilities[0, 0] == 1
        assert [one.result().probabilities[0, 0] for one in others] == [2, 3, 4, 5]
    assert slow.sizes == [1, 4]


def test_rows_are_counted_not_calls() -> None:
    """A full batch goes while the network is busy; what does not fit waits for the next."""
    slow = Slow()
    batching = BatchingRuntime(slow, max_batch=4, max_delay_s=30)
    with ThreadPoolExecutor(9) as pool:
        calls = [pool.submit(batching.predict, _image(1))]
        _until(lambda: slow.sizes == [1])
        calls += [pool.submit(batching.predict, np.repeat(_image(2), 3, axis=0)) for _ in range(2)]
        _until(lambda: slow.sizes == [1, 3])
        calls.append(pool.submit(batching.predict, np.repeat(_image(3), 9, axis=0)))
        _until(lambda: sorted(slow.sizes) == [1, 3, 9])
        slow.go.set()
        assert [len(call.result().probabilities) for call in calls] == [1, 3, 3, 9]


def test_nobody_waits_longer_than_the_delay() -> None:
    """While the network is busy, a lone call goes when the delay is over."""
    slow = Slow()
    batching = BatchingRuntime(slow, max_batch=8, max_delay_s=0.05)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(batching.predict, _image(1))]
        _until(lambda: slow.sizes == [1])
        calls.append(pool.submit(batching.predict, _image(2)))
        _until(lambda: slow.sizes == [1, 1])
        slow.go.set()
        assert [call.result().logits[0, 0] for call in calls] == [1, 2]


def test_an_error_reaches_every_caller_of_its_batch_and_no_other() -> None:
    """After a failed batch the next one runs."""
    slow = Slow()
    slow.go.set()
    batching = BatchingRuntime(slow, max_batch=8, max_delay_s=0)
    with pytest.raises(ValueError, match="too bright"):
        batching.predict(_image(255))
    assert batching.predict(_image(7)).features[0, 0] == 7


def test_batched_answers_are_the_model_s(classic: Model, digits: Digits) -> None:
    """Sixteen threads through a batcher get what each gets alone."""
    batching = BatchingRuntime(classic.runtime, max_batch=8, max_delay_s=0.01)
    images = digits.images[:200]
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda image: batching.predict(image[None]).probabilities[0], images))
    np.testing.assert_allclose(got, classic.runtime.predict(images).probabilities, atol=1e-5)
