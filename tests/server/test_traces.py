"""OpenTelemetry: with a collector set, every request leaves a trace."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from app.samples import sample_png
from tests.server.process import eventually, serving


class Collector(ThreadingHTTPServer):
    """A collector that keeps what exporters send."""

    def __init__(self) -> None:
        """Listen on a free port."""
        self.received: list[tuple[str, bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, content))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *message: object) -> None:
        """Write nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that runs during the test."""
    running = Collector()
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def photo() -> bytes:
    """Return a digit that must be prepared."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(sample_png(2))).resize((280, 280)).save(stream, "PNG")
    return stream.getvalue()


def test_requests_leave_traces(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector gets spans of a fast route and of another route, under the service's name."""
    for name, value in {
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_SERVICE_NAME": "digitscope-test",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }.items():
        monkeypatch.setenv(name, value)
    with serving(tmp_path, log_format="json") as server:
        assert server.ask(body=sample_png(2)).status == 200
        assert server.get("/models").status == 200

        def spans() -> bytes:
            return b"".join(body for path, body in collector.received if path == "/v1/traces")

        eventually(lambda: b"/predict" in spans() and b"/models" in spans())
        assert b"digitscope-test" in spans()
        for name in (b"POST /predict", b"GET /models"):
            assert name in spans()
        assert server.ask(body=photo()).status == 200  # in a thread of a pool
        stages = (b"queue", b"preparation", b"inference")
        eventually(lambda: all(name in spans() for name in stages))

        def traces() -> set[str]:
            whole = server.log.read_text().rpartition("\n")[0]  # without a line that is not ended
            lines = [json.loads(line) for line in whole.splitlines()]
            return {line["trace_id"] for line in lines if line.get("path") == "/predict"}

        eventually(lambda: len(traces()) == 2)  # a thread writes the log
        eventually(lambda: all(bytes.fromhex(trace) in spans() for trace in traces()))
        assert spans().count(b"http.route") >= 2
