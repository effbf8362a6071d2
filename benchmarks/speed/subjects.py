"""Contestants: services that are asked over HTTP, programs that repeat a call, and commands."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks.load import Body, ask, wrk
from benchmarks.processes import cpu_seconds, until_idle
from benchmarks.services import PEERS, Service, running, variables
from benchmarks.speed.contest import Contestant, Sample

CPU, WALL, LATE = "CPU", "wall", "504"


def under_load(service: Service, kind: str, connections: int, seconds: int = 2) -> Contestant:
    """Return a service that `wrk` asks; samples are CPU microseconds of a request."""

    @contextmanager
    def open_() -> Iterator[Callable[[], Sample]]:
        path, body = service.asks[kind]
        with running(service, kind) as served:

            def sample() -> Sample:
                began = cpu_seconds(served.pid)
                load = wrk(served.port, path, body, connections, seconds)
                if load.failed:
                    raise RuntimeError(f"{service.name}: {load.failed} requests failed")
                return {CPU: 1e6 * (cpu_seconds(served.pid) - began) / load.answers}

            until_idle(served.pid, 5)  # some finish their start after the first answer
            wrk(served.port, path, body, connections, 1)  # warms everything up
            yield sample

    return Contestant(service.name, open_)


def asked(
    service: Service,
    path: str,
    body: Body,
    expected: str,
    *,
    count: int,
    per: int = 1,
    scale: float = 1e3,
    warm: int = 2,
) -> Contestant:
    """Return a service that gets a number of requests, one after the other.

    Samples are CPU and wall time of a request, or of one of its `per` images, and how many requests
    got 504.

    Args:
        service: The service.
        path: Path and query.
        body: Body of each request.
        expected: What its response must contain.
        count: Requests of a sample.
        per: Images of a request.
        scale: Units of a second: 1e3 for milliseconds.
        warm: Requests before the first sample.
    """

    @contextmanager
    def open_() -> Iterator[Callable[[], Sample]]:
        with running(service) as served:
            content, late = ask(served.port, path, body, warm)
            if not late and expected not in "".join(content.decode().split()):
                raise RuntimeError(f"{path} did not give {expected}: {content[:300]!r}")

            def sample() -> Sample:
                cpu, began = cpu_seconds(served.pid), time.perf_counter()
                _, late = ask(served.port, path, body, count)
                taken = time.perf_counter() - began
                cpu = cpu_seconds(served.pid) - cpu
                return {
                    CPU: scale * cpu / count / per,
                    WALL: scale * taken / count / per,
                    LATE: late,
                }

            yield sample

    return Contestant(service.name, open_)


def repeated(
    name: str,
    script: str,
    *arguments: object,
    count: int,
    per: int = 1,
    scale: float = 1e3,
    python: Path | None = None,
) -> Contestant:
    """Return a script of `benchmarks/peers` that repeats one call in a process of its own.

    Samples are CPU and wall time of a call, or of one of its `per` images.
    """

    @contextmanager
    def open_() -> Iterator[Callable[[], Sample]]:
        command = [str(python or sys.executable), str(PEERS / script), *map(str, arguments)]
        with subprocess.Popen(
            command,
            env={**variables(), "PEER_RUNTIME": "litert"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            if process.stdin is None or process.stdout is None:
                raise RuntimeError("the pipes are missing")
            writer, reader = process.stdin, process.stdout
            print(f"  {name} gives {reader.readline().strip()}", flush=True)

            def sample() -> Sample:
                print(count, file=writer, flush=True)
                cpu, wall = map(float, reader.readline().split())
                return {CPU: scale * cpu / count / per, WALL: scale * wall / count / per}

            yield sample
            writer.close()

    return Contestant(name, open_)


def command(
    name: str,
    words: Sequence[str],
    folder: Path,
    make: Callable[[], AbstractContextManager[Path]],
    *,
    per: int,
) -> Contestant:
    """Return a command that runs once for each sample, with a fresh output file as last argument.

    Samples are CPU milliseconds for one of `per` files, of the command and all its processes. The
    start of the command is part of it.
    """

    @contextmanager
    def open_() -> Iterator[Callable[[], Sample]]:
        def sample() -> Sample:
            environment = {**variables(), "PEER_RUNTIME": "litert"}
            environment["PYTHONPATH"] = f"{folder}:{PEERS}"
            with make() as out:
                process = subprocess.Popen(
                    [*words, str(out)],
                    cwd=folder,
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                if process.returncode or not out.exists():
                    raise RuntimeError(f"{words} ended with {process.returncode}")
            return {CPU: 1e3 * (usage.ru_utime + usage.ru_stime) / per}

        yield sample

    return Contestant(name, open_)
