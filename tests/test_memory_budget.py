"""The memory that requests share."""

import threading

import pytest

from app.cancellation import WorkCancelled, cancel_scope
from app.errors import MemoryBudgetError
from app.memory_budget import MemoryBudget


def test_a_body_that_does_not_fit_is_refused() -> None:
    """Bodies have half of the budget; a released body makes room for the next."""
    budget = MemoryBudget(200)
    budget.hold_body(60)
    with pytest.raises(MemoryBudgetError, match="try again"):
        budget.hold_body(50)
    budget.release_body(60)
    budget.hold_body(100)
    assert budget.used == 100


def test_work_waits_until_other_work_ends() -> None:
    """A thread that finds no room waits; it goes on when the other thread gives its bytes back."""
    budget, second_started = MemoryBudget(200), threading.Event()

    def second() -> None:
        with budget.working(50):
            second_started.set()

    with budget.working(80):
        thread = threading.Thread(target=second)
        thread.start()
        assert not second_started.wait(0.2)
    assert second_started.wait(30)
    thread.join()
    assert budget.used == 0


def test_work_never_waits_for_bodies() -> None:
    """Work fits beside as many bodies as are accepted, however large it is."""
    budget = MemoryBudget(200)
    budget.hold_body(100)
    with budget.working(1_000_000):
        assert budget.used == 200


def test_a_cancelled_wait_holds_nothing() -> None:
    """Work whose client has gone stops waiting for memory."""
    budget, cancelled = MemoryBudget(200), threading.Event()
    cancelled.set()
    with (
        budget.working(100),
        cancel_scope(cancelled),
        pytest.raises(WorkCancelled),
        budget.working(1),
    ):
        pass
    assert budget.used == 0
