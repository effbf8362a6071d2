"""How the interpreters of a network are shared among threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from app.inference import litert
from app.inference.litert import LiteRtRuntime, open_runtime
from app.inference.registry import Model

BLANK = np.zeros((16, 28, 28), np.uint8)


def test_whoever_waits_longest_is_next(classic: Model) -> None:
    """Threads that ask again and again for the only interpreter do not keep others from it."""
    runtime = open_runtime(classic.bundle)
    stop, runs = threading.Event(), [0, 0]

    def ask(thread: int) -> None:
        while not stop.is_set():
            runtime.predict(BLANK)
            runs[thread] += 1

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask, thread) for thread in range(2)]
        while sum(runs) < 40:
            time.sleep(0.01)
        stop.set()
        for one in asking:
            one.result()
    assert min(runs) >= 0.35 * sum(runs)


def test_answers_are_each_callers_own(classic: Model) -> None:
    """Many threads with few interpreters get what each asked for."""
    twin = classic.bundle.read("model.tflite")
    runtime = LiteRtRuntime(twin, int8=None, interpreters=2)
    images = np.stack([np.roll(np.eye(28, dtype=np.uint8) * 200, n, axis=1) for n in range(12)])
    expected = runtime.predict(images).logits

    def ask(n: int) -> NDArray[np.float32]:
        return runtime.predict(images[n % 12][None]).logits[0]

    with ThreadPoolExecutor(6) as pool:
        for n, got in enumerate(pool.map(ask, range(120))):
            np.testing.assert_array_equal(got, expected[n % 12])


def test_interpreters_are_loaded_when_as_many_calls_run(
    classic: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is ready; three calls at once have one each, and a fourth waits."""
    loaded, opened = list[object](), litert._Interpreter

    def load(*words: object) -> object:
        loaded.append(opened(*words))
        return loaded[-1]

    monkeypatch.setattr(litert, "_Interpreter", load)
    runtime = LiteRtRuntime(classic.bundle.read("model.tflite"), interpreters=3, ready=1)
    for _ in range(3):
        runtime.predict(BLANK)
    assert len(loaded) == 1
    together, running = threading.Barrier(3, timeout=30), threading.Semaphore(3)
    run_all = opened.run_all

    def run(self: object, *words: object, **named: object) -> object:
        assert running.acquire(blocking=False), "more calls run than interpreters there are"
        together.wait()
        try:
            return run_all(self, *words, **named)
        finally:
            running.release()

    monkeypatch.setattr(opened, "run_all", run)
    with ThreadPoolExecutor(6) as pool:
        for got in pool.map(runtime.predict, [BLANK] * 6):
            assert got.probabilities.shape == (16, 10)
    assert len(loaded) == 3
