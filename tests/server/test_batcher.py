"""Concurrent calls of a model run as one batch, each with its own rows."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from app.inference.batcher import BatchingRuntime
from app.inference.model import Model
from app.inference.runtime import Outputs, Pixels
from tests.conftest import Digits
from tests.server.process import PATIENCE_S


class Slow:
    """A runtime that blocks until it is released and records the size of each batch."""

    def __init__(self) -> None:
        """Begin with no runs."""
        self.sizes: list[int] = []
        self.go = threading.Event()

    def predict(self, images: Pixels) -> Outputs:
        """Return the first ten pixels of each image."""
        self.sizes.append(len(images))
        self.go.wait(PATIENCE_S)
        if images.max() == 255:
            raise ValueError("too bright")
        marks = images[:, 0, :10].astype(np.float32)
        return Outputs(marks, marks, marks)

    def inspect(self, images: Pixels) -> dict[str, NDArray[np.float32]]:
        """Return no layers."""
        return {}


def _image(value: int) -> NDArray[np.uint8]:
    return np.full((1, 28, 28), value, np.uint8)


def _until(holds) -> None:
    for _ in range(3000):
        if holds():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came true")


def test_concurrent_calls_run_as_one_batch() -> None:
    """The first call runs at once; calls that arrive meanwhile run together, each with its rows."""
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


def test_batch_size_counts_rows() -> None:
    """A batch is full by rows, not calls; a call that does not fit waits for the next batch."""
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


def test_no_call_waits_longer_than_the_delay() -> None:
    """While the network is busy, a single call runs when the delay is over."""
    slow = Slow()
    batching = BatchingRuntime(slow, max_batch=8, max_delay_s=0.05)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(batching.predict, _image(1))]
        _until(lambda: slow.sizes == [1])
        calls.append(pool.submit(batching.predict, _image(2)))
        _until(lambda: slow.sizes == [1, 1])
        slow.go.set()
        assert [call.result().logits[0, 0] for call in calls] == [1, 2]


def test_error_reaches_only_its_batch() -> None:
    """After a failed batch the next one runs."""
    slow = Slow()
    slow.go.set()
    batching = BatchingRuntime(slow, max_batch=8, max_delay_s=0)
    with pytest.raises(ValueError, match="too bright"):
        batching.predict(_image(255))
    assert batching.predict(_image(7)).features[0, 0] == 7


def test_batched_results_equal_the_models(classic: Model, digits: Digits) -> None:
    """Sixteen threads through a batcher get the results of single calls."""
    batching = BatchingRuntime(classic.runtime, max_batch=8, max_delay_s=0.01)
    images = digits.images[:200]
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda image: batching.predict(image[None]).probabilities[0], images))
    np.testing.assert_allclose(got, classic.runtime.predict(images).probabilities, atol=1e-5)
