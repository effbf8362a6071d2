"""The metrics of the service, in Prometheus's text format.

`metric_definitions` describes all of them. With several worker processes, each writes to files in
`PROMETHEUS_MULTIPROC_DIR` (which `digitscope serve` sets before it starts the workers), and any of
them answers for all.
"""

import logging
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from app.inference.entries import Entry
from app.inference.model import Model
from app.predictions import BatchResult
from app.verdict import Verdict
from app.web.observability.drift_metrics import DriftMetrics
from app.web.observability.instruments import Instruments
from app.web.observability.metric_definitions import (
    BATCH_SIZE,
    CLOSED_CONNECTIONS,
    CONFIDENCE,
    IN_FLIGHT,
    LOG_LINES_LOST,
    MODEL_VERSION,
    MODEL_VERSION_MAX,
    QUEUE_SECONDS,
    QUEUED,
    REJECTIONS,
    REQUEST_SECONDS,
    REQUESTS,
    STAGE_SECONDS,
    VERDICTS,
    Lane,
    Rejection,
)
from app.web.observability.shared_metrics import SHARED_FOLDER, SharedMetrics

log = logging.getLogger(__name__)
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_CACHED_REQUESTS = 512  # combinations of route, method and status
MAX_CACHED_VERDICTS = 64  # combinations of model and verdict


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
        make = Instruments(self._registry)
        self._in_flight = make.gauge(IN_FLIGHT, "livesum")
        self._queued = make.gauge(QUEUED, "livesum")
        requests, request_seconds = make.counter(REQUESTS), make.histogram(REQUEST_SECONDS)
        self._rejections = make.counter(REJECTIONS)
        self._closed_connections = make.counter(CLOSED_CONNECTIONS)
        self._queue_seconds = make.histogram(QUEUE_SECONDS)
        stage_seconds = make.histogram(STAGE_SECONDS)
        self._batch_size = make.histogram(BATCH_SIZE)
        verdicts, confidence = make.counter(VERDICTS), make.histogram(CONFIDENCE)
        self._drift = DriftMetrics(make)
        self._model_versions = (
            make.gauge(MODEL_VERSION, "livemin"),
            make.gauge(MODEL_VERSION_MAX, "livemax"),
        )
        self._log_lines_lost = make.counter(LOG_LINES_LOST)
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
        """Set the gauges of requests and queues to what they are now, and publish the scores."""
        self._drift.publish()
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
        name = model.bundle.metadata.name
        confidences: list[float] = []
        verdicts: list[Verdict] = []
        preparation = inference = 0.0
        for part, size in zip(parts, sizes, strict=True):
            confidences += part.predictions.confidences.tolist()
            verdicts += part.predictions.verdicts
            self._drift.add(name, part.predictions.scores, part.summaries)
            preparation += part.timings.preparation * size
            inference += part.timings.inference * size
        self._preparation.observe(preparation / images)
        self._inference.observe(inference / images)
        self.count_verdicts(verdicts, confidences, model)

    def count_page(self, digits: int) -> None:
        """Count the digits of a page."""
        self._drift.add_page(digits)

    def count_verdicts(
        self, verdicts: Sequence[Verdict], confidences: Sequence[float], model: Model
    ) -> None:
        """Count the verdict and the largest probability of each digit."""
        name = model.bundle.metadata.name
        self._confidence(name).observe_all(confidences)
        for verdict in set(verdicts):
            self._verdict(name, verdict).inc(verdicts.count(verdict))

    def note_model(self, entry: Entry) -> None:
        """Set the version of a model, 0 if requests for it fail; if it is loaded, what it knows."""
        for gauge in self._model_versions:
            gauge.labels(entry.name).set(entry.served_version)
        if entry.model and entry.model.held_out:
            self._drift.set_held_out(entry.model.held_out, entry.model.bundle.metadata)

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
