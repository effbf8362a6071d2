"""Under overload, requests are refused at once or answered rightly."""

import http.client
import json
import math
import socket
import statistics
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from app.samples import sample_pixels, sample_png
from benchmarks.overload import make_photo
from tests.forms import npy
from tests.server.process import PATIENCE_S, Answer, Load, Server, eventually, metric, serving
from tests.server.test_life_cycle import TOKEN

NPY = "application/x-npy"
PHOTO = make_photo(7, 1600, 1200)
ROUNDS = 6  # of requests, where the speed of the machine may change during one


def test_excess_requests_are_refused_and_counted(tmp_path: Path) -> None:
    """Each request gets its right answer or a 503 with Retry-After, and the metrics add up."""
    with serving(tmp_path, threads=1, max_queue=1, quick_below_s=0) as server:
        with Load(server, clients=24) as load:
            eventually(lambda: load.statuses[503] > 50 and load.statuses[200] > 50)
        assert not load.wrong
        assert set(load.statuses) == {200, 503}
        assert sum(load.statuses.values()) == load.sent
        for status, count in load.statuses.items():
            labels = {"route": "/predict", "status": str(status)}
            assert server.metric("digitscope_requests_total", **labels) == count
        assert server.metric("digitscope_rejections_total", reason="busy") == load.statuses[503]
        assert server.metric("digitscope_verdicts_total") == load.statuses[200]
        assert server.metric("digitscope_queue_seconds_count", lane="fast") == load.statuses[200]
        assert server.ask(body=sample_png(3)).json["digit"] == 3


def test_accepted_requests_are_answered_in_time(tmp_path: Path) -> None:
    """The service accepts no request or batch that would wait until its deadline."""
    many = npy(np.stack([sample_pixels(n % 10) for n in range(1024)]))
    batches: Counter[int] = Counter()

    def ask_again() -> bool:
        batches[server.ask("/predict/batch", many, Content_Type=NPY).status] += 1
        return batches[200] >= 5 and load.statuses[503] > 200 and load.statuses[200] > 200

    limits = {"threads": 1, "max_queue": 8, "quick_below_s": 0, "deadline_s": 60}
    with serving(tmp_path, **limits) as server:
        with Load(server, clients=48) as load:
            eventually(ask_again)
        assert not load.wrong
        assert set(load.statuses) == {200, 503}
        assert set(batches) <= {200, 503}
        late, busy, wait = (
            server.metric("digitscope_rejections_total", reason=reason)
            for reason in ("deadline", "busy", "wait")
        )
        assert (late, busy + wait) == (0, load.statuses[503] + batches[503])


def test_photos_that_would_be_late_are_refused(tmp_path: Path) -> None:
    """Of more photos than fit into the deadline some are read in time; the rest may come back."""
    crowd = {"max_connections": 2000, "max_connections_per_client": 1000}
    with serving(tmp_path, threads=1, max_queue=1000, **crowd) as server:
        assert any(_some_photos_are_refused(server) for _ in range(ROUNDS))
        assert server.ask(body=PHOTO).json["digit"] == 7


def _some_photos_are_refused(server: Server) -> bool:
    """Send photos that take twice the usable time; return whether all is as at a steady speed.

    If the machine becomes faster meanwhile, all fit; if it becomes slower, some may be late.
    """
    seconds = statistics.median(_seconds_of_a_photo(server) for _ in range(5))
    clients = max(16, math.ceil(6 / seconds))  # so that Retry-After goes up to 3 s
    if clients > 400:
        pytest.fail(f"a photo of {len(PHOTO)} bytes takes {seconds} s: use a larger one")
    before = server.metric("digitscope_rejections_total", reason="wait")
    answers = _ask_together(server, clients, body=PHOTO, X_Request_Timeout=str(clients * seconds))
    statuses = Counter(answer.status for answer in answers)
    assert set(statuses) <= {200, 503, 504}
    assert all(answer.json["digit"] == 7 for answer in answers if answer.status == 200)
    waits = [int(each.headers["retry-after"]) for each in answers if each.status == 503]
    assert all(1 <= wait <= 60 for wait in waits)
    refused = server.metric("digitscope_rejections_total", reason="wait") - before
    assert refused == statuses[503]
    return set(statuses) == {200, 503} and min(waits) < max(waits)


def _seconds_of_a_photo(server: Server) -> float:
    began = time.monotonic()
    assert server.ask(body=PHOTO).json["digit"] == 7
    return time.monotonic() - began


def test_body_of_a_refused_photo_is_not_asked_for(tmp_path: Path) -> None:
    """Under overload a client that waits for "100 Continue" gets 503 before it sends its photo."""
    head = (
        f"Host: x\r\nExpect: 100-continue\r\nContent-Length: {len(PHOTO)}\r\n"
        "X-Request-Timeout: 0.05"
    )
    request = f"POST /predict HTTP/1.1\r\nContent-Type: image/jpeg\r\n{head}\r\n\r\n"
    with serving(tmp_path, threads=1, max_queue=10_000) as server, ExitStack() as load:
        server.ask(body=PHOTO)

        def is_refused() -> bool:
            for _ in range(20):
                load.enter_context(_hold(server, "/predict", PHOTO, "image/jpeg"))
            with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as connection:
                connection.sendall(request.encode())
                status = connection.recv(13)
            assert status in (b"HTTP/1.1 100 ", b"HTTP/1.1 503 ")
            return status == b"HTTP/1.1 503 "

        eventually(is_refused)
        assert server.metric("digitscope_rejections_total", reason="wait") == 1


def test_small_arrays_use_the_whole_queue(tmp_path: Path) -> None:
    """As many clients as the queue is long send one digit each, and none is refused."""
    array = npy(sample_pixels(4)[None])
    head = f"POST /predict/batch HTTP/1.1\r\nHost: x\r\nContent-Type: {NPY}\r\nContent-Length: "
    request = f"{head}{len(array)}\r\n\r\n".encode() + array
    with serving(tmp_path, threads=2, max_queue=64) as server, ExitStack() as clients:
        server.ask(body=PHOTO)  # starts a decoder
        connections = [
            clients.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE_S))
            for _ in range(64)
        ]
        for connection in connections:
            connection.sendall(request[:-1])
        for _ in range(2):  # both threads are busy when the arrays come
            clients.enter_context(_hold(server, "/predict", PHOTO, "image/jpeg"))
        eventually(lambda: server.metric("digitscope_queue_seconds_count", lane="fast") >= 3)
        for connection in connections:
            connection.sendall(request[-1:])
        for connection in connections:
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert (response.status, json.load(response)[0]["digit"]) == (200, 4)


def test_micro_batches_serve_many_clients(tmp_path: Path) -> None:
    """Every client gets its own digit, micro-batches hold several images, the metrics add up."""
    with serving(tmp_path, quick_below_s=1) as server:
        with Load(server, clients=24) as load:
            eventually(lambda: load.statuses[200] > 500 and _has_batches(server))
        assert not load.wrong
        assert load.statuses == {200: load.sent}
        assert server.metric("digitscope_verdicts_total") == load.sent
        assert server.metric("digitscope_batch_size_sum") == load.sent
        assert server.metric("digitscope_queue_seconds_count", lane="quick") == load.sent


def _has_batches(server: Server) -> bool:
    """Return whether a run of the network had images of several requests."""
    text = server.metrics()
    return metric(text, "digitscope_batch_size_count") < metric(text, "digitscope_batch_size_sum")


def test_batches_are_counted(tmp_path: Path) -> None:
    """With batching on, batches hold the images of several requests, and the metrics add up."""
    batching = {"max_batch": 8, "max_delay_ms": 50, "threads": 8, "quick_below_s": 0}
    with serving(tmp_path, default_model="classic", **batching) as server:
        with Load(server, clients=8) as load:
            eventually(lambda: load.statuses[200] > 200 and _has_batches(server))
        assert load.statuses == {200: load.sent}
        assert server.metric("digitscope_verdicts_total", model="classic") == load.sent
        assert server.metric("digitscope_batch_size_sum") == load.sent


def test_explanations_block_only_explanations(tmp_path: Path) -> None:
    """With a full queue, explanations are refused; inspections, predictions and reloads go on."""
    settings = {"slow_threads": 1, "slow_max_queue": 0, "admin_token": TOKEN}
    with serving(tmp_path, **settings) as server, ExitStack() as busy:

        def refusal() -> Answer:
            """Occupy the thread with an explanation; ask for an ablation meanwhile."""
            started = server.metric("digitscope_queue_seconds_count", lane="explanations")
            busy.enter_context(_hold(server, "/explain?model=ensemble&steps=256"))
            eventually(
                lambda: (
                    server.metric("digitscope_queue_seconds_count", lane="explanations") > started
                )
            )
            return server.ask("/ablate?layer=logits", sample_png(1))

        # An explanation may end before the ablation comes.
        answers = (refusal() for _ in range(ROUNDS))
        refused = next(answer for answer in answers if answer.status != 200)
        assert refused.status == 503
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert server.ask("/inspect", sample_png(1)).status == 200
        assert server.ask(body=sample_png(5)).json["digit"] == 5
        assert server.get("/metrics").status == 200
        reloaded = server.ask("/models/compact/reload", Authorization=f"Bearer {TOKEN}")
        assert reloaded.status == 200


def test_deadlines_of_service_and_client(tmp_path: Path) -> None:
    """A late request gets 504, in the queue and at work; clients may ask for a shorter deadline."""
    with serving(tmp_path) as server:
        slow = "/explain?method=integrated-gradients&steps=256"
        late = server.ask(slow, sample_png(2), X_Request_Timeout="0.02")
        assert late.status == 504
        assert "0.02 s" in late.json["detail"]
        assert server.ask(slow, sample_png(2), X_Request_Timeout="1000").status == 200
        for wrong in ("soon", "0", "-1", "nan", "inf"):
            assert server.ask(body=sample_png(2), X_Request_Timeout=wrong).status == 422, wrong
        eventually(lambda: server.metric("digitscope_rejections_total", reason="deadline") == 1)


def test_requests_of_disconnected_clients_are_dropped(tmp_path: Path) -> None:
    """Queued work of a client that has disconnected is dropped and counted."""
    limits = {"slow_threads": 1, "slow_max_queue": 30, "deadline_s": 3600}
    with serving(tmp_path, **limits) as server, ExitStack() as waiting:
        for _ in range(20):
            waiting.enter_context(_hold(server, "/explain?model=ensemble&steps=256"))
        eventually(lambda: server.metric("digitscope_queued", lane="explanations") >= 15)
        waiting.close()
        eventually(lambda: server.metric("digitscope_rejections_total", reason="client-gone") >= 15)
        assert server.ask("/explain?checks=false", sample_png(1)).status == 200


def test_batch_ends_with_its_deadline_or_client(tmp_path: Path) -> None:
    """A late batch gets 504, one whose client has gone is dropped; neither runs to its end."""
    some = npy(np.stack([sample_pixels(n % 10) for n in range(96)]))
    many = npy(np.stack([sample_pixels(n % 10) for n in range(1024)]))  # takes seconds
    path = "/predict/batch?model=ensemble"
    with serving(tmp_path, threads=1) as server:
        assert len(server.ask(path, some, Content_Type=NPY).json) == 96
        late = server.ask(path, many, Content_Type=NPY, X_Request_Timeout="0.02")
        assert (late.status, late.headers["content-type"]) == (504, "application/problem+json")
        # Waits for the part of the late batch that may still run.
        assert len(server.ask(path, some, Content_Type=NPY).json) == 96
        queued = server.metric("digitscope_queue_seconds_count", lane="fast")
        with _hold(server, path, many, NPY):
            eventually(
                lambda: server.metric("digitscope_queue_seconds_count", lane="fast") > queued
            )
        eventually(lambda: server.metric("digitscope_rejections_total", reason="client-gone") == 1)
        assert server.metric("digitscope_rejections_total", reason="deadline") == 1
        assert server.metric("digitscope_verdicts_total", model="ensemble") == 2 * 96
        assert server.ask(body=sample_png(6)).json["digit"] == 6


def _ask_together(
    server: Server, clients: int, *request: object, **options: object
) -> list[Answer]:
    """Let several clients send the same request at the same time; return their answers."""
    barrier = threading.Barrier(clients)

    def ask(_: int) -> Answer:
        barrier.wait(PATIENCE_S)
        return server.ask(*request, **options)

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(ask, range(clients)))


def _hold(
    server: Server, path: str, body: bytes = sample_png(8), kind: str = "image/png"
) -> socket.socket:
    """Send a request and leave the response unread."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return connection
