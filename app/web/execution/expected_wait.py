"""How long a call would wait for a thread, from its estimate and earlier calls of its kind.

A pool asks before it queues a call, and refuses one that would end after its deadline: under
overload each thread then works only on calls whose response is still wanted. Knows kinds of work,
threads and seconds; knows nothing of asyncio or HTTP.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

UNMEASURED_S = 0.05  # of a call whose kind has not run yet: a digit takes 1 ms, a photo 150 ms
MIN_TELLING_S = 0.1  # estimate of a call whose duration tells how fast the machine is
NEWEST_WEIGHT = 0.1  # of the newest duration in a moving average; a change shows after 10 calls
# Share of a request's remaining time that wait and work may take. The rest is for durations above
# the average and for a machine that becomes slower while the call waits.
USABLE_TIME = 0.5
MAX_RETRY_S = 60  # longest Retry-After, in seconds


@dataclass(frozen=True)
class Kind:
    """A kind of work whose calls take about the same time.

    Attributes:
        name: The kind of work and the model.
        size_class: Binary logarithm of the size of the input; 0 if the size does not matter.
        estimate_s: Seconds that a call should take on a machine of known speed, from the amount
            of its work; 0 if unknown. All kinds of a name have an estimate, or none has.
    """

    name: str
    size_class: int
    estimate_s: float = field(default=0.0, compare=False)

    @classmethod
    def of(cls, name: str, size: int = 0, estimate_s: float = 0.0) -> "Kind":
        """Return the kind of calls with inputs of about `size` pixels, images or steps."""
        return cls(name, size.bit_length(), estimate_s)

    @property
    def unit_s(self) -> float:
        """Return the unit in which durations of the kind are averaged, in seconds."""
        return self.estimate_s or 1.0


@dataclass
class _Average:
    value: float = 1.0
    count: int = 0

    def add(self, value: float) -> None:
        self.count += 1
        self.value += max(NEWEST_WEIGHT, 1 / self.count) * (value - self.value)


@dataclass
class _Running:
    """A call that runs in a thread; `began` is when its current step began."""

    kind: Kind
    began: float
    has_steps: bool = False


@dataclass
class Workload:
    """The calls that wait for the threads of one pool or run there, and what they will take.

    All methods may be called from any thread; `start`, `end_step` and `end` belong to the thread
    of the call.

    Attributes:
        threads: Number of threads.
        clock: Returns seconds.
    """

    threads: int
    clock: Callable[[], float] = time.monotonic
    _averages: dict[str, dict[int, _Average]] = field(default_factory=dict)  # in `Kind.unit_s`
    _slowness: _Average = field(default_factory=_Average)  # durations in estimates, of all kinds
    _waiting: Counter[Kind] = field(default_factory=Counter)
    _running: dict[int, _Running] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def queue(self, kind: Kind) -> None:
        """Note that a call waits for a thread."""
        with self._lock:
            self._waiting[kind] += 1

    def drop(self, kind: Kind) -> None:
        """Note that a call was dropped from the queue."""
        with self._lock:
            self._take(kind)

    def start(self, kind: Kind) -> None:
        """Note that a call of the queue starts in this thread."""
        with self._lock:
            self._take(kind)
            self._running[threading.get_ident()] = _Running(kind, self.clock())

    def end_step(self, kind: Kind) -> None:
        """Note that the call in this thread has ended one of several steps, of this kind."""
        with self._lock:
            call = self._running[threading.get_ident()]
            self._measure(kind, self.clock() - call.began)
            call.began, call.has_steps = self.clock(), True

    def end(self, *, succeeded: bool) -> None:
        """Note that the call in this thread has ended.

        A call that failed or was cancelled may have skipped most of its work, so its duration
        counts only if it is above the average.
        """
        with self._lock:
            call = self._running.pop(threading.get_ident())
            seconds = self.clock() - call.began
            if not call.has_steps and (succeeded or seconds > self._expected(call.kind)):
                self._measure(call.kind, seconds)

    def expected(self, kind: Kind) -> float:
        """Return the seconds that a call is expected to take in a thread."""
        with self._lock:
            return self._expected(kind)

    def wait(self) -> float:
        """Return the seconds that a new call is expected to wait for a thread."""
        with self._lock:
            if self._waiting.total() + len(self._running) < self.threads:
                return 0.0
            now = self.clock()
            # An overdue call is expected to take as long again as it is overdue.
            running = sum(
                abs(self._expected(call.kind) - (now - call.began))
                for call in self._running.values()
            )
            waiting = sum(count * self._expected(kind) for kind, count in self._waiting.items())
            return (running + waiting) / self.threads

    def has(self, kind: Kind) -> bool:
        """Return whether a call of this kind waits or runs."""
        with self._lock:
            running = any(call.kind == kind for call in self._running.values())
            return running or kind in self._waiting

    def _take(self, kind: Kind) -> None:
        self._waiting[kind] -= 1
        if not self._waiting[kind]:
            del self._waiting[kind]

    def _measure(self, kind: Kind, seconds: float) -> None:
        averages = self._averages.setdefault(kind.name, {})
        averages.setdefault(kind.size_class, _Average()).add(seconds / kind.unit_s)
        if kind.estimate_s >= MIN_TELLING_S:
            self._slowness.add(seconds / kind.estimate_s)

    def _expected(self, kind: Kind) -> float:
        """Return the average of the kind, or of the nearest size that was measured.

        A kind that was never measured takes its estimate, corrected by what other kinds took.
        """
        averages = self._averages.get(kind.name)
        if not averages:
            return max(UNMEASURED_S, kind.estimate_s * self._slowness.value)
        nearest = min(averages, key=lambda size_class: abs(size_class - kind.size_class))
        return averages[nearest].value * kind.unit_s


class RetryTimes:
    """Tells refused clients when to come back: one after the other, as the threads get free.

    If all were told the same time, most would be refused again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without refused clients."""
        self._clock, self._next = clock, 0.0

    def next(self, free_in_s: float, work_s: float) -> int:
        """Return the value of Retry-After for the next refused client.

        Args:
            free_in_s: Seconds until the call would be accepted if no other came.
            work_s: Seconds that the call keeps all threads busy.

        Returns:
            Whole seconds, 1 to `MAX_RETRY_S`.
        """
        now = self._clock()
        soonest = now + free_in_s
        at = max(soonest, self._next)
        if at > now + MAX_RETRY_S:  # more have been refused than fit: begin again
            at = min(soonest, now + MAX_RETRY_S)
        self._next = at + work_s
        return max(1, math.ceil(at - now))
