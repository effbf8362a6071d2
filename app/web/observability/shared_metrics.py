"""The files in which all worker processes share their metrics.

prometheus_client maps the files of each process into its memory; every process can read those of
all others. Files that are deleted while the service runs, by a cleaner of temporary files, are
written again. Knows files and processes; knows nothing of what is counted.
"""

import logging
import mmap
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    ProcessCollector,
    generate_latest,
    multiprocess,
    values,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # environment variable of prometheus_client
# Bytes of the files of one process, several times what all routes and statuses need.
_FILE_BYTES = {
    "counter": 1 << 18,
    "gauge_livemin": 1 << 16,
    "gauge_livemax": 1 << 18,  # about 40 values of each model that is loaded
    "gauge_livesum": 1 << 16,
    "histogram": 1 << 20,
}


class SharedMetrics:
    """The folder of the files. To be made before the first metric of the process."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which is made if it is missing, and reserve disk space in it.

        Without space, the metrics of this process stay in its memory.
        """
        self._folder = folder
        self._files: list[_SharedFile] = []  # those of this process
        if _reserve(folder):
            values.MmapedDict = self._open  # type: ignore[assignment, attr-defined]
            # Chosen by prometheus_client at its import, which may be before the folder was named.
            values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
        else:
            values.ValueClass = values.MutexValue

    def text(self) -> bytes:
        """Return the metrics of all processes in Prometheus's text format.

        Raises:
            OSError: The folder or a file is missing and cannot be written, or cannot be read.
            ValueError: The folder is missing, or a file is damaged.
        """
        for file in self._files:
            file.restore()
        _delete_gauges_of_dead_workers(self._folder)
        registry = CollectorRegistry()
        registry.register(_Workers(self._folder))
        multiprocess.MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _open(self, path: str) -> "_SharedFile":
        file = _SharedFile(path)
        self._files.append(file)
        return file


class _SharedFile(MmapedDict):
    """The values of one process and kind; each write stores an absolute value."""

    def __init__(self, path: str) -> None:
        self._resizing = threading.Lock()  # held while values are added or the file is replaced
        super().__init__(path)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        with self._resizing:
            super()._init_value(key)  # type: ignore[no-untyped-call]

    def restore(self) -> None:
        """Write the file again if it was deleted: what is mapped is lost to other processes.

        A value that changes meanwhile is right again from its next change on.
        """
        path = Path(self._fname)
        if path.exists():
            return
        with self._resizing:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_bytes(self._m[:])
            deleted: Any = self._f
            self._f = part.open("r+b")
            self._m = mmap.mmap(self._f.fileno(), self._capacity)
            part.rename(path)
            deleted.close()
        log.warning("%s was deleted while it was used; it is written again", path)


class _Workers(Collector):
    """The metrics `process_*` of all workers together: sums, but the earliest start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Return the metrics; none where the system has no /proc."""
        workers = [
            ProcessCollector(pid=partial(int, path.stem.rpartition("_")[2]), registry=None)
            for path in self._folder.glob("gauge_livesum_*.db")
        ]
        families = [list(worker.collect()) for worker in workers]
        for same in zip(*filter(None, families), strict=False):
            values = [sample.value for family in same for sample in family.samples]
            first = same[0]
            for sample in first.samples:
                value = min(values) if "start_time" in sample.name else sum(values)
                total = Metric(first.name, first.documentation, first.type, first.unit)
                total.add_sample(sample.name, sample.labels, value)
                yield total


def _delete_gauges_of_dead_workers(folder: Path) -> None:
    """Delete the gauge files of dead workers; keep their counters."""
    for path in folder.glob("gauge_live*_*.db"):
        process = int(path.stem.rpartition("_")[2])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except PermissionError:
            pass  # alive, and owned by another user


def _reserve(folder: Path) -> bool:
    """Reserve disk space for the metrics of this process; return whether there was enough.

    The files are mapped into memory: a process that writes to one on a full disk is killed by
    SIGBUS.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS
        return True
    files = {folder / f"{kind}_{os.getpid()}.db": size for kind, size in _FILE_BYTES.items()}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, size in files.items():
            with path.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        log.error(
            "%s: %s; the metrics of this process will be missing from /metrics",
            folder,
            error.strerror,
        )
        for path in files:
            with suppress(OSError):  # not there, or no folder to hold it
                path.unlink()
        return False
    return True
