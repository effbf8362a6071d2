"""Malformed bodies on every route: each gets its status, and nothing is left behind."""

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
REPETITIONS = 8  # of all requests between two measurements of memory
LIMIT = 20 * 1024 * 1024
MAX_REFUSAL_BYTES = 20_000  # a refusal may quote a head, but not a body
MAX_PEAK_MB = 500  # for any body within the limit


def _wrong(server: Server, bent: Bent) -> Iterator[str]:
    replies = exchange(server.port, bent.content)
    if [reply.status for reply in replies] != [bent.status]:
        yield f"{bent.name}: not {bent.status}, but {replies}"
        return
    (reply,) = replies
    if reply.status == 200:
        return
    if len(reply.content) > MAX_REFUSAL_BYTES:
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
def test_malformed_bodies_get_their_status(
    server: Server, kind: Callable[[], Iterator[Bent]]
) -> None:
    """Each body gets the status and the form of error that the contract states."""
    wrong = [message for bent in kind() for message in _wrong(server, bent)]
    assert not wrong, "\n".join(wrong)
    assert _is_well(server)


def test_invalid_http_closes_the_connection(server: Server) -> None:
    """Invalid HTTP gets one refusal and ends the connection: no smuggled request is answered."""
    for bent in bodies.no_http():
        (reply,) = exchange(server.port, bent.content)
        assert reply.status == 400, bent.name
        assert reply.headers["content-type"] == "application/problem+json"
        assert json.loads(reply.content)["status"] == 400
        assert reply.headers["x-frame-options"] == "DENY"
    assert _is_well(server)


def test_pipelined_heads_are_separate(server: Server) -> None:
    """Many pipelined requests are answered, though together they exceed the limit of one head.

    tests/server/test_clients.py tests heads that are too long or late.
    """
    last = request("/version", b"", f"X-A: {'a' * 60_000}", method="GET")
    kept = last.replace(b"Connection: close\r\n", b"")
    assert [one.status for one in exchange(server.port, kept * 5 + last)] == [200] * 6


def test_extra_bytes_are_the_next_request(server: Server) -> None:
    """Bytes after a body's length are the next request: answered if valid, refused if not."""
    good = request("/predict", SEVEN).replace(b"Connection: close\r\n", b"")
    last = request("/version", method="GET")
    assert [one.status for one in exchange(server.port, good + good + last)] == [200, 200, 200]
    found = [one.status for one in exchange(server.port, good + b"\0" * 9)]
    assert found in ([200, 400], [400])  # the refusal may overtake the answer


def test_body_over_the_limit(server: Server) -> None:
    """A body one byte over the limit gets 413, whole or in chunks; one at the limit is read."""
    for size, status in ((LIMIT, 400), (LIMIT + 1, 413)):
        assert server.ask(body=bytes(size)).status == status
        pieces = (bytes(some) for some in (LIMIT, size - LIMIT) if some)
        assert server.ask(body=pieces).status == status


def test_slow_body_is_read(server: Server) -> None:
    """A body that arrives byte by byte is read if it keeps the deadline."""
    whole = request("/predict", chunked(SEVEN, 7), bodies.CHUNKED)
    pieces = [whole[start : start + 3] for start in range(0, len(whole), 3)]
    assert [one.status for one in exchange(server.port, *pieces)] == [200]


def test_incomplete_body_leaves_nothing_behind(server: Server) -> None:
    """A client that leaves before its body is complete gets no response; nothing is left behind."""
    before = footprint(server)
    for length in range(0, len(SEVEN), 5):
        part = request("/predict", SEVEN[:length], f"Content-Length: {len(SEVEN)}")
        assert exchange(server.port, part, ends=True) == []
    assert _is_well(server)
    assert_is_back_at(before, server)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_malformed_bodies_leave_nothing_behind(server: Server) -> None:
    """After about 1,600 malformed requests memory and descriptors are where they were."""
    every = [bent.content for kind in (*KINDS, bodies.no_http) for bent in kind()]
    for content in every:
        exchange(server.port, content)
    before = footprint(server)
    for content in every * REPETITIONS:
        exchange(server.port, content)
    assert _is_well(server)
    assert_is_back_at(before, server)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("kind", [*KINDS, bodies.crowds], ids=lambda kind: kind.__name__)
def test_malformed_bodies_take_little_memory(
    server: Server, kind: Callable[[], Iterator[Bent]]
) -> None:
    """The peak memory stays low for each kind of malformed body."""
    for bent in kind():
        exchange(server.port, bent.content)
    assert peak_mb(server) < MAX_PEAK_MB


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=150, deadline=None)
@given(value=JSON_VALUES, key=st.sampled_from(["image", "pixels", "inputs", "instances"]))
def test_any_json_is_refused_in_its_form(server: Server, value: object, key: str) -> None:
    """Arbitrary JSON is refused as no image, in the error form of the route."""
    body = json.dumps({key: value}).encode()
    for path, statuses in (("/predict", (400, 422)), (bodies.OIP, (400,)), (bodies.TFS, (400,))):
        answer = server.ask(path, body, Content_Type="application/json")
        assert answer.status in statuses, answer
