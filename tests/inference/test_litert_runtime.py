"""Threads share the interpreters of a network fairly and correctly."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from app.inference.litert_runtime import LiteRtRuntime, _InterpreterPool
from app.inference.model import Model
from tests.server.process import PATIENCE_S, eventually


def test_longest_waiting_thread_is_next() -> None:
    """Waiting threads get the only interpreter in their order, before one that asks again."""
    pool = _InterpreterPool(lambda: "the only one", preloaded=1, size=1)
    order: list[str] = []

    def ask(name: str) -> None:
        interpreter = pool.acquire()
        order.append(name)
        pool.release(interpreter)

    held = pool.acquire()
    with ThreadPoolExecutor(3) as threads:
        asking = []
        for count, name in enumerate(("first", "second", "third"), start=1):
            asking.append(threads.submit(ask, name))
            eventually(lambda count=count: len(pool._waiting) == count)
        pool.release(held)
        ask("again")
        for each in asking:
            each.result(PATIENCE_S)
    assert order == ["first", "second", "third", "again"]


def test_each_call_gets_its_own_outputs(classic: Model) -> None:
    """Six threads on two interpreters get the outputs of their own images."""
    compiled = classic.bundle.read("model.tflite")
    runtime = LiteRtRuntime(compiled, int8=None, interpreters=2)
    images = np.stack([np.roll(np.eye(28, dtype=np.uint8) * 200, n, axis=1) for n in range(12)])
    expected = runtime.predict(images).logits

    def ask(n: int) -> NDArray[np.float32]:
        return runtime.predict(images[n % 12][None]).logits[0]

    with ThreadPoolExecutor(6) as pool:
        for n, got in enumerate(pool.map(ask, range(120))):
            np.testing.assert_array_equal(got, expected[n % 12])


def test_interpreters_are_loaded_on_demand() -> None:
    """One is preloaded; three calls at once load two more, and a fourth call waits."""
    loaded = itertools.count(1)
    pool = _InterpreterPool(lambda: next(loaded), preloaded=1, size=3)
    for _ in range(3):
        pool.release(pool.acquire())
    taken = [pool.acquire() for _ in range(3)]
    assert taken == [1, 2, 3]
    with ThreadPoolExecutor(1) as waiting:
        fourth = waiting.submit(pool.acquire)
        pool.release(2)
        assert fourth.result(PATIENCE_S) == 2
    assert next(loaded) == 4


def test_failed_load_is_tried_again() -> None:
    """A call whose load fails raises the error; the next call loads again."""
    loads = iter([1, 0, 2])
    pool = _InterpreterPool(lambda: 6 // next(loads), preloaded=1, size=2)
    assert pool.acquire() == 6
    with pytest.raises(ZeroDivisionError):
        pool.acquire()
    assert pool.acquire() == 3
