"""Compare the CPU time of `POST /predict/batch` with threads that only run the network.

    python -m benchmarks.batch                (about two minutes)

The script starts a service that receives npy arrays over HTTP on loopback, once as one process with
a thread per core and once as several processes with one thread each. Each connection sends its next
request as soon as it has its response. In each round, the same number of threads also runs the same
network on the same digits without HTTP. The table is written into docs/performance.md.
"""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np

from app.inference.registry import Registry
from app.inference.runtime import Runtime
from app.samples import sample_pixels
from app.settings import REPOSITORY, Settings
from benchmarks.load import Body, ask
from benchmarks.page import fill, table
from benchmarks.processes import cpu_seconds, until_idle
from benchmarks.services import Running, digitscope, running
from tests.forms import npy

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
ROUNDS = 5
SAMPLE = 32 * 1024  # digits of a measurement: a second of CPU time, in ticks of 10 ms
DIGITS = np.stack([sample_pixels(n % 10) for n in range(1024)])


def main() -> None:
    """Measure and write."""
    with ExitStack() as stack:
        services = {
            workers: stack.enter_context(
                running(
                    digitscope(
                        DIGITSCOPE_WORKERS=str(workers), DIGITSCOPE_THREADS=str(THREADS // workers)
                    )
                )
            )
            for workers in (1, THREADS)
        }
        for service in services.values():
            until_idle(service.pid)
        rows = _measure(services)
    print(table(rows))
    fill(PAGE, "batch", table(rows))


def _measure(services: dict[int, Running]) -> list[list[str]]:
    registry = Registry(REPOSITORY / "model", Settings().default_model, interpreters=THREADS)
    registry.load()
    runtime = registry.get(None).runtime
    bare = list[float]()
    costs: dict[tuple[int, int, int], list[float]] = {case: [] for case in CASES}
    for _ in range(ROUNDS):
        bare.append(_bare(runtime))
        for case in CASES:
            workers, count, connections = case
            costs[case].append(_served(services[workers], count, connections))
    head = "processes, threads of each, connections, digits of an array, CPU us a digit, over bare"
    rows = [head.split(", ")]
    rows.append(["bare", str(THREADS), "", "", f"{statistics.median(bare):.1f}", ""])
    for (workers, count, connections), found in costs.items():
        ratio = statistics.median(one / base for one, base in zip(found, bare, strict=True))
        sizes = [str(workers), str(THREADS // workers), str(connections), f"{count:,}"]
        rows.append([*sizes, f"{statistics.median(found):.1f}", f"{ratio:.2f}"])
    return rows


def _served(service: Running, count: int, connections: int) -> float:
    """Return the CPU microseconds of a digit, of all processes of the service."""
    body = Body("application/x-npy", npy(DIGITS[:count]))
    requests = SAMPLE // count // connections
    began = cpu_seconds(service.pid)
    with ThreadPoolExecutor(connections) as pool:
        for _ in pool.map(
            lambda _: ask(service.port, "/predict/batch", body, requests), range(connections)
        ):
            pass
    return 1e6 * (cpu_seconds(service.pid) - began) / (requests * connections * count)


def _bare(runtime: Runtime) -> float:
    """Return the CPU microseconds of a digit in threads that do nothing else."""
    began = time.process_time()
    with ThreadPoolExecutor(THREADS) as pool:
        done = sum(
            pool.map(
                lambda _: len(runtime.predict(DIGITS).probabilities), range(SAMPLE // len(DIGITS))
            )
        )
    return 1e6 * (time.process_time() - began) / done


if __name__ == "__main__":
    main()
