"""Clients that are slow, never stop sending, or come in crowds hold no resources for long."""

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
SOON = HEAD.replace(b"Host: x", b"Host: x\r\nX-Request-Timeout: 0.5")
EVERYTHING = b"/layers/0/activations?model=classic&layers=all"  # 400 kB
MAX_CONNECTIONS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with short client timeouts."""
    folder = tmp_path_factory.mktemp("clients")
    limits = {"client_timeout_s": 0.5, "deadline_s": PATIENCE_S}
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


def test_body_that_never_ends_gets_its_deadline(server: Server) -> None:
    """A slow body gets 504; a client that goes on sending is disconnected."""
    with _connect(server) as connection:
        connection.sendall(SOON % 1_000_000)
        dripping = threading.Thread(target=_drip, args=(connection, b"x"))
        dripping.start()
        received = _rest(connection)
        dripping.join()
    assert received.startswith(b"HTTP/1.1 504 ")
    assert b"deadline-passed" in received


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
