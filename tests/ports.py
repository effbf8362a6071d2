"""Ports of this machine."""

import random
import socket

# Below those that the system gives to whoever asks for any, as Ray does a dozen times in the half
# minute that it takes to listen at the one it was told.
OURS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port that nothing listened at a moment ago."""
    while True:
        port = random.SystemRandom().choice(OURS)  # no test seeds it
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue  # somebody listens there
            return port
