"""Digits a second of `POST /predict/batch`, beside threads that do nothing but run the network.

    python -m benchmarks.batch

A service of its own answers npy arrays over HTTP on loopback, once as one process with a thread for
each core and once as a process with one thread for each; clients wait for each answer. In turn with
these, as many threads run the same network on the same digits. The clients' own work is done on
the same cores. Writes its table into docs/performance.md.
"""

import http.client
import io
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import numpy as np

from app.imaging.decode import decode
from app.inference.registry import Registry
from app.samples import sample_png
from app.settings import REPOSITORY, Settings
from benchmarks.page import fill, table
from benchmarks.serving import Body, until_answered
from tests.ports import free_port

PAGE = REPOSITORY / "docs" / "performance.md"
THREADS = Settings().threads
# Processes, digits of an array, and how many clients ask at a time.
CASES = (
    (1, 256, 1),
    (1, 256, 2),
    (1, 1024, 1),
    (1, 1024, 2),
    (THREADS, 256, 2 * THREADS),
    (THREADS, 1024, 2 * THREADS),
)
ROUNDS, SECONDS = 5, 2.0
DIGITS = np.stack([decode(sample_png(n % 10), max_pixels=784).pixels for n in range(1024)])


def main() -> None:
    """Measure and write."""
    with ExitStack() as stack:
        ports = {workers: stack.enter_context(_served(workers)) for workers in (1, THREADS)}
        rows = _measure(ports)
    print(table(rows))
    fill(PAGE, "batch", table(rows))


@contextmanager
def _served(workers: int) -> Iterator[int]:
    """Give the port of a service of so many processes, which share `THREADS` threads."""
    port = free_port()
    environment = {
        **os.environ,
        "DIGITSCOPE_LOG_LEVEL": "warning",
        "DIGITSCOPE_WORKERS": str(workers),
        "DIGITSCOPE_THREADS": str(THREADS // workers),
    }
    command = [sys.executable, "-m", "digitscope", "serve", "--port", str(port)]
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment) as server:
        try:
            until_answered(server, port, "/predict/batch", Body("application/x-npy", _npy(1)))
            yield port
        finally:
            server.send_signal(signal.SIGTERM)


def _measure(ports: dict[int, int]) -> list[list[str]]:
    registry = Registry(REPOSITORY / "model", Settings().default_model, interpreters=THREADS)
    registry.load()
    runtime = registry.get(None).runtime

    def run() -> Callable[[], int]:
        return lambda: len(runtime.predict(DIGITS).probabilities)

    shares: dict[tuple[int, int, int], list[float]] = {case: [] for case in CASES}
    bare: list[float] = []
    with ThreadPoolExecutor(max(THREADS, *(clients for _, _, clients in CASES))) as pool:
        for _ in range(ROUNDS):
            for case in CASES:
                workers, count, clients = case
                bare.append(_rate(pool, THREADS, run))
                shares[case].append(_rate(pool, clients, _asker(ports[workers], count)) / bare[-1])
    raw = statistics.median(bare)
    rows = [["processes", "threads of each", "clients", "digits of an array", "digits/s", "share"]]
    rows.append(["bare", str(THREADS), "", "", f"{raw:,.0f}", "100 %"])
    for (workers, count, clients), found in shares.items():
        share = statistics.median(found)
        sizes = [str(workers), str(THREADS // workers), str(clients), f"{count:,}"]
        rows.append([*sizes, f"{share * raw:,.0f}", f"{100 * share:.0f} %"])
    return rows


def _rate(pool: ThreadPoolExecutor, workers: int, begin: Callable[[], Callable[[], int]]) -> float:
    """Return digits a second of so many that work at a time."""
    calls = [begin() for _ in range(workers)]
    started = time.perf_counter()

    def work(call: Callable[[], int]) -> int:
        done = 0
        while time.perf_counter() - started < SECONDS:
            done += call()
        return done

    done = sum(pool.map(work, calls))
    return done / (time.perf_counter() - started)


def _asker(port: int, count: int) -> Callable[[], Callable[[], int]]:
    """Return what opens a connection and gives what asks on it, for the number of digits read."""
    body, headers = _npy(count), {"Content-Type": "application/x-npy"}

    def begin() -> Callable[[], int]:
        connection = http.client.HTTPConnection("127.0.0.1", port)

        def ask() -> int:
            connection.request("POST", "/predict/batch", body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the request failed with {answer.status}")
            return count

        return ask

    return begin


def _npy(count: int) -> bytes:
    file = io.BytesIO()
    np.save(file, DIGITS[:count])
    return file.getvalue()


if __name__ == "__main__":
    main()
