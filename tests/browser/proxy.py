"""A reverse proxy that publishes a service below a path prefix, as nginx or Traefik do."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_HOP = {"connection", "keep-alive", "transfer-encoding"}


class Proxy(ThreadingHTTPServer):
    """Passes requests below a prefix on to a port of this machine; others get 404."""

    daemon_threads = True

    def __init__(self, port: int, prefix: str, *, strips: bool) -> None:
        """Listen on a free port.

        Args:
            port: Port of the service.
            prefix: Path prefix of the requests.
            strips: Whether the prefix is taken off the path, and is sent as X-Forwarded-Prefix.
        """
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port, self.prefix, self.strips = port, prefix, strips
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)

    def __enter__(self) -> "Proxy":
        """Start to serve."""
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop serving."""
        self.shutdown()
        self.thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        prefix, path = self.server.prefix, self.path
        if path != prefix and not path.startswith((f"{prefix}/", f"{prefix}?")):
            self.send_error(404)
            return
        headers: dict[str, Any] = {
            name: value for name, value in self.headers.items() if name.lower() not in _HOP
        }
        headers["X-Forwarded-For"] = self.client_address[0]
        if self.server.strips:
            path = path.removeprefix(prefix)
            path = path if path.startswith("/") else f"/{path}"
            headers["X-Forwarded-Prefix"] = prefix
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        service = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        service.request(self.command, path, body, headers)
        answer = service.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in (*_HOP, "content-length", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        service.close()

    do_GET = do_POST = _pass_on

    def log_message(self, *message: object) -> None:
        """Write nothing."""
