"""SIGTERM at every stage: begun requests are finished, and nothing keeps the process alive."""

import http.client
import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from app.samples import sample_png
from tests.server.process import PATIENCE_S, Server, eventually, metric, serving
from tests.server.test_life_cycle import TOKEN

PNG = sample_png(6)
HEAD = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
SLOW = "/explain?method=integrated-gradients&steps=256"
EVERYTHING = b"/layers/0/activations?model=classic&layers=all"  # 400 kB


def _connect(server: Server, content: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.settimeout(PATIENCE_S)
    connection.sendall(content)
    return connection


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


def test_stop_while_loading(tmp_path: Path) -> None:
    """A process that is still loading ends on SIGTERM, without a traceback."""
    for line in ("", "Started server process"):
        server = Server(tmp_path / "server.log")
        eventually(lambda line=line, server=server: line in server.log.read_text())
        assert server.stop() == -signal.SIGTERM
        assert "Traceback" not in server.log.read_text()


def test_begun_requests_are_answered(tmp_path: Path) -> None:
    """SIGTERM closes idle connections, and finishes every request that has begun.

    At that moment requests are at work, in the queue, half sent, half read or reloading a model.
    """
    limits = {"drain_delay_s": 600, "grace_s": PATIENCE_S, "admin_token": TOKEN}
    with serving(tmp_path, **limits) as server, ExitStack() as stack:
        whole = server.ask(EVERYTHING.decode(), PNG).content
        kept = stack.enter_context(_connect(server, HEAD % (b"/predict", len(PNG)) + PNG))
        assert _answer(kept)[0] == 200
        half_head = stack.enter_context(_connect(server, b"POST /predict HTTP/1.1\r\nHost:"))
        half_body = stack.enter_context(
            _connect(server, HEAD % (b"/predict", len(PNG)) + PNG[:100])
        )
        half_read = stack.enter_context(_connect(server, HEAD % (EVERYTHING, len(PNG)) + PNG))
        first_byte = half_read.recv(1)
        pool = stack.enter_context(ThreadPoolExecutor(5))
        slow = [pool.submit(server.ask, SLOW, PNG) for _ in range(4)]
        reload = pool.submit(server.ask, "/models/compact/reload", Authorization=f"Bearer {TOKEN}")
        eventually(lambda: _calls(server, "explanations") >= 4 and _calls(server, "reloads") >= 1)
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: server.get("/readyz").status == 503)
        server.process.send_signal(signal.SIGTERM)  # ends the drain
        assert (kept.recv(1), half_head.recv(1)) == (b"", b"")
        # From now on the server accepts no connections.
        eventually(lambda: server.get("/livez").status == 0)
        half_body.sendall(PNG[100:])
        status, content = _answer(half_body)
        assert (status, json.loads(content)["digit"]) == (200, 6)
        assert (first_byte + _rest(half_read)).endswith(whole)
        assert [asked.result().status for asked in slow] == [200] * 4
        assert reload.result().status == 200
        assert server.process.wait(PATIENCE_S) == -signal.SIGTERM
    assert " ERROR " not in server.log.read_text()


def _calls(server: Server, lane: str) -> float:
    """Return how many calls have been queued for the threads of a pool, those that ran included."""
    text = server.metrics()
    began = metric(text, "digitscope_queue_seconds_count", lane=lane)
    return began + metric(text, "digitscope_queued", lane=lane)


def _rest(connection: socket.socket) -> bytes:
    received = b""
    while part := connection.recv(65536):
        received += part
    return received


def test_requests_end_with_the_grace_period(tmp_path: Path) -> None:
    """A client that never ends its body delays the stop by the grace period, and no longer."""
    with (
        serving(tmp_path, drain_delay_s=0, grace_s=1) as server,
        _connect(server, HEAD % (b"/predict", 1000) + PNG[:100]),
    ):
        assert server.stop() == -signal.SIGTERM


def test_aborted_requests_get_503(tmp_path: Path) -> None:
    """Work that a thread has not finished after the grace period gets 503; the process ends."""
    settings = {"drain_delay_s": 0, "grace_s": 1, "deadline_s": 3600, "default_model": "ensemble"}
    with serving(tmp_path, **settings) as server, ThreadPoolExecutor(8) as pool:
        slow = [pool.submit(server.ask, SLOW, PNG) for _ in range(8)]  # some seconds in one thread
        eventually(lambda: _calls(server, "explanations") >= 8)
        assert server.stop() == -signal.SIGTERM
        answers = [asked.result() for asked in slow]
        assert {answer.status for answer in answers} <= {200, 503}
        refused = next(answer for answer in answers if answer.status == 503)
        assert refused.json["title"] == "Not ready"
        assert refused.headers["retry-after"] == "1"
    assert "Traceback" not in server.log.read_text()


def test_second_signal_shortens_the_drain(tmp_path: Path) -> None:
    """Another SIGTERM ends the drain."""
    with serving(tmp_path, drain_delay_s=600) as server:
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: server.get("/readyz").status == 503)
        assert server.stop() == -signal.SIGTERM


def test_workers_stop_like_a_single_process(tmp_path: Path) -> None:
    """There is one drain, however SIGTERM arrives; after it no worker accepts connections.

    If the whole process group gets SIGTERM, workers get it twice: directly and from their
    supervisor. A second SIGTERM to the supervisor ends the drain.
    """
    limits = {"drain_delay_s": 600, "grace_s": PATIENCE_S}
    with serving(tmp_path, workers=2, **limits) as server, ExitStack() as stack:
        server.wait_for_starts(2)
        half_body = stack.enter_context(
            _connect(server, HEAD % (b"/predict", len(PNG)) + PNG[:100])
        )
        for process in (*server.workers(), server.process.pid):
            os.kill(process, signal.SIGTERM)
        eventually(lambda: server.log.read_text().count("Terminated child process") == 2)
        assert {server.get("/readyz").status for _ in range(200)} == {503}
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: "ConnectionRefused" in server.get("/livez").error)
        half_body.sendall(PNG[100:])
        status, content = _answer(half_body)
        assert (status, json.loads(content)["digit"]) == (200, 6)
        assert server.process.wait(PATIENCE_S) == 0
    assert "Traceback" not in server.log.read_text()
