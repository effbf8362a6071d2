"""Send many large bodies at once, and measure the memory of the service and its patience.

    python -m benchmarks.crowd

Starts a server with default settings for each kind of body; writes the table into
docs/reliability.md. Reads memory from /proc, so it needs Linux.
"""

import base64
import json
import multiprocessing
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from app.settings import REPOSITORY
from benchmarks.page import fill, table
from tests.forms import encode
from tests.server.footprint import tree_mb
from tests.server.process import PATIENCE_S, Client, Server, serving

PAGE = REPOSITORY / "docs" / "reliability.md"
BODIES = 300
POLL_S = 0.03  # seconds between two measurements of memory
TFS, OIP = "/v1/models/compact:predict", "/v2/models/compact/infer"


def main() -> None:
    """Measure and write."""
    head = ["body", "MB", "answered", "503", "504", "lost", "before, MB", "peak, MB", "/livez, ms"]
    rows = [head]
    for name, path, content_type, body in _bodies():
        with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
            rows.append(
                [name, f"{len(body) / 1e6:.1f}", *_measure(server, path, content_type, body)]
            )
    print(table(rows))
    fill(PAGE, "crowd", table(rows))


def _bodies() -> Iterator[tuple[str, str, str, bytes]]:
    """Yield name, path, media type and content of bodies of just below 5 MB."""
    rng = np.random.default_rng(0)
    photo = encode(rng.integers(0, 256, (1250, 1290, 3), np.uint8))
    pixels = rng.integers(0, 2, (3000, 784), np.uint8)
    tensor = {"name": "image", "shape": list(pixels.shape), "datatype": "UINT8"}
    nested = rng.integers(0, 2, (1500, 28, 28, 1)).tolist()
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n%b\r\n--x--\r\n'
    )
    yield "PNG", "/predict", "image/png", photo
    yield "form", "/predict", "multipart/form-data; boundary=x", form % photo + b"--x--\r\n"
    text = base64.b64encode(photo[:3_650_000]).decode()
    yield "JSON, base64", "/predict", "application/json", _json({"image": text})
    images = [{"pixels": rows} for rows in rng.integers(0, 256, (1024, 28, 28)).tolist()]
    yield "JSON, pixels", "/predict/batch", "application/json", _json(images)
    message = {"inputs": [{**tensor, "data": pixels.reshape(-1).tolist()}]}
    yield "JSON, tensor", OIP, "application/json", _json(message)
    yield "JSON, nested lists", TFS, "application/json", _json({"instances": nested})


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _measure(server: Server, path: str, content_type: str, body: bytes) -> list[str]:
    """Return counts of the responses, memory before and at its peak, and the wait of `/livez`."""
    head = f"POST {path} HTTP/1.1\r\nHost: crowd\r\nConnection: close\r\n"
    head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    request, done = head.encode() + body, threading.Event()
    before = tree_mb(server)
    peak = [before]

    def watch() -> None:
        while not done.wait(POLL_S):
            peak.append(tree_mb(server))

    watcher = threading.Thread(target=watch)
    # Probes come from a process of their own: here they would wait for the threads of the crowd.
    ours, theirs = multiprocessing.Pipe()
    prober = multiprocessing.get_context("spawn").Process(target=_probe, args=(server.port, theirs))
    prober.start()
    ours.recv()
    watcher.start()
    with ThreadPoolExecutor(BODIES) as clients:
        statuses = Counter(clients.map(lambda _: _status(server.port, request), range(BODIES)))
    done.set()
    watcher.join()
    ours.send("end")
    waits = ours.recv()
    prober.join()
    refused = [statuses.pop(status, 0) for status in (503, 504, 0)]
    wait = f"{np.percentile(waits, 50):.0f}, at most {max(waits):.0f}"
    numbers = [statuses.total(), *refused, round(before), round(max(peak))]
    return [*map(str, numbers), wait]


def _probe(port: int, pipe: Connection) -> None:
    """Ask for `/livez` until the pipe says so; then send how long each response took, in ms."""
    client, waits = Client(port), list[float]()
    client.get("/livez")
    pipe.send("ready")
    while not pipe.poll(POLL_S):
        began = time.perf_counter()
        client.get("/livez")
        waits.append(1000 * (time.perf_counter() - began))
    pipe.send(waits)


def _status(port: int, request: bytes) -> int:
    """Send a request, and return the status of its response; 0 if there is none."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(PATIENCE_S)
        with suppress(OSError):  # the service may refuse and close before it has everything
            connection.sendall(request)
        if head := connection.recv(12):
            return int(head.split()[1])
    return 0


if __name__ == "__main__":
    main()
