"""Cases of a service's processes: start, memory, and what a second worker gains."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import wrk
from benchmarks.processes import cpu_seconds, memory_mib, until_idle
from benchmarks.services import FASTAPI, Service, digitscope, running
from benchmarks.speed.contest import Case, Contestant, Goal, Line, Sample

START, START_CPU, MEMORY = "start", "CPU of the start", "memory"
GAIN, SECOND = "gain of the second worker", "memory of the second worker"
CONNECTIONS = 16


def process_cases() -> dict[str, Case]:
    """Return the cases."""
    return {
        "start": Case(
            (
                Line("start to ready", START, "s", Goal(0.9)),
                Line("start to ready, CPU", START_CPU, "s"),
                Line("memory after the start", MEMORY, "MiB", Goal(110)),
            ),
            lambda checkout: started(digitscope(checkout)),
            [started(FASTAPI)],
        ),
        "workers": Case(
            (
                Line("PNGs/s of two workers, times one", GAIN, "", Goal(1.3, at_least=True)),
                Line("memory of the second worker", SECOND, "MiB", Goal(40)),
            ),
            second_worker,
        ),
    }


def started(service: Service) -> Contestant:
    """Return a service that each sample starts and stops: its time, CPU time and memory."""

    @contextmanager
    def open_() -> Iterator[Callable[[], Sample]]:
        def sample() -> Sample:
            with running(service) as served:
                return {
                    START: served.start_s,
                    START_CPU: cpu_seconds(served.pid),
                    MEMORY: memory_mib(served.pid),
                }

        sample()  # reads the files from the disk
        yield sample

    return Contestant(service.name, open_)


def second_worker(checkout: Path) -> Contestant:
    """Return what two workers gain over one, and how much more memory they take."""

    @contextmanager
    def open_() -> Iterator[Callable[[], Sample]]:
        def sample() -> Sample:
            (one, small), (two, large) = (_loaded(checkout, workers) for workers in (1, 2))
            return {
                GAIN: two / one,
                SECOND: large - small,
                "PNGs/s of one": one,
                "MiB of one": small,
            }

        yield sample

    return Contestant("digitscope", open_)


def _loaded(checkout: Path, workers: int) -> tuple[float, float]:
    """Return PNGs a second of so many workers, and MiB after their start."""
    service = digitscope(checkout, DIGITSCOPE_WORKERS=str(workers))
    path, body = service.asks["PNG"]
    with running(service) as served:
        until_idle(served.pid)  # the first worker answers before the second one has started
        memory = memory_mib(served.pid)
        wrk(served.port, path, body, CONNECTIONS, 1)
        load = wrk(served.port, path, body, CONNECTIONS, 3)
        if load.failed:
            raise RuntimeError(f"{load.failed} requests failed")
        return load.rate, memory
