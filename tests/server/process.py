"""Run a real server process, and clients that count every request they send."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.interrupts import HELD_KEY_S
from app.samples import sample_png
from app.settings import REPOSITORY
from tests.ports import free_port

PATIENCE_S = 180  # time limit for anything a test waits for, long enough for a busy machine


@dataclass
class Answer:
    """A response. Its status is 0 if the server refused or closed the connection."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    error: str = ""

    @property
    def json(self) -> dict:
        """Return the parsed body."""
        return json.loads(self.content)


class Client:
    """Sends requests to a service on this machine."""

    def __init__(self, port: int) -> None:
        """Use the service at a port."""
        self.port = port

    def ask(
        self,
        path: str = "/predict",
        body: bytes | None = None,
        *,
        method: str = "POST",
        **headers: str,
    ) -> Answer:
        """Send one request on a new connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(
                method, path, body, {"Content-Type": "image/png", **_dashed(headers)}
            )
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, error=repr(error))
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        """Send a GET."""
        return self.ask(path, method="GET", **headers)

    def wait_until_ready(self) -> None:
        """Wait until `/readyz` answers with 200."""
        eventually(lambda: self.get("/readyz").status == 200)

    def metrics(self) -> str:
        """Return the text of `/metrics`."""
        return self.get("/metrics").content.decode()

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        return metric(self.metrics(), name, **labels)


def metric(text: str, name: str, **labels: str) -> float:
    """Return the sum of the samples with these labels in the text of `/metrics`."""
    total = 0.0
    for line in text.splitlines():
        match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
        wanted = (f'{key}="{value}"' for key, value in labels.items())
        if match and all(label in (match[1] or "") for label in wanted):
            total += float(match[2])
    return total


class Server(Client):
    """`digitscope serve` in its own process."""

    def __init__(self, log: Path, **settings: object) -> None:
        """Start the server on a free port; pass settings as environment variables."""
        super().__init__(free_port())
        self.grpc_port = settings.get("grpc_port", 0)
        environment = {f"DIGITSCOPE_{name.upper()}": str(value) for name, value in settings.items()}
        self.log = log
        with log.open("w") as lines:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "digitscope", "serve", "--port", str(self.port)],
                cwd=REPOSITORY,
                env={**os.environ, **environment},
                stdout=lines,
                stderr=subprocess.STDOUT,
            )

    def workers(self) -> set[int]:
        """Return the ids of the worker processes."""
        return children_of(self.process.pid)

    def wait_for_starts(self, count: int) -> None:
        """Wait until a number of workers have become ready since the start, dead ones included."""
        eventually(lambda: self.log.read_text().count("Application startup complete") == count)

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


def hold_interrupt(process: subprocess.Popen[str]) -> None:
    """Send SIGINT to a process and its children three times, as a terminal does for Ctrl-C.

    The process must have been started in a session of its own. Signals that a busy machine delays
    are left out: they would be another Ctrl-C.
    """
    began = time.monotonic()
    for _ in range(3):
        if time.monotonic() - began > HELD_KEY_S / 2:
            break
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)


def children_of(parent: int) -> set[int]:
    """Return the ids of a process's child processes."""
    children: set[int] = set()
    for tasks in Path(f"/proc/{parent}/task").glob("*/children"):
        children |= {int(child) for child in tasks.read_text().split()}
    return children


def _dashed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@contextmanager
def serving(folder: Path, **settings: object) -> Iterator[Server]:
    """Run a server until the block ends."""
    server = Server(folder / "server.log", **settings)
    try:
        server.wait_until_ready()
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait(PATIENCE_S)


def eventually(holds, *, seconds: float = PATIENCE_S, every_s: float = 0.02) -> None:
    """Wait until a condition holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"the condition did not hold within {seconds} s"
        time.sleep(every_s)


class Load:
    """Clients that send digits until the block ends, and check every answer."""

    def __init__(self, server: Client, clients: int, *, pause_s: float = 0) -> None:
        """Prepare clients that run concurrently and open a new connection for every request.

        Each client pauses for `pause_s` between requests; a test may change that.
        """
        self._server, self.pause_s, self._stop = server, pause_s, threading.Event()
        self._lock = threading.Lock()
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.versions: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.sent = 0
        self._threads = [
            threading.Thread(target=self._ask, args=(index,)) for index in range(clients)
        ]

    def __enter__(self) -> "Load":
        """Start the clients."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the clients after their last answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, index: int) -> None:
        digit = index % 10
        body = sample_png(digit)
        while not self._stop.wait(self.pause_s):
            with self._lock:
                self.sent += 1
            answer = self._server.ask(body=body)
            with self._lock:
                self._count(digit, answer)

    def _count(self, digit: int, answer: Answer) -> None:
        self.statuses[answer.status] += 1
        if answer.status == 200:
            prediction = answer.json
            self.versions[prediction["model"]["version"]] += 1
            if prediction["digit"] != digit:
                self.wrong.append(f"{digit} was read as {prediction['digit']}")
        elif answer.status == 0:
            self.errors[answer.error] += 1
        elif answer.headers.get("content-type") != "application/problem+json":
            self.wrong.append(
                f"{answer.status} is not a problem document: {answer.content[:200]!r}"
            )
