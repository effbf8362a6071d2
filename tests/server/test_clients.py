"""Clients that are slow, never stop sending, or come in crowds hold no resources for long."""

import gzip
import http.client
import json
import select
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from app.samples import sample_png
from app.web.http.half_close import PROBE
from tests.malformed.wire import exchange
from tests.server.footprint import peak_mb
from tests.server.process import PATIENCE_S, Server, eventually, serving

PNG = sample_png(3)
LONG_HEAD = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: 1"  # its beginning
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
PREDICT_JSON = HEAD.replace(b"image/png", b"application/json")
CHUNKED = HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked")
LARGE = 4_900_000  # bytes of a body; three of them fill the smallest memory budget
TIMEOUT_S = 2.0  # of the head and of the body, where a test waits for it
EVERYTHING = b"/layers/0/activations?model=classic&layers=all"  # 900 kB
WEIGHTS = "/models/classic/layers/dense/weights"  # 3.3 MB; ten fill half of the smallest budget
MAX_CONNECTIONS = 20
PROXY = "127.0.0.9"


@pytest.fixture(scope="module", autouse=True)
def _no_errors(server: Server) -> Iterator[None]:
    """A client's misbehaviour is no error of the service."""
    before = len(server.log.read_text())
    yield
    assert " ERROR " not in server.log.read_text()[before:]


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with short client timeouts."""
    folder = tmp_path_factory.mktemp("clients")
    with serving(folder, client_timeout_s=TIMEOUT_S, body_timeout_s=TIMEOUT_S) as server:
        yield server
        assert " ERROR " not in server.log.read_text()


def _connect(server: Server) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.settimeout(PATIENCE_S)
    return connection


def _rest(connection: socket.socket) -> bytes:
    """Return everything until the service closes the connection."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass  # the service closed the connection while we were sending
    return received


def _drip(connection: socket.socket, content: bytes) -> None:
    """Send the same bytes again and again, with pauses, until the connection is closed."""
    try:
        while True:
            connection.sendall(content)
            threading.Event().wait(0.05)
    except OSError:
        pass  # the service has closed the connection


def test_connection_without_a_request_is_closed(impatient: Server) -> None:
    """A client that connects and sends nothing is disconnected without a response."""
    with _connect(impatient) as connection:
        assert _rest(connection) == b""


@pytest.mark.parametrize("part", [b"X-Slow: 1\r\n", b"x"], ids=["lines", "letters"])
def test_head_that_never_ends_is_refused(impatient: Server, part: bytes) -> None:
    """A request head that arrives line by line or letter by letter gets 408 in time."""
    with _connect(impatient) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: ")
        dripping = threading.Thread(target=_drip, args=(connection, part))
        dripping.start()
        received = _rest(connection)
        dripping.join()
    assert received.startswith(b"HTTP/1.1 408 ")


def test_malformed_request_is_counted_and_logged(server: Server) -> None:
    """The response to a malformed request has an id, which the log has too."""
    before = server.metric("digitscope_requests_total", route="other", status="400")
    with _connect(server) as connection:
        connection.sendall(b"no HTTP at all\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        request_id = json.loads(response.read())["request_id"]
    assert (response.status, response.headers["x-request-id"]) == (400, request_id)
    eventually(lambda: f"other - 400 request_id={request_id}" in server.log.read_text())
    counted = server.metric("digitscope_requests_total", route="other", status="400")
    assert counted == before + 1


@pytest.mark.parametrize("part", [b"X-Many: 1\r\n", b"x"], ids=["lines", "letters"])
def test_head_that_is_too_large_is_refused(server: Server, part: bytes) -> None:
    """The service reads a request head only up to a limit."""
    with _connect(server) as connection:
        sent = threading.Thread(target=_send_all, args=(connection, LONG_HEAD + part * 200_000))
        sent.start()
        received = _rest(connection)
        sent.join()
    assert received.startswith(b"HTTP/1.1 431 ")


def test_target_that_never_ends_is_refused(server: Server) -> None:
    """A target over the limit is refused before its end has come."""
    with _connect(server) as connection:
        sent = threading.Thread(target=_send_all, args=(connection, b"GET /" + b"a" * 600_000))
        sent.start()
        received = _rest(connection)
        sent.join()
    assert received.startswith(b"HTTP/1.1 414 ")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /version HTTP/1.1\r\n", 400),
        (b"GET /version HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400),
        (b"GET /version HTTP/1.1\r\nhost: a\r\nHOST: b\r\n", 400),
        (b"GET /version HTTP/1.0\r\nHost: a\r\nHost: b\r\n", 400),
        (b"GET /version HTTP/1.0\r\n", 200),
        (b"GET /version HTTP/1.1\r\nHost:\r\n", 200),
        (b"GET /version HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n", 400),
        (b"GET /version?" + b"a" * 16_000 + b" HTTP/1.1\r\nHost: a\r\n", 200),
        (b"GET /version?" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: a\r\n", 414),
    ],
)
def test_host_and_length_of_the_target(server: Server, head: bytes, status: int) -> None:
    """One header Host, and a target of at most 16 KiB; refusals are problem documents."""
    with _connect(server) as connection:
        sent = threading.Thread(target=_send_all, args=(connection, head + b"\r\n"))
        sent.start()
        response = http.client.HTTPResponse(connection)
        response.begin()
        body = json.loads(response.read())
        sent.join()
    assert response.status == status, body
    assert status == 200 or (body["status"], bool(body["request_id"])) == (status, True)


def _send_all(connection: socket.socket, content: bytes) -> None:
    with suppress(OSError):  # the service may refuse before it has everything
        connection.sendall(content)


def test_trailers_that_never_end_are_cut_off(server: Server) -> None:
    """Trailers after the last chunk of a body cannot exceed the limit."""
    with _connect(server) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        )
        with pytest.raises(ConnectionError):
            _send_forever(connection, b"X-Trailer: more and more\r\n" * 1000)


def _send_forever(connection: socket.socket, content: bytes) -> None:
    while True:
        connection.sendall(content)


@pytest.mark.parametrize(
    ("head", "part"),
    [(HEAD % 1_000_000, b"x"), (CHUNKED, b"1\r\nx\r\n"), (PREDICT_JSON % 1_000_000, b"[")],
    ids=["length", "chunks", "JSON"],
)
def test_body_that_never_ends_is_given_up(impatient: Server, head: bytes, part: bytes) -> None:
    """A body that arrives too slowly gets 408, and the connection is closed."""
    with _connect(impatient) as connection:
        connection.sendall(head)
        dripping = threading.Thread(target=_drip, args=(connection, part))
        dripping.start()
        received = _rest(connection)
        dripping.join()
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close\r\n" in received
    assert b"urn:digitscope:problem:slow-body" in received


def test_body_that_stops_is_given_up(impatient: Server) -> None:
    """Half of a form gets 408, also on the route that works while a body arrives."""
    before = impatient.metric("digitscope_rejections_total", reason="slow-body")
    form = b"multipart/form-data; boundary=x"
    paths = (b"/predict", b"/predict/batch", b"/read", b"/v1/models/compact:predict")
    with ExitStack() as clients:
        connections = [clients.enter_context(_connect(impatient)) for _ in paths]
        for connection, path in zip(connections, paths, strict=True):
            head = HEAD.replace(b"/predict", path).replace(b"image/png", form) % 10_000
            connection.sendall(head + b"--x\r\nContent-Disposition: form-data; ")
        for connection, path in zip(connections, paths, strict=True):
            assert _rest(connection).startswith(b"HTTP/1.1 408 "), path
    assert impatient.metric("digitscope_rejections_total", reason="slow-body") == before + 4


def test_slow_body_does_not_use_up_the_deadline(server: Server) -> None:
    """A body that takes longer than the deadline is answered."""
    timeout = b"Host: x\r\nX-Request-Timeout: 1"

    def is_answered() -> bool:
        with _connect(server) as connection:
            connection.sendall(HEAD.replace(b"Host: x", timeout) % len(PNG))
            for start in range(0, len(PNG), len(PNG) // 8 + 1):
                threading.Event().wait(0.16)
                connection.sendall(PNG[start : start + len(PNG) // 8 + 1])
            return connection.recv(65536).startswith(b"HTTP/1.1 200 ")

    # A machine that stands still for a second after the body misses the deadline.
    assert any(is_answered() for _ in range(5))


def test_slow_body_in_time_is_answered(server: Server) -> None:
    """A body that arrives in parts, each in time, is answered."""
    with _connect(server) as connection:
        connection.sendall(HEAD % len(PNG))
        for start in range(0, len(PNG), 100):
            connection.sendall(PNG[start : start + 100])
            threading.Event().wait(0.02)
        assert b'"digit":3' in connection.recv(65536)


def test_client_that_reads_no_response_is_disconnected(impatient: Server) -> None:
    """A client that sends more and more requests and reads no response is disconnected."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", impatient.port))
        connection.sendall((HEAD.replace(b"/predict", EVERYTHING) % len(PNG) + PNG) * 20)
        reset = select.poll()
        reset.register(connection, 0)  # reports a reset, but not a regular end
        eventually(lambda: reset.poll(0))


@pytest.mark.parametrize("path", ["/predict", "/explain?steps=256"])
def test_client_that_sends_no_more_is_answered(server: Server, path: str) -> None:
    """A client may end its sending side after two whole requests; both are answered."""
    request = HEAD.replace(b"/predict", path.encode()) % len(PNG) + PNG
    with _connect(server) as connection:
        connection.sendall(2 * request)
        connection.shutdown(socket.SHUT_WR)
        answers = _rest(connection).replace(PROBE, b"")
    assert answers.count(b"HTTP/1.1 200 OK") == answers.count(b'"digit":3') == 2
    # A quick response may have begun before the end of the client's sending side arrives.
    quick = path == "/predict"
    assert answers.count(b"connection: close") in ({0, 1} if quick else {1})


def test_client_that_sends_no_more_and_leaves_is_dropped(server: Server) -> None:
    """One that leaves after it was asked is noticed: the work for it ends."""
    gone = server.metric("digitscope_rejections_total", reason="client-gone")
    request = HEAD.replace(b"/predict", b"/explain?model=ensemble&steps=256") % len(PNG) + PNG
    with _connect(server) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(len(PROBE)) == PROBE
    eventually(
        lambda: server.metric("digitscope_rejections_total", reason="client-gone") == gone + 1
    )


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    """Thousands of requests sent in one go are all answered, whatever lies between them."""
    digits = (
        HEAD % len(PNG) + PNG,
        b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD % 4 + b"\r\n\r\n",
    )
    last = b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    replies = exchange(server.port, b"".join(digits) * 1000 + last)
    assert [one.status for one in replies] == [200, 200, 400] * 1000 + [200]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_crowd_of_pipelined_requests_takes_little_memory(tmp_path: Path) -> None:
    """A connection holds a few requests and the bytes of one read, however many it has sent."""
    first = b"POST /read HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    with serving(tmp_path) as server, ExitStack() as crowd:
        before = peak_mb(server)
        for _ in range(20):
            connection = crowd.enter_context(_connect(server))
            connection.sendall(first)
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(b"x" + b"GET / HTTP/1.1\r\nHost:\r\n\r\n" * 14_000)
        assert server.ask(body=PNG).json["digit"] == 3
        assert peak_mb(server) - before < 60  # 500 if all are parsed at once


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
WEBSOCKET = (
    b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
)


@pytest.mark.parametrize("wish", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
def test_wish_for_another_protocol_is_ignored(server: Server, wish: bytes) -> None:
    """A request that asks for an upgrade is answered in HTTP/1.1, with its body."""
    whole = HEAD.replace(b"Content-Type", wish + b"Content-Type") % len(PNG) + PNG
    chunks = CHUNKED.replace(b"Content-Type", wish + b"Content-Type")
    chunks += b"%x\r\n%b\r\n0\r\n\r\n" % (len(PNG), PNG)
    last = b"GET /livez HTTP/1.1\r\nHost: x\r\n" + wish.replace(b"Upgrade,", b"close, Upgrade,")
    last = last.replace(b"keep-alive", b"close") + b"\r\n"
    for cut in (1, 200, len(whole) - 1, len(whole)):
        sent = (whole[:cut], whole[cut:], chunks + whole + last)
        *digits, livez = exchange(server.port, *(part for part in sent if part))
        assert [json.loads(one.content)["digit"] for one in digits] == [3, 3, 3]
        assert livez.status == 200


@pytest.mark.parametrize("wish", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
def test_wish_for_another_protocol_hides_nothing(server: Server, wish: bytes) -> None:
    """A request with an upgrade and two lengths is refused, and a head over the limit too."""
    with _connect(server) as connection:
        lengths = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\n" + wish + lengths)
        assert _rest(connection).startswith(b"HTTP/1.1 400 ")
    with _connect(server) as connection:
        sent = threading.Thread(
            target=_send_all, args=(connection, LONG_HEAD + b"x\r\n" + wish * 9999)
        )
        sent.start()
        assert _rest(connection).startswith(b"HTTP/1.1 431 ")
        sent.join()


def test_slow_reader_gets_the_whole_response(server: Server) -> None:
    """A client that reads slowly, but steadily, gets the whole response."""
    whole = server.ask(EVERYTHING.decode(), PNG).content
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(HEAD.replace(b"/predict", EVERYTHING) % len(PNG) + PNG)
        received = b""
        while len(received) < len(whole):
            threading.Event().wait(0.02)
            received += connection.recv(65536)
    assert received.endswith(whole)


def test_bodies_that_do_not_fit_in_memory_are_refused(tmp_path: Path) -> None:
    """Large bodies share a budget: the next one gets 503 until one ends; small ones are served."""
    with serving(tmp_path, memory_budget_mb=64) as server, ExitStack() as crowd:
        for path in (b"/predict", b"/read", b"/v2/models/compact/infer"):
            connection = crowd.enter_context(_connect(server))
            connection.sendall(HEAD.replace(b"/predict", path) % LARGE + bytes(LARGE - 1))
        eventually(lambda: server.ask(body=bytes(LARGE)).status == 503)
        refused = server.ask(body=bytes(LARGE))
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert refused.json["type"] == "urn:digitscope:problem:memory-budget"
        assert server.metric("digitscope_rejections_total", reason="memory") >= 2
        with _connect(server) as connection:  # the refusal reaches a client that still sends
            connection.sendall(HEAD.replace(b"Host: x", b"Host: x\r\nConnection: close") % LARGE)
            connection.sendall(bytes(LARGE))
            assert _rest(connection).startswith(b"HTTP/1.1 503 ")
        bomb = server.ask(
            "/v1/models/compact:predict", gzip.compress(bytes(LARGE)), Content_Encoding="gzip"
        )
        assert (bomb.status, bomb.headers["retry-after"]) == (503, "1")
        assert server.ask(body=PNG).json["digit"] == 3
        crowd.close()
        eventually(lambda: server.ask(body=bytes(LARGE)).status == 400)


def test_responses_that_nobody_reads_share_the_memory(tmp_path: Path) -> None:
    """Large responses count until they are read: the next one gets 503; small ones are sent."""
    with serving(tmp_path, memory_budget_mb=64) as server, ExitStack() as crowd:
        statuses = []
        for _ in range(20):
            connection = crowd.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(f"GET {WEIGHTS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            statuses.append(int(connection.recv(12)[-3:]))
        assert statuses == [200] * 10 + [503] * 10
        refused = server.get(WEIGHTS)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert refused.json["type"] == "urn:digitscope:problem:memory-budget"
        assert server.metric("digitscope_rejections_total", reason="memory") == 11
        assert server.ask(body=PNG).json["digit"] == 3
        crowd.close()
        eventually(lambda: server.get(WEIGHTS).status == 200)


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with few places for connections, behind a proxy at `PROXY`."""
    limits = {
        "max_connections": MAX_CONNECTIONS,
        "max_connections_per_client": MAX_CONNECTIONS // 2,
        "trusted_proxies": PROXY,
    }
    with serving(tmp_path_factory.mktemp("small"), **limits) as server:
        yield server
        assert " ERROR " not in server.log.read_text()


@pytest.fixture
def small(small_server: Server) -> Server:
    """The server with few places, all of them free."""
    _wait_until_free(small_server)
    return small_server


def _wait_until_free(server: Server) -> None:
    """Wait until the only request in flight is the one that asks."""
    eventually(lambda: server.metric("digitscope_requests_in_flight") == 1)


def _connect_from(server: Server, address: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), source_address=(address, 0))
    connection.settimeout(PATIENCE_S)
    return connection


def _ask(connection: socket.socket, path: bytes = b"/predict") -> int:
    """Send a request on an open connection and return the status of the response."""
    connection.sendall(HEAD.replace(b"/predict", path) % len(PNG) + PNG)
    response = http.client.HTTPResponse(connection, method="POST")
    response.begin()
    response.read()
    return response.status


def _probe(connection: socket.socket, path: str) -> int:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def _begin_request(server: Server, address: str) -> socket.socket:
    """Return a connection on which a request is in flight: the service waits for its body."""
    connection = _connect_from(server, address)
    connection.sendall(HEAD.replace(b"x\r", b"x\r\nExpect: 100-continue\r", 1) % len(PNG))
    assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    return connection


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nX-Slow: "], ids=["idle", "head"])
def test_crowd_of_one_address_displaces_nobody(small: Server, sent: bytes) -> None:
    """However many connections one address opens, clients that were there before keep theirs."""
    with ExitStack() as crowd:
        neighbour = crowd.enter_context(_connect(small))
        other = crowd.enter_context(_connect_from(small, "127.0.0.2"))
        assert _ask(neighbour) == _ask(other) == 200
        closed = small.metric("digitscope_closed_connections_total")
        idle = [crowd.enter_context(_connect(small)) for _ in range(3 * MAX_CONNECTIONS)]
        for connection in idle:
            with suppress(ConnectionError):  # closed by now
                connection.sendall(sent)
        assert small.ask(body=PNG).status == 200
        assert _ask(neighbour) == _ask(other) == 200
        assert _rest(idle[0])[:13] in (b"", b"HTTP/1.1 503 ")
        assert small.metric("digitscope_closed_connections_total") >= closed + MAX_CONNECTIONS


def test_crowd_of_many_addresses_leaves_room(small: Server) -> None:
    """When many addresses fill all places, their oldest idle connections make room."""
    with ExitStack() as crowd:
        early = crowd.enter_context(_connect(small))
        for number in range(3 * MAX_CONNECTIONS):
            crowd.enter_context(_connect_from(small, f"127.0.1.{1 + number % 8}"))
        assert _ask(early) == small.ask(body=PNG).status == 200
        assert small.get("/livez").status == small.get("/readyz").status == 200


def test_connections_with_requests_in_flight_are_kept(small: Server) -> None:
    """Without an idle connection, new ones get 503, but probes are answered; nobody is cut off."""
    before = small.metric("digitscope_rejections_total", reason="connections")
    with ExitStack() as crowd:
        busy = [
            crowd.enter_context(_begin_request(small, f"127.0.1.{1 + number % 8}"))
            for number in range(MAX_CONNECTIONS)
        ]
        answer = small.ask(body=PNG)
        assert (answer.status, answer.json["title"]) == (503, "Too busy")
        assert (answer.headers["retry-after"], answer.headers["connection"]) == ("1", "close")
        assert small.get("/v1/models/compact").json.keys() == {"error"}
        with _connect(small) as probe:
            assert [_probe(probe, path) for path in ("/livez", "/readyz") * 2] == [200] * 4
        for connection in busy:
            connection.sendall(PNG)
        for connection in busy:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        eventually(lambda: small.ask(body=PNG).status == 200)
    assert small.metric("digitscope_rejections_total", reason="connections") >= before + 2


def test_only_proxies_may_have_most_connections(small: Server) -> None:
    """A client with requests in flight on all its places gets no further one; a proxy does."""
    with ExitStack() as crowd:
        for address, expected in (("127.0.0.5", 503), (PROXY, 200)):
            for _ in range(MAX_CONNECTIONS // 2):
                crowd.enter_context(_begin_request(small, address))
            with _connect_from(small, address) as connection:
                assert _ask(connection) == expected
            crowd.close()
            _wait_until_free(small)
