"""Compare the throughput of replicas on a Ray cluster with that of one process.

    python -m benchmarks.cluster

Sends the same requests to `digitscope serve` and `digitscope cluster` in turn with `wrk` (a Debian
package), reads the same folder with `digitscope read` in worker processes and on Ray, and writes
its tables into docs/ray.md. All nodes and clients share this machine: more replicas than cores show
the overhead of replicas, not their benefit.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.samples import sample_png
from app.settings import REPOSITORY
from benchmarks.load import Body, until_answered, wrk
from benchmarks.page import fill, table
from tests.ports import free_port

PAGE = REPOSITORY / "docs" / "ray.md"
BIN = Path(sys.executable).parent
REPLICAS = (1, 2, 4)
ROUTES = ("/predict", "/inspect?model=classic&include=sheets")
BODY = Body("image/png", sample_png(7))
CONNECTIONS = 16


def main() -> None:
    """Measure both services and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3, help="Seconds per measurement.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=4000, help="Images to read in bulk.")
    parser.add_argument("--dry", action="store_true", help="Print the tables without writing them.")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing (Debian: apt-get install wrk)")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    served = _serve(arguments.seconds, arguments.rounds)
    read = _read(arguments.images, arguments.rounds)
    cores = (
        f"Measured on {len(os.sched_getaffinity(0))} cores, which client, proxy and all replicas"
        " share; one thread in the process and in each replica."
    )
    text = "\n".join((cores, "", table(served), table(read)))
    print(text)
    if not arguments.dry:
        fill(PAGE, "cluster", text)


@contextmanager
def _nodes(cpus: int) -> Iterator[dict[str, str]]:
    """A cluster of one node that counts so many CPUs; its address as environment."""
    from ray.cluster_utils import Cluster

    handler = signal.getsignal(signal.SIGTERM)
    node = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": 200_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    signal.signal(signal.SIGTERM, handler)  # Ray's own would drain nodes
    try:
        yield {**os.environ, "RAY_ADDRESS": cluster.address}
    finally:
        cluster.shutdown()


@contextmanager
def _running(*words: str, environment: dict[str, str]) -> Iterator[int]:
    """A command that serves, and its port."""
    port = free_port()
    # One thread for each kind of work, in the process as in each replica.
    own = {"DIGITSCOPE_THREADS": "1", "DIGITSCOPE_SLOW_THREADS": "1"}
    own |= {"DIGITSCOPE_ACCESS_LOG": "false", "DIGITSCOPE_LOG_LEVEL": "warning"}
    process = subprocess.Popen(
        [BIN / "digitscope", *words, "--port", str(port)],
        cwd=REPOSITORY,
        env={**environment, **own},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for path in ROUTES:
            until_answered(process, port, path, BODY)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


def _serve(seconds: int, rounds: int) -> list[list[str]]:
    """Requests a second of one process and of so many replicas, asked in turn."""
    single: dict[str, list[float]] = {path: [] for path in ROUTES}
    rates: dict[tuple[str, int], list[float]] = {}
    ratios: dict[tuple[str, int], list[float]] = {}
    with _running("serve", environment=dict(os.environ)) as alone:
        for replicas in REPLICAS:
            count = str(replicas)
            scale = ("--min-replicas", count, "--max-replicas", count)
            with (
                _nodes(replicas) as there,
                _running("cluster", *scale, environment=there) as port,
            ):
                for path in ROUTES:
                    wrk(port, path, BODY, CONNECTIONS, seconds)  # warms every replica up
                    for _ in range(rounds):
                        one, many = (
                            wrk(at, path, BODY, CONNECTIONS, seconds).rate for at in (alone, port)
                        )
                        single[path].append(one)
                        rates.setdefault((path, replicas), []).append(many)
                        ratios.setdefault((path, replicas), []).append(many / one)
                        print(f"{path}, {replicas} replicas: {many:.0f}/s, alone {one:.0f}/s")
    rows = [[f"requests a second, {CONNECTIONS} at once", "one process"]]
    rows[0] += [f"{count} replica{'s' * (count > 1)}" for count in REPLICAS]
    for path in ROUTES:
        row = [f"`POST {path}`", f"{statistics.median(single[path]):,.0f}"]
        for count in REPLICAS:
            rate, ratio = (statistics.median(of[path, count]) for of in (rates, ratios))
            row.append(f"{rate:,.0f} ({ratio:.2f} times)")
        rows.append(row)
    return rows


def _read(images: int, rounds: int) -> list[list[str]]:
    """Seconds to read a folder in worker processes and on Ray, with the start of either."""
    taken: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(images):
            Path(folder, f"{number:05}.png").write_bytes(sample_png(number % 10))
        for workers in REPLICAS:
            with _nodes(workers) as there:
                for _ in range(rounds):
                    for name, more in (
                        ("processes", ("--processes", str(workers))),
                        ("Ray", ("--ray",)),
                    ):
                        began = time.perf_counter()
                        out = Path(folder, "digits.csv")
                        subprocess.run(
                            [BIN / "digitscope", "read", folder, "--out", out, *more],
                            cwd=REPOSITORY,
                            env=there,
                            capture_output=True,
                            check=True,
                        )
                        seconds = time.perf_counter() - began
                        out.unlink()
                        taken.setdefault((name, workers), []).append(seconds)
                        print(f"{name}, {workers}: {seconds:.1f} s")
    rows = [[f"seconds to read {images:,} images, start included"]]
    rows[0] += [f"{count} at work" for count in REPLICAS]
    for name, command in (("processes", "--processes"), ("Ray", "--ray")):
        medians = [statistics.median(taken[name, count]) for count in REPLICAS]
        rows.append([f"`digitscope read {command}`", *(f"{value:.1f}" for value in medians)])
    return rows


if __name__ == "__main__":
    main()
