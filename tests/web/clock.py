"""Time that passes only when a test says so, so that no test depends on the machine's speed."""

import asyncio
import selectors
from typing import Any


class Clock:
    """A clock that a test moves; threads may read it."""

    def __init__(self) -> None:
        """Start at a time above 0."""
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


class ClockedLoop(asyncio.SelectorEventLoop):
    """An event loop that jumps to its next timer where another would wait; for work on the loop.

    Attributes:
        clock: The time of the loop.
    """

    def __init__(self) -> None:
        """Start the clock."""
        self.clock = Clock()
        super().__init__(_JumpingSelector(self.clock))

    def time(self) -> float:
        """Return the time in seconds."""
        return self.clock()


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        if timeout is None:
            return super().select()
        ready = super().select(0)
        if not ready:
            self._clock.now += timeout
        return ready
