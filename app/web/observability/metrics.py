"""The metrics of the service, in Prometheus's text format.

`METRICS` and `LABELS` define all of them; docs/metrics.md is generated from these. With several
worker processes, each writes to files in `PROMETHEUS_MULTIPROC_DIR` (which `digitscope serve` sets
before it starts the workers), and any of them answers for all.
"""

import logging
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from app.inference.model import Model
from app.predictions import BatchResult
from app.verdict import Verdict
from app.web.observability.shared_metrics import SHARED_FOLDER, SharedMetrics

log = logging.getLogger(__name__)
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_CACHED_REQUESTS = 512  # combinations of route, method and status
MAX_CACHED_VERDICTS = 64  # combinations of model and verdict

Lane = Literal[
    "fast", "slow", "explanations", "quick", "parsing", "reloads", "scrapes", "corrections"
]
Rejection = Literal[
    "busy",
    "client-gone",
    "connections",
    "deadline",
    "key",
    "memory",
    "not-ready",
    "rate-limit",
    "slow-body",
    "wait",
]

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_STAGE_SECONDS = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_PROBABILITIES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)


@dataclass(frozen=True)
class Metric:
    """The definition of one metric.

    Attributes:
        name: Its name; Prometheus appends `_total` to that of a counter.
        kind: Its type.
        meaning: What it counts or measures, and its unit.
        labels: Its labels, which `LABELS` explains.
        buckets: Upper bounds of a histogram's buckets.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


@dataclass(frozen=True)
class Label:
    """The meaning of a label.

    Attributes:
        meaning: What the label says.
        values: Its values and what each means; empty if they are not a fixed set.
    """

    meaning: str
    values: dict[str, str]


REQUESTS = Metric(
    "digitscope_requests", "counter", "Requests with a response.", ("route", "method", "status")
)
REQUEST_SECONDS = Metric(
    "digitscope_request_seconds",
    "histogram",
    "Seconds from a request's first byte to the end of its response.",
    ("route", "status"),
    _SECONDS,
)
REJECTIONS = Metric(
    "digitscope_rejections",
    "counter",
    "Requests that were refused, and requests whose client left before the response.",
    ("reason",),
)
CLOSED_CONNECTIONS = Metric(
    "digitscope_closed_connections",
    "counter",
    "Idle connections that were closed because a client, or all together, had too many.",
)
QUEUE_SECONDS = Metric(
    "digitscope_queue_seconds",
    "histogram",
    "Seconds that work waited in a queue.",
    ("lane",),
    _SECONDS,
)
STAGE_SECONDS = Metric(
    "digitscope_stage_seconds",
    "histogram",
    "Seconds per image in one stage; the mean over images that ran together.",
    ("stage",),
    _STAGE_SECONDS,
)
BATCH_SIZE = Metric(
    "digitscope_batch_size",
    "histogram",
    "Images of one request; with DIGITSCOPE_MAX_BATCH above 1, images of one run of the network.",
    buckets=_SIZES,
)
VERDICTS = Metric("digitscope_verdicts", "counter", "Digits recognised.", ("model", "verdict"))
CONFIDENCE = Metric(
    "digitscope_confidence",
    "histogram",
    "Largest probability of each recognised digit, 0 to 1.",
    ("model",),
    _PROBABILITIES,
)
MODEL_VERSION = Metric(
    "digitscope_model_version",
    "gauge",
    "Version of the model that is served, 0 for none; the lowest of all workers.",
    ("model",),
)
MODEL_VERSION_MAX = Metric(
    "digitscope_model_version_max",
    "gauge",
    "The highest version of all workers; if it stays above `digitscope_model_version`, a worker"
    " cannot load the model that others serve.",
    ("model",),
)
LOG_LINES_LOST = Metric(
    "digitscope_log_lines_lost",
    "counter",
    "Log lines that were lost, because nobody read the log or because it could not be written.",
)
IN_FLIGHT = Metric(
    "digitscope_requests_in_flight",
    "gauge",
    "Requests that are being answered; with several workers, up to a second old.",
)
QUEUED = Metric(
    "digitscope_queued",
    "gauge",
    "Work that waits in a queue; with several workers, up to a second old.",
    ("lane",),
)
METRICS = (
    IN_FLIGHT,
    QUEUED,
    REQUESTS,
    REQUEST_SECONDS,
    REJECTIONS,
    CLOSED_CONNECTIONS,
    QUEUE_SECONDS,
    STAGE_SECONDS,
    BATCH_SIZE,
    VERDICTS,
    CONFIDENCE,
    MODEL_VERSION,
    MODEL_VERSION_MAX,
    LOG_LINES_LOST,
)
LABELS = {
    "route": Label(
        "Path of the route, such as `/predict`, or of the gRPC method, such as"
        " `/inference.GRPCInferenceService/ModelInfer`; `other` if there is none.",
        {},
    ),
    "method": Label("HTTP method; `gRPC` for messages over gRPC; `other` for unknown ones.", {}),
    "status": Label(
        "HTTP status, also of the same error over gRPC; 499 if the client left before the"
        " response.",
        {},
    ),
    "reason": Label(
        "Why there was no regular response.",
        {
            "busy": "a queue was full (503)",
            "client-gone": "the client left before the response (499)",
            "connections": "too many connections were open (503)",
            "deadline": "the deadline passed (504)",
            "memory": "the body or the response did not fit in the memory budget (503)",
            "slow-body": "the body arrived too slowly (408)",
            "key": "the API key or the admin token was missing or wrong (401)",
            "not-ready": "the model was not loaded, or the service was shutting down (503)",
            "rate-limit": "the client sent more requests than its rate allows (429)",
            "wait": "the expected wait in the queue was too long for the deadline (503)",
        },
    ),
    "lane": Label(
        "The queue.",
        {
            "fast": "predictions that run in threads",
            "slow": "pages and inspections",
            "explanations": "explanations and ablations",
            "quick": "28x28 images for fast networks, in the micro-batcher",
            "parsing": "large bodies that are parsed",
            "reloads": "loading of models",
            "scrapes": "responses of /metrics",
            "corrections": "corrections that are stored or deleted",
        },
    ),
    "stage": Label(
        "The stage.",
        {
            "preparation": "decoding and preparation of the image",
            "inference": "the run of the network",
        },
    ),
    "model": Label("Name of the model.", {}),
    "verdict": Label(
        "The verdict on the image.",
        {
            "digit": "a digit",
            "unsure": "a digit that is not certain",
            "not-a-digit": "something else",
        },
    ),
}


class FastHistogram(Histogram):
    """A histogram that counts faster, without exemplars, and many values in one call."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Count `amount`; the library's own method takes twice as long to find the bucket."""
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Count all `amounts`, as repeated calls of `observe` would."""
        if len(amounts) == 1:
            self.observe(amounts[0])
            return
        self._sum.inc(sum(amounts))
        ordered, start = sorted(amounts), 0
        while start < len(ordered):
            bucket = bisect_left(self._upper_bounds, ordered[start])
            stop = bisect_right(ordered, self._upper_bounds[bucket])
            self._buckets[bucket].inc(stop - start)
            start = stop


class Metrics:
    """The metrics of one application in one process.

    Attributes:
        in_flight: Requests that are being answered; changed on the event loop.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.in_flight = 0
        self._queues: dict[Lane, Callable[[], int]] = {}
        folder = os.environ.get(SHARED_FOLDER)
        self._shared = SharedMetrics(Path(folder)) if folder else None
        self._is_shared = True  # whether the last response had the metrics of all workers
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._in_flight = self._gauge(IN_FLIGHT, "livesum")
        self._queued = self._gauge(QUEUED, "livesum")
        requests, request_seconds = self._counter(REQUESTS), self._histogram(REQUEST_SECONDS)
        self._rejections = self._counter(REJECTIONS)
        self._closed_connections = self._counter(CLOSED_CONNECTIONS)
        self._queue_seconds = self._histogram(QUEUE_SECONDS)
        stage_seconds = self._histogram(STAGE_SECONDS)
        self._batch_size = self._histogram(BATCH_SIZE)
        verdicts, confidence = self._counter(VERDICTS), self._histogram(CONFIDENCE)
        self._model_versions = (
            self._gauge(MODEL_VERSION, "livemin"),
            self._gauge(MODEL_VERSION_MAX, "livemax"),
        )
        self._log_lines_lost = self._counter(LOG_LINES_LOST)
        # Cached, because `labels` takes longer than to count.
        self._request = lru_cache(maxsize=MAX_CACHED_REQUESTS)(
            lambda route, method, status: (
                requests.labels(route, method, status),
                request_seconds.labels(route, status),
            )
        )
        self._verdict = lru_cache(maxsize=MAX_CACHED_VERDICTS)(verdicts.labels)
        self._confidence = lru_cache(maxsize=MAX_CACHED_VERDICTS)(confidence.labels)
        self._preparation = stage_seconds.labels("preparation")
        self._inference = stage_seconds.labels("inference")

    def count_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a response and the seconds that it took."""
        count, duration = self._request(route, method, status)
        count.inc()
        duration.observe(seconds)

    def count_rejection(self, reason: Rejection) -> None:
        """Count a request that was refused, or whose client left."""
        self._rejections.labels(reason).inc()

    def count_closed_connection(self) -> None:
        """Count an idle connection that was closed because there were too many."""
        self._closed_connections.inc()

    def count_lost_log_lines(self, lines: int) -> None:
        """Count log lines that were lost."""
        self._log_lines_lost.inc(lines)

    def wait_observer(self, lane: Lane) -> Callable[[float], None]:
        """Return a function that counts the seconds that one call waited in a queue."""
        return self._queue_seconds.labels(lane).observe

    def waits_observer(self, lane: Lane) -> Callable[[Sequence[float]], None]:
        """Return a function that counts the seconds that each of several calls waited."""
        return self._queue_seconds.labels(lane).observe_all

    def watch_queue(self, lane: Lane, length: Callable[[], int]) -> None:
        """Ask `length` for the number of waiting calls of a queue, whenever gauges are updated."""
        self._queues[lane] = length

    def update_gauges(self) -> None:
        """Set the gauges of requests and queues to what they are now."""
        self._in_flight.set(self.in_flight)
        for lane, length in self._queues.items():
            self._queued.labels(lane).set(length())

    def count_batch(self, images: int) -> None:
        """Count the size of one batch."""
        self._batch_size.observe(images)

    def count_predictions(self, parts: Sequence[BatchResult], model: Model) -> None:
        """Count the images of one request, which were recognised in parts."""
        sizes = [len(part.predictions) for part in parts]
        images = sum(sizes)
        if not images:
            return
        if not model.batches_requests:
            self.count_batch(images)
        confidences: list[float] = []
        verdicts: list[Verdict] = []
        preparation = inference = 0.0
        for part, size in zip(parts, sizes, strict=True):
            confidences += part.predictions.confidences.tolist()
            verdicts += part.predictions.verdicts
            preparation += part.timings.preparation * size
            inference += part.timings.inference * size
        self._preparation.observe(preparation / images)
        self._inference.observe(inference / images)
        self.count_verdicts(verdicts, confidences, model)

    def count_verdicts(
        self, verdicts: Sequence[Verdict], confidences: Sequence[float], model: Model
    ) -> None:
        """Count the verdict and the largest probability of each digit."""
        name = model.bundle.metadata.name
        self._confidence(name).observe_all(confidences)
        for verdict in set(verdicts):
            self._verdict(name, verdict).inc(verdicts.count(verdict))

    def set_model_version(self, name: str, version: int) -> None:
        """Set the version of a model that is served; 0 if requests for it fail."""
        for gauge in self._model_versions:
            gauge.labels(name).set(version)

    def text(self) -> bytes:
        """Return the metrics of all workers in Prometheus's text format.

        If the shared files cannot be used, which is logged, those of this worker.
        """
        self.update_gauges()
        if self._shared is None:
            return generate_latest(self._registry)
        try:
            text = self._shared.text()
        except Exception:  # files of others; a scrape must not fail because of them
            if self._is_shared:
                log.exception("/metrics has the metrics of one worker: the shared files fail")
            self._is_shared = False
            return generate_latest(self._registry)
        if not self._is_shared:
            log.info("/metrics has the metrics of all workers again")
        self._is_shared = True
        return text

    def _gauge(self, metric: Metric, mode: Literal["livemin", "livemax", "livesum"]) -> Gauge:
        return Gauge(
            metric.name,
            metric.meaning,
            metric.labels,
            registry=self._registry,
            multiprocess_mode=mode,
        )

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.meaning, metric.labels, registry=self._registry)

    def _histogram(self, metric: Metric) -> FastHistogram:
        return FastHistogram(
            metric.name,
            metric.meaning,
            metric.labels,
            buckets=metric.buckets,
            registry=self._registry,
        )
