"""Ports of this machine."""

import socket


def free_port() -> int:
    """Return a port that nothing listened at a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
