"""Makes the counters, gauges and histograms of metrics that are defined."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.web.observability.metric_definitions import Metric


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

    def add(self, counts: Sequence[float], total: float) -> None:
        """Add values that are counted already.

        Args:
            counts: How many values are in each bucket, the one up to infinity included.
            total: Sum of the values.
        """
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class Instruments:
    """Makes the instruments of one registry, in the order in which they are exported."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Add them to `registry`."""
        self._registry = registry

    def gauge(self, metric: Metric, mode: Literal["livemin", "livemax", "livesum"]) -> Gauge:
        """Return a gauge; `mode` says what several workers show together."""
        return Gauge(
            metric.name,
            metric.meaning,
            metric.labels,
            registry=self._registry,
            multiprocess_mode=mode,
        )

    def counter(self, metric: Metric) -> Counter:
        """Return a counter."""
        return Counter(metric.name, metric.meaning, metric.labels, registry=self._registry)

    def histogram(self, metric: Metric) -> FastHistogram:
        """Return a histogram."""
        return FastHistogram(
            metric.name,
            metric.meaning,
            metric.labels,
            buckets=metric.buckets,
            registry=self._registry,
        )
