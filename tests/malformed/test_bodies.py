"""Bad bodies and bent requests to a real server: each gets its status, and nothing is left."""

import json
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.malformed import bodies
from tests.malformed.bodies import SEVEN, Bent
from tests.malformed.wire import chunked, exchange, request
from tests.server.footprint import assert_is_back_at, footprint, peak_mb
from tests.server.process import Server

KINDS = (bodies.json_bodies, bodies.forms, bodies.arrays, bodies.tensors, bodies.heads)
SEVERAL = 8  # times that all is sent before memory is looked at again
LIMIT = 5 * 1024 * 1024
LONGEST_REFUSAL = 20_000  # bytes; as long as a head may be, which the answer names, but no body
MOST_MB = 500  # at its peak, for a body within the limit


def _wrong(server: Server, bent: Bent) -> Iterator[str]:
    replies = exchange(server.port, bent.content)
    if [reply.status for reply in replies] != [bent.status]:
        yield f"{bent.name}: not {bent.status}, but {replies}"
        return
    (reply,) = replies
    if reply.status == 200:
        return
    if len(reply.content) > LONGEST_REFUSAL:
        yield f"{bent.name}: {len(reply.content)} bytes say what is wrong"
    if bent.name.startswith(("tensor", "instances")):
        if list(json.loads(reply.content)) != ["error"]:
            yield f"{bent.name}: {reply}"
    elif (
        reply.headers["content-type"] != "application/problem+json"
        or json.loads(reply.content)["status"] != reply.status
    ):
        yield f"{bent.name}: {reply}"


def _is_well(server: Server) -> bool:
    answer = server.ask(body=SEVEN)
    return answer.status == 200 and answer.json["digit"] == 7


@pytest.mark.parametrize(
    "kind", [*KINDS, bodies.frames, bodies.crowds], ids=lambda kind: kind.__name__
)
def test_each_gets_its_status(server: Server, kind: Callable[[], Iterator[Bent]]) -> None:
    """What the contract says, in the form that it says, and a good request is answered after."""
    wrong = [said for bent in kind() for said in _wrong(server, bent)]
    assert not wrong, "\n".join(wrong)
    assert _is_well(server)


def test_what_is_no_http_is_refused_with_all_that_follows(server: Server) -> None:
    """One refusal, then the connection is closed: nothing smuggled behind it is ever answered."""
    for bent in bodies.no_http():
        (reply,) = exchange(server.port, bent.content)
        assert reply.status == 400, bent.name
        assert reply.headers["content-type"] == "application/problem+json"
        assert json.loads(reply.content)["status"] == 400
        assert reply.headers["x-frame-options"] == "DENY"
    assert _is_well(server)


def test_heads_in_a_row_are_no_long_head(server: Server) -> None:
    """Many requests in one piece are answered, though together they are longer than a head may be.

    What is over the limit, or late, is in tests/server/test_clients.py.
    """
    last = request("/version", b"", f"X-A: {'a' * 60_000}", method="GET")
    kept = last.replace(b"Connection: close\r\n", b"")
    assert [one.status for one in exchange(server.port, kept * 5 + last)] == [200] * 6


def test_extra_bytes_are_no_part_of_the_request(server: Server) -> None:
    """What follows a body's length is the next request: answered if it is one, refused if not."""
    good = request("/predict", SEVEN).replace(b"Connection: close\r\n", b"")
    last = request("/version", method="GET")
    assert [one.status for one in exchange(server.port, good + good + last)] == [200, 200, 200]
    found = [one.status for one in exchange(server.port, good + b"\0" * 9)]
    assert found in ([200, 400], [400])  # the refusal may overtake the answer


def test_body_over_the_limit(server: Server) -> None:
    """One byte more than is read gets 413, in one piece or in chunks; that many are read."""
    for size, status in ((LIMIT, 400), (LIMIT + 1, 413)):
        assert server.ask(body=bytes(size)).status == status
        pieces = (bytes(some) for some in (LIMIT, size - LIMIT) if some)
        assert server.ask(body=pieces).status == status


def test_slow_body_is_read_as_it_comes(server: Server) -> None:
    """A body that comes byte by byte, in packets of its own, is read if it keeps the deadline."""
    whole = request("/predict", chunked(SEVEN, 7), bodies.CHUNKED)
    pieces = [whole[start : start + 3] for start in range(0, len(whole), 3)]
    assert [one.status for one in exchange(server.port, *pieces)] == [200]


def test_client_that_leaves_is_not_waited_for(server: Server) -> None:
    """A client that closes before its body has come gets nothing, and costs nothing."""
    before = footprint(server)
    for length in range(0, len(SEVEN), 5):
        part = request("/predict", SEVEN[:length], f"Content-Length: {len(SEVEN)}")
        assert exchange(server.port, part, ends=True) == []
    assert _is_well(server)
    assert_is_back_at(before, server)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_thousands_leave_nothing_behind(server: Server) -> None:
    """After some 1,600 bad requests memory and descriptors are where they were."""
    every = [bent.content for kind in (*KINDS, bodies.no_http) for bent in kind()]
    for content in every:
        exchange(server.port, content)
    before = footprint(server)
    for content in every * SEVERAL:
        exchange(server.port, content)
    assert _is_well(server)
    assert_is_back_at(before, server)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("kind", [*KINDS, bodies.crowds], ids=lambda kind: kind.__name__)
def test_no_body_takes_much_memory_while_it_is_read(
    server: Server, kind: Callable[[], Iterator[Bent]]
) -> None:
    """Nor do answers grow with what is asked again and again."""
    for bent in kind():
        exchange(server.port, bent.content)
    assert peak_mb(server) < MOST_MB


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=150, deadline=None)
@given(said=JSON_VALUES, key=st.sampled_from(["image", "pixels", "inputs", "instances"]))
def test_any_json_is_refused_in_its_form(server: Server, said: object, key: str) -> None:
    """Whatever JSON comes, the answer is that it is no image, in the form of the route."""
    body = json.dumps({key: said}).encode()
    for path, statuses in (("/predict", (400, 422)), (bodies.OIP, (400,)), (bodies.TFS, (400,))):
        answer = server.ask(path, body, Content_Type="application/json")
        assert answer.status in statuses, answer
