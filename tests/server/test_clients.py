"""Clients that are slow, never stop sending, or come in crowds hold no resources for long."""

import gzip
import http.client
import json
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from app.samples import sample_png
from tests.server.process import PATIENCE_S, Server, eventually, serving

PNG = sample_png(3)
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
PREDICT_JSON = HEAD.replace(b"image/png", b"application/json")
CHUNKED = HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked")
LARGE = 4_900_000  # bytes of a body; three of them fill the smallest memory budget
BODY_TIMEOUT_S = 2.0
EVERYTHING = b"/layers/0/activations?model=classic&layers=all"  # 400 kB
MAX_CONNECTIONS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with short client timeouts."""
    folder = tmp_path_factory.mktemp("clients")
    limits = {"client_timeout_s": 0.5, "body_timeout_s": BODY_TIMEOUT_S, "deadline_s": PATIENCE_S}
    with serving(folder, **limits) as server:
        yield server
        # A client's misbehaviour is no error of the service.
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


def test_connection_without_a_request_is_closed(server: Server) -> None:
    """A client that connects and sends nothing is disconnected without a response."""
    with _connect(server) as connection:
        assert _rest(connection) == b""


@pytest.mark.parametrize("part", [b"X-Slow: 1\r\n", b"x"], ids=["lines", "letters"])
def test_head_that_never_ends_is_refused(server: Server, part: bytes) -> None:
    """A request head that arrives line by line or letter by letter gets 408 in time."""
    with _connect(server) as connection:
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
        sent = threading.Thread(target=_send_all, args=(connection, part * 200_000))
        sent.start()
        received = _rest(connection)
        sent.join()
    assert received.startswith(b"HTTP/1.1 431 ")


def _send_all(connection: socket.socket, content: bytes) -> None:
    with suppress(OSError):  # the service may refuse before it has everything
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: 1" + content)


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
def test_body_that_never_ends_is_given_up(server: Server, head: bytes, part: bytes) -> None:
    """A body that arrives too slowly gets 408, and the connection is closed."""
    with _connect(server) as connection:
        connection.sendall(head)
        dripping = threading.Thread(target=_drip, args=(connection, part))
        dripping.start()
        received = _rest(connection)
        dripping.join()
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close\r\n" in received
    assert b"urn:digitscope:problem:slow-body" in received


def test_body_that_stops_is_given_up(server: Server) -> None:
    """Half of a form gets 408, also on the route that works while a body arrives."""
    before = server.metric("digitscope_rejections_total", reason="slow-body")
    form = b"multipart/form-data; boundary=x"
    for path in (b"/predict", b"/predict/batch", b"/read", b"/v1/models/compact:predict"):
        with _connect(server) as connection:
            head = HEAD.replace(b"/predict", path).replace(b"image/png", form) % 10_000
            connection.sendall(head + b"--x\r\nContent-Disposition: form-data; ")
            assert _rest(connection).startswith(b"HTTP/1.1 408 "), path
    assert server.metric("digitscope_rejections_total", reason="slow-body") == before + 4


def test_slow_body_does_not_use_up_the_deadline(server: Server) -> None:
    """A body that takes longer than the deadline is answered."""
    with _connect(server) as connection:
        timeout = b"Host: x\r\nX-Request-Timeout: 1"
        connection.sendall(HEAD.replace(b"Host: x", timeout) % len(PNG))
        for start in range(0, len(PNG), len(PNG) // 8 + 1):
            threading.Event().wait(0.16)
            connection.sendall(PNG[start : start + len(PNG) // 8 + 1])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_slow_body_in_time_is_answered(server: Server) -> None:
    """A body that arrives in parts, each in time, is answered."""
    with _connect(server) as connection:
        connection.sendall(HEAD % len(PNG))
        for start in range(0, len(PNG), 100):
            connection.sendall(PNG[start : start + 100])
            threading.Event().wait(0.02)
        assert b'"digit":3' in connection.recv(65536)


def test_client_that_reads_no_response_is_disconnected(server: Server) -> None:
    """A client that sends more and more requests and reads no response is disconnected."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall((HEAD.replace(b"/predict", EVERYTHING) % len(PNG) + PNG) * 20)
        reset = select.poll()
        reset.register(connection, 0)  # reports a reset, but not a regular end
        eventually(lambda: reset.poll(0))


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


def test_too_many_connections_are_refused(tmp_path: Path) -> None:
    """Above the connection limit requests get 503, probes are answered, and later all is well."""
    with serving(tmp_path, max_connections=MAX_CONNECTIONS) as server, ExitStack() as crowd:
        for _ in range(MAX_CONNECTIONS):
            crowd.enter_context(_connect(server))
        refused = server.ask(body=PNG)
        assert (refused.status, refused.json["title"]) == (503, "Too busy")
        assert (refused.headers["retry-after"], refused.headers["connection"]) == ("1", "close")
        assert server.get("/v1/models/compact").json.keys() == {"error"}
        assert server.get("/livez").status == server.get("/readyz").status == 200
        crowd.close()
        eventually(lambda: server.ask(body=PNG).status == 200)


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
            connection.sendall(HEAD.replace(b"Host: x", b"Connection: close") % LARGE)
            connection.sendall(bytes(LARGE))
            assert _rest(connection).startswith(b"HTTP/1.1 503 ")
        bomb = server.ask(
            "/v1/models/compact:predict", gzip.compress(bytes(LARGE)), Content_Encoding="gzip"
        )
        assert (bomb.status, bomb.headers["retry-after"]) == (503, "1")
        assert server.ask(body=PNG).json["digit"] == 3
        crowd.close()
        eventually(lambda: server.ask(body=bytes(LARGE)).status == 400)
