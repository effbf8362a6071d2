"""Work that repeats in the background."""

import queue

import pytest

from app.periodic_task import PeriodicTask
from tests.server.process import PATIENCE_S


def test_work_goes_on_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A failure is logged once with its traceback, and the work is done again; so is its end."""
    outcomes = iter([None, KeyError("a"), KeyError("a"), KeyError("b"), None, None])
    calls: queue.Queue[None] = queue.Queue()

    def work() -> None:
        calls.put(None)
        if error := next(outcomes, None):
            raise error

    with caplog.at_level("INFO"):
        task = PeriodicTask("water the plants", 0.001, work)
        for _ in range(7):
            calls.get(timeout=PATIENCE_S)
        task.close(max_wait_s=60)
    failures = [record for record in caplog.records if record.exc_info]
    assert [str(record.exc_info[1]) for record in failures if record.exc_info] == ["'a'", "'b'"]
    assert caplog.text.count("cannot water the plants") == 2
    assert caplog.text.count("can water the plants again") == 1
