"""The open connections of a process: how many of each client, and which to close when too many.

Knows which connections are idle; knows nothing of HTTP. A connection is idle unless a request is
being answered on it, so a request whose head arrives byte by byte keeps it idle.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from app.web.http.client_address import client_group

# Connections beyond the limits that are kept for a moment: their requests are refused, and probes
# are answered. The oldest is closed for the next.
MAX_EXTRA_CONNECTIONS = 64


@dataclass(eq=False)
class Place:
    """One connection in the table.

    Attributes:
        client: Name of the client (`client_address.client_group`).
        is_limited: Whether the client may have only a number of connections.
        close: Closes the connection; called only while it is idle.
        is_within_limits: Whether the connection counts towards the limits; requests on others are
            refused.
        is_idle: Whether no request is being answered on it.
        has_served: Whether a request has been answered on it.
    """

    client: str
    is_limited: bool
    close: Callable[[], None]
    is_within_limits: bool = False
    is_idle: bool = True
    has_served: bool = False


@dataclass
class _Client:
    """The connections of one client that are within the limits; the idle ones, oldest first."""

    is_limited: bool
    count: int = 0
    unused: dict[Place, None] = field(default_factory=dict)  # no request yet
    used: dict[Place, None] = field(default_factory=dict)  # kept alive after a response

    def idle(self, place: Place) -> dict[Place, None]:
        return self.used if place.has_served else self.unused

    def oldest_idle(self) -> Place | None:
        """Return the connection to close first: one without any request, or else the oldest."""
        return next(iter(self.unused or self.used), None)


class ConnectionTable:
    """Gives each new connection a place within the limits, and closes idle ones to make room.

    All methods are called on the event loop.
    """

    def __init__(
        self,
        *,
        max_connections: int,
        max_per_client: int,
        is_unlimited: Callable[[str], bool] = lambda address: False,
        on_closed: Callable[[], None] = lambda: None,
    ) -> None:
        """Start without connections.

        Args:
            max_connections: Connections of all clients together.
            max_per_client: Connections of one client.
            is_unlimited: Tells whether an address has no limit of its own, such as that of a
                reverse proxy.
            on_closed: Called after an idle connection was closed to make room.
        """
        self._max_connections, self._max_per_client = max_connections, max_per_client
        self._is_unlimited, self._on_closed = is_unlimited, on_closed
        self._clients: dict[str, _Client] = {}
        self._count = 0
        self._extra: dict[Place, None] = {}

    def add(self, address: str, close: Callable[[], None]) -> Place:
        """Return the place of a new connection, beyond the limits if there is no room.

        Args:
            address: Address of the client; empty for a local socket, which has no limit.
            close: Closes the connection.
        """
        is_limited = bool(address) and not self._is_unlimited(address)
        place = Place(client_group(address) if is_limited else address, is_limited, close)
        if not self.admit(place):
            self._extra[place] = None
            if len(self._extra) > MAX_EXTRA_CONNECTIONS:
                self._close(next((each for each in self._extra if each.is_idle), None))
        return place

    def admit(self, place: Place) -> bool:
        """Return whether a connection is within the limits, now that others may have closed."""
        if not place.is_within_limits and self._make_room(place):
            self._extra.pop(place, None)
            place.is_within_limits = True
            client = self._clients.setdefault(place.client, _Client(place.is_limited))
            client.count += 1
            self._count += 1
            if place.is_idle:
                client.idle(place)[place] = None
        return place.is_within_limits

    def start_request(self, place: Place) -> None:
        """Note that a request is being answered on a connection."""
        if place.is_idle and place.is_within_limits:
            del self._clients[place.client].idle(place)[place]
        place.is_idle = False

    def end_request(self, place: Place) -> None:
        """Note that the connection is idle again."""
        place.is_idle = place.has_served = True
        if place.is_within_limits:
            self._clients[place.client].used[place] = None

    def remove(self, place: Place) -> None:
        """Note that a connection is closed; does nothing if that is known."""
        self._extra.pop(place, None)
        if not place.is_within_limits:
            return
        place.is_within_limits = False
        client = self._clients[place.client]
        client.idle(place).pop(place, None)
        client.count -= 1
        self._count -= 1
        if not client.count:
            del self._clients[place.client]

    def _make_room(self, place: Place) -> bool:
        """Return whether one more connection fits; close an idle one for it if needed.

        A client that is over its own limit loses one of its own. If there are too many in all, the
        client with the most connections loses one, so that a crowd does not displace others.
        """
        client = self._clients.get(place.client)
        if client and client.is_limited and client.count >= self._max_per_client:
            return self._close(client.oldest_idle())
        if self._count < self._max_connections:
            return True
        with_idle = (each for each in self._clients.values() if each.oldest_idle())
        largest = max(with_idle, key=lambda each: (each.is_limited, each.count), default=None)
        return self._close(largest.oldest_idle() if largest else None)

    def _close(self, place: Place | None) -> bool:
        if place is None:
            return False
        self.remove(place)
        place.close()
        self._on_closed()
        return True
