"""What a pool expects of its calls: durations, waits, and when refused clients may come back."""

import threading
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from app.web.execution.expected_wait import (
    MAX_RETRY_S,
    UNMEASURED_S,
    Kind,
    RetryTimes,
    Workload,
)
from tests.web.clock import Clock

PHOTO = Kind.of("image", 2_000_000)


def measure(load: Workload, clock: Clock, kind: Kind, seconds: float, **end: bool) -> None:
    """Run one call of so many seconds."""
    load.queue(kind)
    load.start(kind)
    clock.now += seconds
    load.end(**{"succeeded": True, **end})


@pytest.fixture
def start_elsewhere() -> Iterator[Callable[[Workload, Kind], None]]:
    """Starts a call in a thread of its own, where it stays until the end of the test."""
    done, threads = threading.Event(), list[threading.Thread]()

    def start(load: Workload, kind: Kind) -> None:
        started = threading.Event()

        def call() -> None:
            load.start(kind)
            started.set()
            done.wait()

        load.queue(kind)
        threads.append(threading.Thread(target=call))
        threads[-1].start()
        started.wait()

    yield start
    done.set()
    for thread in threads:
        thread.join()


def test_average_follows_the_durations_of_a_kind(clock: Clock) -> None:
    """The first duration counts at once; later the average follows, each kind for itself."""
    load = Workload(2, clock)
    assert load.expected(PHOTO) == UNMEASURED_S
    measure(load, clock, PHOTO, 3.0)
    assert load.expected(PHOTO) == pytest.approx(3.0)
    for _ in range(60):
        measure(load, clock, PHOTO, 0.2)
    assert load.expected(PHOTO) == pytest.approx(0.2, rel=0.1)
    assert load.expected(Kind.of("page", 2_000_000)) == UNMEASURED_S


def test_size_that_was_not_measured_counts_as_the_nearest(clock: Clock) -> None:
    """A kind is measured for each size; another size is expected to take as long as the nearest."""
    load = Workload(2, clock)
    measure(load, clock, Kind.of("image", 784), 0.001)
    measure(load, clock, PHOTO, 0.2)
    assert load.expected(Kind.of("image", 1_500_000)) == pytest.approx(0.2)
    assert load.expected(Kind.of("image", 12_000_000)) == pytest.approx(0.2)
    assert load.expected(Kind.of("image", 100)) == pytest.approx(0.001)


def test_kind_that_was_not_measured_takes_its_estimate(clock: Clock) -> None:
    """The first call of a kind is known by the amount of its work; later ones by the clock, too."""
    load = Workload(1, clock)
    short, long = Kind.of("explain", 8, 1.0), Kind.of("explain", 256, 20.0)
    assert load.expected(short) == pytest.approx(1.0)
    assert load.expected(Kind.of("explain", 1, 1e-6)) == UNMEASURED_S
    measure(load, clock, short, 3.0)
    assert load.expected(short) == pytest.approx(3.0)
    assert load.expected(long) == pytest.approx(60.0)


def test_estimates_follow_the_speed_of_the_machine(clock: Clock) -> None:
    """If one kind takes three times its estimate, so will the others; little work tells nothing."""
    load, other = Workload(1, clock), Kind.of("ablate", 8, 2.0)
    measure(load, clock, Kind.of("gradient", 0, 0.001), 0.2)
    assert load.expected(other) == pytest.approx(2.0)
    measure(load, clock, Kind.of("explain", 8, 1.0), 3.0)
    assert load.expected(other) == pytest.approx(6.0)
    assert load.expected(PHOTO) == UNMEASURED_S


def test_calls_of_a_kind_may_have_other_estimates(clock: Clock) -> None:
    """Requests for 100 and 101 steps are of one kind, so that only one of them is tried again."""
    load = Workload(1, clock)
    load.queue(Kind.of("explain", 100, 1.0))
    assert load.has(Kind.of("explain", 101, 1.01))


def test_failed_calls_count_only_if_they_are_slow(clock: Clock) -> None:
    """Files that are refused at once do not make photos look fast; slow failures count."""
    load = Workload(2, clock)
    measure(load, clock, PHOTO, 1.0)
    for _ in range(50):
        measure(load, clock, PHOTO, 0.001, succeeded=False)
    assert load.expected(PHOTO) == pytest.approx(1.0)
    for _ in range(50):
        measure(load, clock, PHOTO, 2.0, succeeded=False)
    assert load.expected(PHOTO) == pytest.approx(2.0, rel=0.1)


def test_steps_of_a_call_are_measured_one_by_one(clock: Clock) -> None:
    """A call of several steps counts as so many calls, and not once more at its end."""
    load, part = Workload(1, clock), Kind.of("part", 32)
    load.queue(part)
    load.start(part)
    for _ in range(3):
        clock.now += 0.5
        load.end_step(part)
    load.end(succeeded=True)
    assert load.expected(part) == pytest.approx(0.5)


def test_wait_is_the_work_ahead_shared_by_the_threads(
    clock: Clock, start_elsewhere: Callable[[Workload, Kind], None]
) -> None:
    """Nobody waits for a free thread; else the rest of running calls and the queue are shared."""
    load, digit = Workload(2, clock), Kind.of("image", 784)
    measure(load, clock, PHOTO, 1.0)
    measure(load, clock, digit, 0.01)
    start_elsewhere(load, PHOTO)
    assert load.wait() == 0
    start_elsewhere(load, PHOTO)
    assert load.wait() == pytest.approx(1.0)
    clock.now += 0.25
    assert load.wait() == pytest.approx(0.75)
    for kind in (PHOTO, PHOTO, digit):
        load.queue(kind)
    assert load.wait() == pytest.approx(0.75 + (2 * 1.0 + 0.01) / 2)
    load.drop(PHOTO)
    assert load.wait() == pytest.approx(0.75 + (1.0 + 0.01) / 2)


def test_overdue_call_is_expected_to_take_longer_and_longer(
    clock: Clock, start_elsewhere: Callable[[Workload, Kind], None]
) -> None:
    """A thread that hangs makes the expected wait grow, although its kind is fast."""
    load = Workload(1, clock)
    measure(load, clock, PHOTO, 0.1)
    start_elsewhere(load, PHOTO)
    clock.now += 30
    assert load.wait() == pytest.approx(29.9)


def test_kinds_that_wait_or_run_are_known(clock: Clock) -> None:
    """A kind is present from its first call in the queue to the end of its last."""
    load = Workload(1, clock)
    load.queue(PHOTO)
    assert load.has(PHOTO)
    load.start(PHOTO)
    assert load.has(PHOTO)
    load.end(succeeded=True)
    assert not load.has(PHOTO)


def test_refused_clients_come_back_one_after_the_other(clock: Clock) -> None:
    """Each is told a second in which the threads can do its work besides that of the others."""
    times = RetryTimes(clock)
    told = [times.next(0.5, 0.25) for _ in range(40)]
    assert told[0] == 1
    assert all(earlier <= later for earlier, later in pairwise(told))
    assert max(told.count(second) for second in told) == 4
    clock.now += 20
    assert times.next(2.5, 0.25) == 3


def test_retry_times_have_a_limit(clock: Clock) -> None:
    """After more refusals than fit, the times start again with the nearest."""
    times = RetryTimes(clock)
    told = [times.next(0.5, 1.0) for _ in range(100)]
    assert max(told) == MAX_RETRY_S
    assert told.count(1) == 2
    assert RetryTimes(clock).next(1000.0, 1.0) == MAX_RETRY_S
