"""A log that nobody reads stops neither requests nor the end of the processes."""

import fcntl
import json
import os
import select
import shutil
import signal
import socket
from pathlib import Path

from app.bundle import KERAS_FILE
from app.samples import sample_png
from app.settings import REPOSITORY
from tests.server.process import Server, eventually, serving

LONG_PATH = "/" + "x" * 8000  # a few hundred of these fill the queue of lines


def _open_unread_pipe(path: Path) -> int:
    """Create a small pipe with a name and open it for a reader that does not read."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    return reader


def _fill(server: Server, workers: int) -> None:
    """Send requests until lines are lost."""
    lost = server.metric("digitscope_log_lines_lost_total")
    for _ in range(180 * workers):
        assert server.get(LONG_PATH).status == 404
    eventually(lambda: server.metric("digitscope_log_lines_lost_total") > lost)


def test_log_that_nobody_reads_stops_no_worker(tmp_path: Path) -> None:
    """Requests are answered, lost lines counted, dead workers replaced; SIGTERM ends everything."""
    reader = _open_unread_pipe(tmp_path / "server.log")
    with serving(tmp_path, workers=2, drain_delay_s=0) as server:
        _fill(server, workers=2)
        assert server.ask(body=sample_png(7)).json["digit"] == 7
        victim = min(server.workers())
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(server.workers() - {victim}) == 2)
        assert server.stop() == 0
    os.close(reader)


def test_log_that_is_read_late_says_what_was_lost(tmp_path: Path) -> None:
    """When the log is read again, it has the number of lost lines, and then new lines."""
    reader = _open_unread_pipe(tmp_path / "server.log")
    with serving(tmp_path, drain_delay_s=0) as server:
        _fill(server, workers=1)
        content = b""
        while b" log lines were lost" not in content:
            content += _read(reader)
        server.get("/version")
        while b"GET /version 200" not in content:
            content += _read(reader)
        _fill(server, workers=1)
        assert server.stop() == -signal.SIGTERM
    os.close(reader)


def _read(descriptor: int) -> bytes:
    eventually(lambda: select.select([descriptor], [], [], 0)[0])
    return os.read(descriptor, 65536)


def test_every_line_has_the_form_of_the_log(tmp_path: Path) -> None:
    """From the first line at start to the last one, whatever clients send, each line is JSON."""
    models = tmp_path / "models"
    for name in ("compact", "classic"):
        shutil.copytree(REPOSITORY / "model" / name, models / name)
    (models / "classic" / KERAS_FILE).write_bytes(b"damaged")  # logged before uvicorn runs
    with serving(tmp_path, model_dir=models, log_format="json", drain_delay_s=0) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(
                b"GET /%9B31m%0A HTTP/1.1\r\nHost: x\r\nUser-Agent: \x9b31m\r\n"
                b"X-Forwarded-For: 203.0.113.9\r\nX-Request-ID: a b\x9b\r\n"
                b"traceparent: \x9b31m\r\nConnection: close\r\n\r\n"
            )
            while connection.recv(4096):
                pass
        server.stop()
    content = server.log.read_bytes()
    assert content.isascii()
    lines = [json.loads(line) for line in content.splitlines()]
    assert any("classic" in line["message"] for line in lines if line["level"] == "error")
    assert lines[-1]["message"].startswith("Finished server process")
    (line,) = [line for line in lines if "31m" in line["message"]]
    # No proxy is trusted: neither 127.0.0.1 nor uvicorn's own handling of the header.
    assert line["client"] == "127.0.0.1"
