"""CPU time and memory of a process and everything that it started, from /proc."""

import os
import time
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PPID, SESSION, CPU_TIMES = 1, 3, slice(11, 15)  # fields of /proc/PID/stat behind the name


def cpu_seconds(leader: int) -> float:
    """Return the user and system time of a process and its descendants, ended ones included.

    Linux gives it in steps of 10 ms, so what is measured should take a second or more.
    """
    stats = _tree(leader)
    ticks = sum(int(value) for stat in stats.values() for value in stat[CPU_TIMES])
    return ticks / TICKS_PER_S


def until_idle(leader: int, patience_s: float = 30) -> None:
    """Wait until a process and its descendants use less than a tenth of a processor."""
    until, before = time.monotonic() + patience_s, cpu_seconds(leader)
    while time.monotonic() < until:
        time.sleep(0.5)
        now = cpu_seconds(leader)
        if now - before < 0.05:
            return
        before = now


def memory_mib(leader: int) -> float:
    """Return the memory of a process and its descendants, MiB.

    This is what each process has for itself, plus the largest part that one of them shares:
    libraries and weights that several of them map count once.
    """
    private, shared = 0.0, [0.0]
    for pid in _tree(leader):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue  # the process has ended
        sizes = {
            name: int(rest.split()[0]) for name, _, rest in (row.partition(":") for row in lines)
        }
        own = sizes["Private_Clean"] + sizes["Private_Dirty"]
        private += own
        shared.append(sizes["Rss"] - own)
    return (private + max(shared)) / 1024


def _tree(leader: int) -> dict[int, list[str]]:
    """Return the fields of /proc/PID/stat behind the name, for a session and its descendants."""
    stats = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stats[int(folder.name)] = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # the process has ended
    found = {pid for pid, stat in stats.items() if pid == leader or int(stat[SESSION]) == leader}
    while more := {pid for pid, stat in stats.items() if int(stat[PPID]) in found} - found:
        found |= more
    return {pid: stats[pid] for pid in found}
