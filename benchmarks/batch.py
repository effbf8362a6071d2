"""Measure the throughput of `POST /predict/batch` against threads that only run the network.

    python -m benchmarks.batch

The script starts a service that receives npy arrays over HTTP on loopback, once as one process with
a thread per core and once as several processes with one thread each. Each connection sends its next
request as soon as it has its response. Before and after each measurement, the same number of
threads runs the same network on the same digits without HTTP. If these two rates differ by more
than 5 %, as they do when a shared machine changes its clock, the measurement between them is
discarded and repeated. The client runs on the same cores and costs part of them. The table is
written into docs/performance.md.

`wrk` is not used because it counts only responses that arrive within its duration: of a few large
arrays per second, the unfinished ones matter. Here time is measured from response to response.
"""

import http.client
import itertools
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import numpy as np

from app.inference.registry import Registry
from app.inference.runtime import Runtime
from app.samples import sample_pixels
from app.settings import REPOSITORY, Settings
from benchmarks.load import Body, until_answered
from benchmarks.page import fill, table
from tests.forms import npy
from tests.ports import free_port

PAGE = REPOSITORY / "docs" / "performance.md"
THREADS = Settings().threads
# Processes, digits of an array, and connections. More processes need more connections: each stays
# with the process that took it, and two may be with the same one.
CASES = (
    (1, 256, 1),
    (1, 256, 2),
    (1, 1024, 1),
    (1, 1024, 2),
    (THREADS, 256, 4 * THREADS),
    (THREADS, 1024, 4 * THREADS),
)
ROUNDS, TRIES, STEADY = 7, 30, 0.05
BARE_S, SECONDS = 0.8, {1024: 4.0, 256: 1.6}  # many large arrays may be on their way for a second
DIGITS = np.stack([sample_pixels(n % 10) for n in range(1024)])


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
            until_answered(server, port, "/predict/batch", _body(1))
            yield port
        finally:
            server.send_signal(signal.SIGTERM)


def _measure(ports: dict[int, int]) -> list[list[str]]:
    registry = Registry(REPOSITORY / "model", Settings().default_model, interpreters=THREADS)
    registry.load()
    runtime = registry.get(None).runtime
    shares: dict[tuple[int, int, int], list[float]] = {case: [] for case in CASES}
    bare = [_bare(runtime)]
    for _ in range(TRIES):
        for case in CASES:
            if len(shares[case]) == ROUNDS:
                continue
            workers, count, connections = case
            rate = _answers_a_second(ports[workers], _body(count), connections, SECONDS[count])
            bare.append(_bare(runtime))
            before, after = bare[-2:]
            if abs(after / before - 1) < STEADY:
                shares[case].append(rate * count / statistics.mean((before, after)))
    raw = statistics.median(bare)
    head = "processes, threads of each, connections, digits of an array, digits/s, share"
    rows = [head.split(", ")]
    rows.append(["bare", str(THREADS), "", "", f"{raw:,.0f}", "100 %"])
    for (workers, count, connections), found in shares.items():
        share = statistics.median(found)
        sizes = [str(workers), str(THREADS // workers), str(connections), f"{count:,}"]
        rows.append([*sizes, f"{share * raw:,.0f}", f"{100 * share:.0f} %"])
    return rows


def _answers_a_second(port: int, body: Body, connections: int, seconds: float) -> float:
    """Return the rate between the answers that end the first round and the last."""
    until = time.perf_counter() + seconds

    def ask(_: int) -> list[float]:
        connection, came = http.client.HTTPConnection("127.0.0.1", port), list[float]()
        while not came or came[-1] <= until:  # the load is the same until the last that counts
            connection.request("POST", "/predict/batch", body.content, {"Content-Type": body.kind})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the answer was {answer.status}")
            came.append(time.perf_counter())
        connection.close()
        return came

    with ThreadPoolExecutor(connections) as pool:
        came = sorted(itertools.chain(*pool.map(ask, range(connections))))
    counted = [moment for moment in came[connections - 1 :] if moment <= until]
    return (len(counted) - 1) / (counted[-1] - counted[0])


def _bare(runtime: Runtime) -> float:
    """Return digits a second of threads that do nothing else."""
    started = time.perf_counter()

    def work(thread: int) -> int:
        done = 0
        while time.perf_counter() - started < BARE_S:
            done += len(runtime.predict(DIGITS).probabilities)
        return done

    with ThreadPoolExecutor(THREADS) as pool:
        done = sum(pool.map(work, range(THREADS)))
        return done / (time.perf_counter() - started)


def _body(count: int) -> Body:
    return Body("application/x-npy", npy(DIGITS[:count]))


if __name__ == "__main__":
    main()
