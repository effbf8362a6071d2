"""What the service counts, in Prometheus's text format.

With several worker processes, each writes to files in `PROMETHEUS_MULTIPROC_DIR` (which `serve`
sets before the workers start) and any of them answers for all. Label values are few: routes,
statuses, reasons, models.
"""

import logging
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)

from app.inference.model import Model
from app.predictions import BatchResult
from app.verdict import Verdict

log = logging.getLogger(__name__)
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SHARED = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_INFERENCE = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SHARES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)
# Bytes of the files that a process shares: several times what all routes and statuses need.
_ROOM = {"counter": 1 << 18, "gauge_livemin": 1 << 16, "histogram": 1 << 20}


class _Histogram(Histogram):
    """Counts many values at once."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Do what `observe` does with each of `amounts`."""
        self._sum.inc(sum(amounts))
        ordered, start = sorted(amounts), 0
        while start < len(ordered):
            bucket = bisect_left(self._upper_bounds, ordered[start])
            stop = bisect_right(ordered, self._upper_bounds[bucket])
            self._buckets[bucket].inc(stop - start)
            start = stop


class Metrics:
    """The counters of one application in one process."""

    def __init__(self) -> None:
        """Start at zero."""
        if SHARED in os.environ and not _reserve(Path(os.environ[SHARED])):
            values.ValueClass = values.MutexValue
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "digitscope_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "digitscope_request_seconds",
            "Time from a request's first byte to the end of its answer.",
            ("route", "status"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._rejections = Counter(
            "digitscope_rejections",
            "Requests turned away, and requests whose client went away.",
            ("reason",),
            registry=registry,
        )
        self._queued = _Histogram(
            "digitscope_queue_seconds",
            "Time that work waited for a thread.",
            ("lane",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._stages = Histogram(
            "digitscope_stage_seconds",
            "Preparation and inference of an image, the mean of those that were run together.",
            ("stage",),
            buckets=_INFERENCE,
            registry=registry,
        )
        self._batches = Histogram(
            "digitscope_batch_size",
            "Images that a request brings at once; with batching, of each run of a network.",
            buckets=_SIZES,
            registry=registry,
        )
        self._verdicts = Counter(
            "digitscope_verdicts", "Digits read.", ("model", "verdict"), registry=registry
        )
        self._confidence = _Histogram(
            "digitscope_confidence",
            "Largest probability of each digit read.",
            ("model",),
            buckets=_SHARES,
            registry=registry,
        )
        self._versions = Gauge(
            "digitscope_model_version",
            "Version of the model that is served.",
            ("model",),
            registry=registry,
            multiprocess_mode="livemin",
        )
        # To look a labelled child up takes longer than to count.
        self._request = lru_cache(maxsize=512)(
            lambda route, method, status: (
                self._requests.labels(route, method, status),
                self._seconds.labels(route, status),
            )
        )
        self._verdict = lru_cache(maxsize=64)(self._verdicts.labels)
        self._confidences = lru_cache(maxsize=64)(self._confidence.labels)
        self._prepare, self._infer = (
            self._stages.labels(stage) for stage in ("preparation", "inference")
        )

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answer."""
        count, time = self._request(route, method, status)
        count.inc()
        time.observe(seconds)

    def rejected(self, reason: str) -> None:
        """Count a request that was turned away."""
        self._rejections.labels(reason).inc()

    def wait_observer(self, lane: str) -> Callable[[float], None]:
        """Return what counts how long work of a lane waited, in seconds."""
        return self._queued.labels(lane).observe

    def on_wait_of_all(self, lane: str) -> Callable[[Sequence[float]], None]:
        """Return what counts how long each of several works of a lane waited, in seconds."""
        return self._queued.labels(lane).observe_all

    def on_run(self, images: int) -> None:
        """Count a run of images that were put together."""
        self._batches.observe(images)

    def read(self, parts: Sequence[BatchResult], model: Model) -> None:
        """Count images that were asked for together, and read in parts."""
        sizes = [len(part.predictions) for part in parts]
        images = sum(sizes)
        if not images:
            return
        if not model.batches_requests:
            self.on_run(images)
        shares: list[float] = []
        verdicts: list[Verdict] = []
        preparation = inference = 0.0
        for part, size in zip(parts, sizes, strict=True):
            shares += part.predictions.confidences.tolist()
            verdicts += part.predictions.verdicts
            preparation += part.timings.preparation * size
            inference += part.timings.inference * size
        self._prepare.observe(preparation / images)
        self._infer.observe(inference / images)
        self.judged(verdicts, shares, model)

    def judged(
        self, verdicts: Sequence[Verdict], confidences: Sequence[float], model: Model
    ) -> None:
        """Count what was said of digits: of each its verdict and its largest probability."""
        name = model.bundle.metadata.name
        self._confidences(name).observe_all(confidences)
        for verdict in set(verdicts):
            self._verdict(name, verdict).inc(verdicts.count(verdict))

    def serves(self, name: str, version: int) -> None:
        """Say which version of a model is served."""
        self._versions.labels(name).set(version)

    def text(self) -> bytes:
        """Return all counts of all workers."""
        registry = self._registry
        if SHARED in os.environ:
            _forget_the_dead(Path(os.environ[SHARED]))
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def _forget_the_dead(folder: Path) -> None:
    """Take away what processes that are gone said of themselves; what they counted stays."""
    for path in folder.glob("gauge_live*_*.db"):
        process = int(path.stem.rpartition("_")[2])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except PermissionError:
            pass  # it is there, and somebody else's


def _reserve(folder: Path) -> bool:
    """Take the room that the counts of this process need; tell whether there was any.

    The files are mapped into memory: a process that writes to one on a full disk ends by SIGBUS.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS
        return True
    files = {folder / f"{kind}_{os.getpid()}.db": size for kind, size in _ROOM.items()}
    try:
        for path, size in files.items():
            with path.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        log.error(
            "%s: %s; what this process counts will be missing from /metrics", folder, error.strerror
        )
        for path in files:
            path.unlink(missing_ok=True)
        return False
    return True
