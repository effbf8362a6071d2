"""Find free ports of this machine."""

import random
import socket

# Below the system's ephemeral ports: Ray takes a dozen of those while it starts, which takes half a
# minute, and may take the port that it is configured with.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    while True:
        port = random.SystemRandom().choice(PORTS)  # not seeded by any test
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue  # the port is in use
            return port
