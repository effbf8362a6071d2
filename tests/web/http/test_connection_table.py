"""Which connections get a place, and which idle one is closed for a new one."""

from collections.abc import Callable

from app.web.http.connection_table import MAX_EXTRA_CONNECTIONS, ConnectionTable, Place

PROXY = "10.0.0.1"


class Closed(list[str]):
    """The names of closed connections, in order."""

    def of(self, name: str) -> Callable[[], None]:
        """Return what closes a connection of a name."""
        return lambda: self.append(name)


def table(total: int, each: int) -> tuple[ConnectionTable, Closed]:
    """Return a table with these limits, and the list of what it closes."""
    is_proxy = PROXY.__eq__
    return (
        ConnectionTable(max_connections=total, max_per_client=each, is_unlimited=is_proxy),
        Closed(),
    )


def test_oldest_idle_connection_is_closed_first() -> None:
    """The oldest idle connection makes room; one with a request in flight stays."""
    places, closed = table(3, 3)
    busy = places.add("a", closed.of("busy"))
    places.start_request(busy)
    for name in ("first", "second", "third", "fourth"):
        assert places.add("a", closed.of(name)).is_within_limits
    assert closed == ["first", "second"]


def test_connection_that_has_served_outlives_unused_ones() -> None:
    """A client that was there before keeps its connection when a crowd comes from its address."""
    places, closed = table(9, 4)
    regular = places.add("a", closed.of("regular"))
    places.start_request(regular)
    places.end_request(regular)
    for number in range(100):
        assert places.add("a", closed.of(str(number))).is_within_limits
    assert closed == [str(number) for number in range(97)]


def test_client_with_most_connections_makes_room() -> None:
    """When the total is full, the largest client loses an idle connection, not the oldest one."""
    places, closed = table(6, 5)
    places.add("quiet", closed.of("quiet"))
    for number in range(5):
        places.add("crowd", closed.of(f"crowd {number}"))
    for number in range(3):
        assert places.add(f"new {number}", closed.of("new")).is_within_limits
    assert closed == ["crowd 0", "crowd 1", "crowd 2"]


def test_addresses_of_one_ipv6_network_share_a_limit() -> None:
    """A client cannot evade its limit with the addresses of its own network."""
    places, closed = table(9, 2)
    for number in range(4):
        places.add(f"2001:db8::{number}", closed.of(str(number)))
    assert closed == ["0", "1"]


def test_proxies_and_local_sockets_have_no_limit_of_their_own() -> None:
    """A proxy may fill the table, and loses a connection only if no client has an idle one."""
    places, closed = table(8, 1)
    for number in range(4):
        places.add(PROXY, closed.of(f"proxy {number}"))
        places.add("", closed.of(f"socket {number}"))
    assert not closed
    client = places.add("a", closed.of("client"))
    assert len(closed) == 1
    places.add(PROXY, closed.of("proxy"))
    assert closed[1:] == ["client"]
    assert not client.is_within_limits


def test_new_connection_waits_beyond_the_limits_if_none_is_idle() -> None:
    """Without an idle connection the new one is outside; it gets in when a place is free."""
    places, closed = table(2, 2)
    busy = [places.add("a", closed.of("busy")) for _ in range(2)]
    for place in busy:
        places.start_request(place)
    extra = places.add("a", closed.of("extra"))
    assert not extra.is_within_limits
    assert not places.admit(extra)
    places.remove(busy[0])
    assert places.admit(extra)
    assert places.admit(extra)
    places.remove(extra)
    assert places.add("b", closed.of("other")).is_within_limits
    assert not closed


def test_connections_beyond_the_limits_are_few() -> None:
    """The oldest idle connection beyond the limits is closed; the newest may be a probe."""
    places, closed = table(1, 1)
    places.start_request(places.add("a", closed.of("busy")))
    extra = [places.add("a", closed.of(str(n))) for n in range(MAX_EXTRA_CONNECTIONS + 2)]
    assert closed == ["0", "1"]
    assert not any(place.is_within_limits for place in extra)


def test_everything_is_forgotten_in_the_end() -> None:
    """Connections that close in any state leave no trace; closing twice does no harm."""
    places, closed = table(4, 2)
    kept: list[Place] = []
    for number in range(50):
        place = places.add(f"client {number % 3}", closed.of("x"))
        if number % 2:
            places.start_request(place)
        if number % 4 == 1:
            places.end_request(place)
        kept.append(place)
    for place in kept * 2:
        places.remove(place)
    assert not places._clients
    assert not places._extra
    assert places._count == 0
