"""Limits the messages that arrive at the same time.

gRPC shows a message only when it is complete, so the memory budget cannot count it while it
arrives, and nothing tells a slow message from one that never comes. Knows clients and seconds;
knows nothing of gRPC.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

FREE_S = 5.0  # seconds for which a message may arrive although others wait for its place
POLL_S = 0.5  # seconds between two looks at those that take longer


@dataclass(eq=False)
class _Arrival:
    client: str
    give_up: Callable[[], None]
    admitted: asyncio.Future[None]
    since: float = 0.0


class ArrivalGate:
    """A number of places for messages that arrive; others wait for a place, the oldest first.

    One client has at most half of the places. A message that takes longer than `FREE_S` loses its
    place to another one that waits for it.
    """

    def __init__(self, places: int) -> None:
        """Admit `places` messages at a time."""
        self._places, self._per_client = places, (places + 1) // 2
        self._waiting: dict[_Arrival, None] = {}
        self._arriving: dict[_Arrival, None] = {}
        self._counts: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def place(self, client: str, give_up: Callable[[], None]) -> AsyncIterator[None]:
        """Hold a place for a message of a client.

        Args:
            client: Name of the client.
            give_up: Called if the message takes too long while others wait.
        """
        arrival = _Arrival(client, give_up, asyncio.get_running_loop().create_future())
        self._waiting[arrival] = None
        self._admit()
        try:
            await arrival.admitted
            yield
        finally:
            self._leave(arrival)

    def _admit(self) -> None:
        """Give the free places to those that wait."""
        for arrival in list(self._waiting):
            if len(self._arriving) >= self._places:
                break
            if self._counts[arrival.client] < self._per_client:
                del self._waiting[arrival]
                self._arriving[arrival] = None
                self._counts[arrival.client] += 1
                arrival.since = time.monotonic()
                if not arrival.admitted.done():
                    arrival.admitted.set_result(None)
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(POLL_S, self._end_slow)

    def _leave(self, arrival: _Arrival) -> None:
        self._waiting.pop(arrival, None)
        if arrival in self._arriving:
            del self._arriving[arrival]
            self._counts[arrival.client] -= 1
            if not self._counts[arrival.client]:
                del self._counts[arrival.client]
            self._admit()

    def _end_slow(self) -> None:
        """End the messages that take too long and whose places others wait for."""
        self._timer = None
        before = time.monotonic() - FREE_S
        for arrival in list(self._arriving):
            if arrival.since < before and self._delays_others(arrival):
                arrival.since = float("inf")  # told once
                arrival.give_up()
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(POLL_S, self._end_slow)

    def _delays_others(self, arrival: _Arrival) -> bool:
        is_full = len(self._arriving) >= self._places
        return any(
            other.client == arrival.client
            or (is_full and self._counts[other.client] < self._per_client)
            for other in self._waiting
        )
