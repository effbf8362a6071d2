"""Requests a second, CPU time, latency, memory and start of digitscope and of other servers.

    python -m benchmarks.serving                                   (make bench; about ten minutes)
    python -m benchmarks.serving --only digitscope MLServer --dry

Starts each service in turn with one worker (`benchmarks/services.py`), lets `wrk` (Debian's
package) ask for the same digit at 1, 16 and 64 connections, and writes the tables into
docs/performance.md and a plot beside it. Only rows of the same wire format are comparable. Rows of
services that were not chosen stay as they are.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from app.settings import REPOSITORY
from benchmarks.load import wrk
from benchmarks.page import fill, replace_rows, table
from benchmarks.processes import cpu_seconds, memory_mib, until_idle
from benchmarks.services import (
    BARE,
    FASTAPI,
    FASTAPI_KERAS,
    FLOOR,
    PEER_SERVICES,
    RAW,
    Running,
    Service,
    digitscope,
    environment_python,
    running,
)

PAGE = REPOSITORY / "docs" / "performance.md"
PLOT = REPOSITORY / "docs" / "images" / "serving.png"
CONNECTIONS = (1, 16, 64)
FORMATS = ("PNG", "form", "V1 JSON", "V2 JSON", "V2 binary")
MAX_SECONDS = 6  # of one measurement of a slow service
HEADER = (
    "body",
    "service",
    *(f"requests/s, {connections}" for connections in CONNECTIONS),
    "CPU us, 16",
    "p50, p99 ms, 16",
    "MiB",
    "start, s",
)


def _digitscope(name: str, **settings: str) -> Service:
    service = digitscope(REPOSITORY, f"digitscope, {name}", **settings)
    return Service(
        service.name,
        service.command,
        {"PNG": ("/predict", RAW)},
        environment=service.environment,
        folder=service.folder,
    )


SERVICES = (
    digitscope(),
    _digitscope("in threads", DIGITSCOPE_QUICK_BELOW_S="0"),
    _digitscope(
        "in batches of 8",
        DIGITSCOPE_QUICK_BELOW_S="0",
        DIGITSCOPE_MAX_BATCH="8",
        DIGITSCOPE_THREADS="8",
    ),
    BARE,
    FLOOR,
    FASTAPI,
    FASTAPI_KERAS,
    *PEER_SERVICES,
)


@dataclass
class Measured:
    """What was measured of one service with one wire format, one value for each round.

    Attributes:
        rates: Requests a second, by the number of connections.
        cpu: CPU microseconds of a request at 16 connections, all processes.
        middles: p50 at 16 connections, ms.
        tails: p99 at 16 connections, ms.
        starts: Seconds to the first answer.
        memory: MiB after the load.
        failed: Requests without success.
    """

    rates: dict[int, list[float]] = field(default_factory=dict)
    cpu: list[float] = field(default_factory=list)
    middles: list[float] = field(default_factory=list)
    tails: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    failed: int = 0


Found = dict[tuple[str, str], Measured]  # by wire format and name of the service


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=1, help="Of each measurement.")
    parser.add_argument("--rounds", type=int, default=3)
    names = [service.name for service in SERVICES]
    parser.add_argument("--only", nargs="*", choices=names, default=names, help="Default: all.")
    parser.add_argument("--dry", action="store_true", help="Print and write nothing.")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing (Debian: apt-get install wrk)")
    chosen = [service for service in SERVICES if service.name in arguments.only]
    pythons = {service.name: environment_python(service) for service in chosen}
    found: Found = {}
    for turn in range(arguments.rounds):
        for service in chosen:
            print(f"round {turn + 1}: {service.name}", flush=True)
            with running(service) as served:
                until_idle(served.pid, 5)
                for kind in service.asks:
                    measured = found.setdefault((kind, service.name), Measured())
                    _measure(service, kind, served, arguments.seconds, measured)
    rows = _rows(found)
    print(table([HEADER, *rows]))
    if not arguments.dry:
        replace_rows(PAGE, "serving", [HEADER, *rows], key=2)
        if len(chosen) == len(SERVICES):
            fill(PAGE, "peers", _versions(pythons) + "\n")
            _plot(found)


def _measure(
    service: Service, kind: str, served: Running, seconds: int, measured: Measured
) -> None:
    path, body = service.asks[kind]
    measured.starts.append(served.start_s)
    rate = wrk(served.port, path, body, 4, 1).rate  # warms everything up
    for connections in CONNECTIONS:
        # Slow services get the time to answer each connection three times.
        needed = min(MAX_SECONDS, int(3 * connections / rate)) if rate else MAX_SECONDS
        began = cpu_seconds(served.pid)
        load = wrk(served.port, path, body, connections, max(seconds, needed))
        rate = load.rate
        measured.rates.setdefault(connections, []).append(rate)
        measured.failed += load.failed
        if connections == 16:
            cpu = cpu_seconds(served.pid) - began
            measured.cpu.append(1e6 * cpu / max(1, load.answers))
            measured.middles.append(load.middle)
            measured.tails.append(load.tail)
    measured.memory.append(memory_mib(served.pid))


def _rows(found: Found) -> list[list[str]]:
    """Return the rows, sorted by wire format."""
    rows = []
    for (kind, name), measured in sorted(found.items(), key=lambda each: FORMATS.index(each[0][0])):
        failed = f" ({measured.failed} failed)" if measured.failed else ""
        middle, tail = statistics.median(measured.middles), statistics.median(measured.tails)
        rows.append(
            [
                kind,
                name + failed,
                *(f"{statistics.median(measured.rates[at]):,.0f}" for at in CONNECTIONS),
                f"{statistics.median(measured.cpu):,.0f}",
                f"{middle:.1f}, {tail:.1f}",
                f"{statistics.median(measured.memory):.0f}",
                f"{statistics.median(measured.starts):.1f}",
            ]
        )
    return rows


def _versions(pythons: Mapping[str, Path]) -> str:
    """Return the peers' versions, and those of LiteRT in their environments."""
    said = []
    for service in PEER_SERVICES:
        names = (service.packages[0].split("[")[0], "ai-edge-litert")
        code = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
        command = [pythons[service.name], "-c", code, *names]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        version, litert = answer.split()
        said.append(f"{service.name} {version} (LiteRT {litert})")
    return textwrap.fill(f"Versions: {', '.join(said)}.", 120)


def _plot(found: Found) -> None:
    """Draw the CPU time of a request, one panel for each wire format."""
    figure = Figure(figsize=(8, 7), layout="constrained")
    counts = [sum(kind == one for kind, _ in found) for one in FORMATS]
    panels: Sequence = figure.subplots(len(FORMATS), 1, sharex=True, height_ratios=counts)
    for axes, kind in zip(panels, FORMATS, strict=True):
        cpu = {
            name: statistics.median(measured.cpu)
            for (one, name), measured in found.items()
            if one == kind
        }
        names = sorted(cpu, key=cpu.__getitem__)
        places = np.arange(len(names))
        colours = ["tab:orange" if name.startswith("digitscope") else "tab:gray" for name in names]
        axes.barh(places, [cpu[name] for name in names], color=colours)
        axes.bar_label(axes.containers[0], [f" {cpu[name]:,.0f}" for name in names], fontsize=7)
        axes.set(xscale="log", yticks=places, title=kind)
        axes.set_yticklabels([name.replace("`", "") for name in names], fontsize=7)
        axes.title.set_fontsize(8)
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("CPU microseconds of a request, 16 connections, one worker")
    figure.savefig(PLOT, dpi=110)


if __name__ == "__main__":
    main()
