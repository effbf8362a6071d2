"""Send requests as raw bytes, for requests that no client library sends."""

import socket
from dataclasses import dataclass

from tests.server.process import PATIENCE_S


@dataclass(frozen=True)
class Reply:
    """One response; its header names are in lower case."""

    status: int
    headers: dict[str, str]
    content: bytes


def request(
    target: str, body: bytes = b"", *headers: str, method: str = "POST", host: str = "Host: x"
) -> bytes:
    """Return a request that ends its connection; `headers` may replace its Content-Length."""
    lines = [f"{method} {target} HTTP/1.1", *([host] if host else []), "Connection: close"]
    framed = any(one.lower().startswith(("content-length", "transfer-enc")) for one in headers)
    lines += [] if framed else [f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + body


def chunked(body: bytes, size: int) -> bytes:
    """Return a body in chunks of `size` bytes."""
    parts = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def exchange(port: int, *parts: bytes, ends: bool = False) -> list[Reply]:
    """Send bytes, and return the responses until the server closes the connection.

    Args:
        port: Port of the server.
        parts: Bytes to send, each part in a packet of its own.
        ends: Whether the client closes its side afterwards.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        received = b""
        try:
            for part in parts:
                connection.sendall(part)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            while some := connection.recv(65536):
                received += some
        except (ConnectionResetError, BrokenPipeError):
            # The server closed the connection while we were sending; its response may be lost.
            pass
    return _replies(received)


def _replies(received: bytes) -> list[Reply]:
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        length = int(headers.get("content-length", 0))
        found.append(Reply(int(first.split()[1]), headers, rest[:length]))
        received = rest[length:]
    return [reply for reply in found if reply.status >= 200]
