"""A log that nobody reads stops neither requests nor the end of the processes."""

import fcntl
import os
import select
import signal
from pathlib import Path

from app.samples import sample_png
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
