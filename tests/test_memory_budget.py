"""The memory that requests share."""

import threading

import pytest

from app.cancellation import WorkCancelled, cancel_scope
from app.errors import MemoryBudgetError
from app.memory_budget import BodyHold, MemoryBudget
from tests.server.process import PATIENCE_S


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
    assert second_started.wait(PATIENCE_S)
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


def test_hold_of_a_body_grows_and_ends() -> None:
    """It never shrinks before its end, and gives back exactly what it took."""
    budget = MemoryBudget(200)
    hold = BodyHold(budget)
    for size, used in ((30, 30), (20, 30), (80, 80)):
        hold.grow(size)
        assert budget.used == used
    for _ in range(2):
        hold.release()
        assert budget.used == 0


def test_response_adds_to_the_hold_of_a_body() -> None:
    """Both count until the request ends; alone, they are always accepted."""
    budget = MemoryBudget(200)
    hold = BodyHold(budget)
    hold.grow(30)
    hold.add(20)
    assert budget.used == 50
    with pytest.raises(MemoryBudgetError):
        BodyHold(budget).add(60)
    hold.add(1000)
    assert budget.used == budget.share
    hold.release()
    assert budget.used == 0


def test_one_body_alone_is_always_accepted() -> None:
    """A body above the share counts as the share."""
    budget = MemoryBudget(200)
    hold = BodyHold(budget)
    hold.grow(60, expected=1000)
    hold.grow(1000)
    assert budget.used == budget.share == 100
    with pytest.raises(MemoryBudgetError):
        BodyHold(budget).grow(1)


def test_body_that_will_not_fit_is_refused_at_once() -> None:
    """A client need not send what is refused later; the refusal holds nothing."""
    budget = MemoryBudget(200)
    BodyHold(budget).grow(60)
    hold = BodyHold(budget)
    with pytest.raises(MemoryBudgetError):
        hold.grow(10, expected=50)
    assert budget.used == 60
    hold.grow(10, expected=40)
    assert budget.used == 70
