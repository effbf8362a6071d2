"""Load at and far beyond what the service carries, with every answer checked.

    python -m benchmarks.soak --minutes 10      (make soak)

Requests of every kind are sent by a few clients and by many in turn, some of which are slow or go
away; each must get its right answer or a clear refusal. Memory and open files are watched. The
figures go into docs/reliability.md. `tests/server/test_soak.py` runs the same for a short time.
"""

import argparse
import http.client
import os
import random
import re
import socket
import sys
import tempfile
import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import REPOSITORY, Settings
from benchmarks.page import fill, table
from tests.server.mix import Ask, asks
from tests.server.process import PATIENCE_S, Answer, Server, eventually, metric, serving

PAGE = REPOSITORY / "docs" / "reliability.md"
FEW, MANY = 4, 96  # clients: about what two workers carry, and far more
DEADLINE_S, BODY_TIMEOUT_S = 5.0, 2.0
SETTINGS = {
    "workers": 2,
    "threads": 1,
    "max_queue": 8,
    "slow_max_queue": 8,
    "deadline_s": DEADLINE_S,
    "body_timeout_s": BODY_TIMEOUT_S,
    "drain_delay_s": 0,
}
MAX_GROWTH_MB = 25.0  # of all processes, by the slope of their memory
MAX_WARM_UPS = 10  # so that memory which grows for ever is measured and reported
# Shares of requests: on a connection that is kept, and of clients that misbehave.
KEEP_ALIVE, DISCONNECTS, SLOW, STUCK = 0.7, 0.03, 0.02, 0.005


@dataclass
class Tally:
    """What came of the requests of one phase.

    Attributes:
        outcomes: How many had which end.
        wrong: What was wrong or lost, in words.
        seconds: How long each right answer took.
        length: Of the phase, seconds.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: "array[float]" = field(default_factory=lambda: array("f"))
    length: float = 0.0

    def count(self, outcome: str, seconds: float) -> None:
        """Count one request."""
        if outcome == "right":
            self.seconds.append(seconds)
        elif outcome not in ("refused", "late", "gone"):
            self.wrong.append(outcome)
            outcome = "lost" if outcome.startswith("lost") else "wrong"
        self.outcomes[outcome] += 1

    def add(self, other: "Tally") -> None:
        """Add what came of a later part."""
        self.outcomes += other.outcomes
        self.wrong += other.wrong
        self.seconds.extend(other.seconds)
        self.length += other.length


@dataclass(frozen=True)
class Sample:
    """Resident memory in MB and open files of all processes of the service, at a time in s."""

    time: float
    memory: float
    files: int


@dataclass
class Report:
    """What a soak found.

    Attributes:
        few: What came of the load that the service carries.
        many: What came of the load that it does not.
        samples: Of memory and open files, under load, after the first round.
        idle: Open files before the load.
        rest: Open files after it.
        counted: Requests that the service counted itself.
        beyond_deadline: How many of them took clearly longer than the deadline.
        complaints: Errors in its log.
    """

    few: Tally = field(default_factory=Tally)
    many: Tally = field(default_factory=Tally)
    samples: list[Sample] = field(default_factory=list)
    idle: int = 0
    rest: int = 0
    counted: int = 0
    beyond_deadline: int = 0
    complaints: list[str] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """Return how many requests were sent."""
        return self.few.outcomes.total() + self.many.outcomes.total()

    @property
    def least(self) -> int:
        """Return how many of them the service must have counted: all whose clients stayed."""
        return self.sent - self.few.outcomes["gone"] - self.many.outcomes["gone"]

    def faults(self) -> list[str]:
        """Return which promises were broken, in words."""
        outcomes = self.few.outcomes + self.many.outcomes
        broken = {
            f"{outcomes['lost']} requests were lost": outcomes["lost"],
            f"{outcomes['wrong']} answers were wrong": outcomes["wrong"],
            "nothing was too much": not self.many.outcomes["refused"],
            "what the service carries was answered seldom": (
                self.few.outcomes["right"] < 0.5 * self.few.outcomes.total()
            ),
            f"the service counted {self.counted} requests, of {self.least} to {self.sent}": (
                not self.least <= self.counted <= self.sent
            ),
            f"{self.beyond_deadline} requests outlived twice the deadline": self.beyond_deadline,
            f"{self.rest} files are open, {self.idle} before the load": self.rest > self.idle,
            f"memory grew by {self.slope():.1f} MB a minute": self.growth() > MAX_GROWTH_MB,
            f"the log has {len(self.complaints)} errors": self.complaints,
        }
        return [words for words, happened in broken.items() if happened]

    def growth(self) -> float:
        """Return by how much memory grew while it was watched, MB, by the slope."""
        return self.slope() * (self.samples[-1].time - self.samples[0].time) / 60

    def slope(self) -> float:
        """Return how fast memory grew, MB a minute, by least squares."""
        times = np.array([sample.time for sample in self.samples]) / 60
        return float(np.polyfit(times, [sample.memory for sample in self.samples], 1)[0])


class Soak:
    """Clients that send requests until told to stop."""

    def __init__(self, server: Server, mix: Sequence[Ask], clients: int, seed: int) -> None:
        """Send requests out of `mix` with so many clients at once."""
        self._server, self._mix = server, mix
        self._whole = [ask for ask in mix if ask.body and ask.status == 200]
        self._stop, self._lock = threading.Event(), threading.Lock()
        self.tally = Tally()
        self._threads = [
            threading.Thread(target=self._send, args=(random.Random(f"{seed}/{index}"),))
            for index in range(clients)
        ]

    def run(self, seconds: float) -> Tally:
        """Send for so long, wait for the answers that are due, and return what came."""
        began = time.monotonic()
        for thread in self._threads:
            thread.start()
        self._stop.wait(seconds)
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.tally.length = time.monotonic() - began
        return self.tally

    def _send(self, chance: random.Random) -> None:
        connection = self._connect()
        while not self._stop.is_set():
            ask, draw = chance.choice(self._mix), chance.random()
            if draw < DISCONNECTS + SLOW + STUCK or chance.random() > KEEP_ALIVE:
                connection.close()
            began = time.perf_counter()
            if draw < DISCONNECTS:
                outcome = self._leave(ask, chance)
            elif draw < DISCONNECTS + SLOW:
                outcome = ask.judge(self._drip(ask))
            elif draw < DISCONNECTS + SLOW + STUCK:
                outcome = self._stick(chance.choice(self._whole))
            else:
                outcome = ask.judge(_exchange(connection, ask))
            with self._lock:
                self.tally.count(outcome, time.perf_counter() - began)
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=PATIENCE_S)

    def _leave(self, ask: Ask, chance: random.Random) -> str:
        """Go away in the middle of a request, or after it, without waiting for the answer."""
        raw, place = _raw(ask), ("127.0.0.1", self._server.port)
        # What is wrong may be refused, and the connection closed, before all of it was sent.
        with socket.create_connection(place) as connection, suppress(ConnectionError):
            connection.sendall(raw[: chance.choice((len(raw), len(raw) // 2, 10))])
        return "gone"

    def _drip(self, ask: Ask, parts: int = 4) -> Answer:
        """Send a request in parts with pauses."""
        raw = _raw(ask)
        size = -(-len(raw) // parts)
        with socket.create_connection(("127.0.0.1", self._server.port)) as connection:
            connection.settimeout(PATIENCE_S)
            # What is wrong may be refused, and the connection closed, before all of it was sent.
            with suppress(ConnectionError):
                for start in range(0, len(raw), size):
                    connection.sendall(raw[start : start + size])
                    self._stop.wait(0.1)
            return _answer(connection)

    def _stick(self, ask: Ask) -> str:
        """Send half of a body and no more: only `late` is right."""
        raw = _raw(ask)
        with socket.create_connection(("127.0.0.1", self._server.port)) as connection:
            connection.settimeout(PATIENCE_S)
            connection.sendall(raw[: -len(ask.body) // 2])
            outcome = ask.judge(_answer(connection))
        return "half a body is answered" if outcome == "right" else outcome


def _exchange(connection: http.client.HTTPConnection, ask: Ask) -> Answer:
    try:
        connection.request(ask.method, ask.path, ask.body or None, dict(ask.headers))
        return _read(connection.getresponse())
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return Answer(0, error=repr(error))


def _raw(ask: Ask) -> bytes:
    lines = [f"{ask.method} {ask.path} HTTP/1.1", "Host: soak", "Connection: close"]
    lines += [f"{name}: {text}" for name, text in ask.headers.items()]
    if ask.method == "POST":
        lines.append(f"Content-Length: {len(ask.body)}")
    return "\r\n".join([*lines, "", ""]).encode() + ask.body


def _answer(connection: socket.socket) -> Answer:
    response = http.client.HTTPResponse(connection)
    try:
        response.begin()
        return _read(response)
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, error=repr(error))


def _read(response: http.client.HTTPResponse) -> Answer:
    headers = {name.lower(): text for name, text in response.getheaders()}
    return Answer(response.status, headers, response.read())


@contextmanager
def _watching(server: Server, samples: list[Sample], every_s: float = 0.5) -> Iterator[None]:
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(every_s):
            samples.append(sample(server))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def sample(server: Server) -> Sample:
    """Measure memory and open files of all processes of a service now."""
    memory, files = 0.0, 0
    for process in (server.process.pid, *server.workers()):
        status = Path(f"/proc/{process}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        memory += int(found[1]) / 1000 if found else 0
        files += len(list(Path(f"/proc/{process}/fd").iterdir()))
    return Sample(time.monotonic(), memory, files)


def soak(folder: Path, seconds: float, rounds: int) -> Report:
    """Run the load against a service of its own.

    Args:
        folder: For its log.
        seconds: Of the load, half of it more than the service carries.
        rounds: From few clients to many; the first is not counted into the growth of memory.
    """
    settings = Settings(access_log=False, log_level="warning", deadline_s=PATIENCE_S)
    with TestClient(create_app(settings)) as client:
        mix = asks(client)
    report, part = Report(), seconds / rounds / 2
    with serving(folder, **SETTINGS) as server:
        server.wait_for_starts(SETTINGS["workers"])
        _warm_up(server, mix, part)
        report.idle, before = sample(server).files, _counted(server)
        for turn in range(rounds):
            samples: list[Sample] = []
            with _watching(server, samples):
                few = Soak(server, mix, FEW, seed=2 * turn).run(part)
                many = Soak(server, mix, MANY, seed=2 * turn + 1).run(part)
            report.few.add(few)
            report.many.add(many)
            if turn:
                report.samples += samples
        eventually(lambda: sample(server).files <= report.idle)
        report.rest = sample(server).files
        report.counted = _counted_since(server, before, report.least)
        report.beyond_deadline = _beyond_deadline(server)
        server.stop()
    lines = server.log.read_text().splitlines()
    report.complaints = [line for line in lines if " ERROR " in line or "Traceback" in line]
    return report


def _warm_up(server: Server, mix: Sequence[Ask], seconds: float) -> None:
    """Send load until it takes no more memory, which is later on a slow machine.

    Models, decoders and heaps take their memory when requests need them for the first time.
    """
    for turn in range(MAX_WARM_UPS):
        before = sample(server).memory
        Soak(server, mix, MANY, seed=-1 - turn).run(seconds)
        _rest(server)
        if sample(server).memory - before < MAX_GROWTH_MB / 4:
            break


def _rest(server: Server) -> None:
    """Return when no connection is closing any more, and what was begun has been counted."""

    def still() -> bool:
        before = sample(server).files
        time.sleep(0.5)
        return before == sample(server).files

    eventually(still)


def _counted_since(server: Server, before: int, least: int) -> int:
    """Return how many requests were counted since, once all answers are: each a little after it."""
    for questions in range(1, 50):
        counted = _counted(server) - before - questions
        if counted >= least:
            break
        time.sleep(0.1)
    return counted


def _counted(server: Server) -> int:
    return int(server.metric("digitscope_requests_total"))


def _beyond_deadline(server: Server) -> int:
    """Return how many requests took longer than twice the deadline, a limit of the histogram."""
    text, name = server.metrics(), "digitscope_request_seconds"
    within = metric(text, f"{name}_bucket", le=f"{2 * DEADLINE_S}")
    return int(metric(text, f"{name}_count") - within)


def rows(report: Report) -> list[list[str]]:
    """Return what happened to the requests as a table."""
    ends = ("right", "refused", "late", "gone", "wrong", "lost")
    head = ["load", "clients", "requests/s", *ends, "p50, ms", "p99, ms", "longest, ms"]
    listed = [head]
    for name, clients, tally in (("carried", FEW, report.few), ("too much", MANY, report.many)):
        times = [1000 * float(np.quantile(tally.seconds, share)) for share in (0.5, 0.99, 1)]
        listed.append(
            [
                name,
                str(clients),
                f"{tally.outcomes.total() / tally.length:,.0f}",
                *(f"{tally.outcomes[end]:,}" for end in ends),
                *(f"{milliseconds:,.0f}" for milliseconds in times),
            ]
        )
    return listed


def words(report: Report) -> str:
    """Return what happened to memory and files as sentences."""
    first, last = report.samples[0], report.samples[-1]
    early, late = (
        np.mean([one.memory for one in part])
        for part in np.array_split(np.array(report.samples, object), 4)[::3]
    )
    return (
        f"{report.sent:,} requests in {(report.few.length + report.many.length) / 60:.1f} minutes"
        f" on {os.cpu_count()} cores, which the clients shared; the service counted"
        f" {report.counted:,} of them itself (of those who went away it may not hear). Resident"
        f" memory of all processes in the first and the last quarter of"
        f" {(last.time - first.time) / 60:.1f} minutes: {early:.0f} and {late:.0f} MB, slope"
        f" {report.slope():+.2f} MB a minute. Open files at rest before and after: {report.idle}"
        f" and {report.rest}."
    )


def main() -> None:
    """Run, print, and write the figures into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--dry", action="store_true", help="Print and write nothing.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = soak(Path(folder), 60 * arguments.minutes, max(2, round(arguments.minutes)))
    content = f"{table(rows(report))}\n{words(report)}\n"
    print(content)
    for tally in (report.few, report.many):
        print(*tally.wrong[:10], sep="\n")
    print(*report.complaints[:10], sep="\n")
    faults = report.faults()
    if faults:
        sys.exit("; ".join(faults))
    if not arguments.dry:
        fill(PAGE, "soak", content)


if __name__ == "__main__":
    main()
