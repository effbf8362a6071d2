"""One budget for the memory that requests hold: bodies, large responses, decoded pixels, work.

Knows bytes and threads; knows nothing of requests. The budget counts what callers say that they
hold; it allocates nothing.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from app.cancellation import check_cancelled
from app.errors import MemoryBudgetError

POLL_S = 0.05  # seconds between two looks at cancellation while a thread waits


def unlimited(size: int) -> AbstractContextManager[None]:
    """Hold any number of bytes: the memory of a command line needs no budget."""
    return nullcontext()


class MemoryBudget:
    """A number of bytes that requests share: half for bodies and responses, half for work.

    The halves are apart because work waits for memory while it holds its body: it would wait for
    ever for bodies whose own work waits. All methods may be called from any thread.

    Attributes:
        share: Bytes of each half.
    """

    def __init__(self, limit: int) -> None:
        """Share `limit` bytes."""
        self.share = limit // 2
        self._bodies = self._work = 0
        self._changed = threading.Condition()

    @property
    def used(self) -> int:
        """Return the bytes that are held at present."""
        return self._bodies + self._work

    def hold_body(self, size: int, *, expected: int = 0) -> None:
        """Count `size` bytes of a body; never waits, so the event loop may call it.

        Args:
            size: The bytes to count.
            expected: Bytes that will be counted soon, these included; 0 if unknown.

        Raises:
            MemoryBudgetError: They do not fit at present.
        """
        with self._changed:
            if self._bodies + max(size, expected) > self.share:
                raise MemoryBudgetError(
                    f"The service holds {self._bodies >> 20} MiB of bodies, of at most"
                    f" {self.share >> 20} MiB; try again in a second."
                )
            self._bodies += size

    def release_body(self, size: int) -> None:
        """Give back `size` bytes that `hold_body` has counted."""
        with self._changed:
            self._bodies -= size

    @contextmanager
    def working(self, size: int) -> Iterator[None]:
        """Wait in this thread until `size` bytes of working memory fit, and hold them.

        A size above the share counts as the share, so that one request alone always runs.

        Raises:
            WorkCancelled: The client has gone, or its deadline has passed.
        """
        size = min(size, self.share)
        with self._changed:
            while self._work + size > self.share:
                self._changed.wait(POLL_S)
                check_cancelled()
            self._work += size
        try:
            yield
        finally:
            with self._changed:
                self._work -= size
                self._changed.notify_all()


class BodyHold:
    """The bytes that one request holds for its body and response; belongs to one thread."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: MemoryBudget) -> None:
        """Hold nothing yet."""
        self._budget, self._size = budget, 0

    def grow(self, size: int, *, expected: int = 0) -> None:
        """Hold `size` bytes in all, or keep what is held if that is more.

        A size above the share counts as the share, so that one body alone is always accepted.

        Args:
            size: The bytes to hold.
            expected: Bytes to which the hold will grow, as far as known.

        Raises:
            MemoryBudgetError: They do not fit at present.
        """
        more = min(size, self._budget.share) - self._size
        if more > 0:
            expected = min(expected, self._budget.share) - self._size
            self._budget.hold_body(more, expected=expected)
            self._size += more

    def add(self, size: int) -> None:
        """Hold `size` bytes more.

        Raises:
            MemoryBudgetError: They do not fit at present.
        """
        self.grow(self._size + size)

    def release(self) -> None:
        """Give all bytes back."""
        if self._size:
            self._budget.release_body(self._size)
            self._size = 0
