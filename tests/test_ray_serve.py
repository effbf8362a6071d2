"""digitscope on a real Ray cluster of several nodes, some of which are killed under load."""

import csv
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.batch_files import find_images
from app.main import create_app
from app.samples import sample_png
from app.settings import REPOSITORY, Settings
from tests.conftest import Digits
from tests.ports import free_port
from tests.server.process import Answer, Client, Load, Server, eventually
from tests.test_same_answer import in_batches

BIN = Path(sys.executable).parent
PATIENCE_S = 240  # time limit on two slow cores, with three nodes, a load and a batch of files
CLIENTS = 12
PAUSE_S = 1  # between a client's requests, so that the cluster can start processes meanwhile


class Cluster:
    """A head without CPUs and two nodes, all on this machine, each with its own raylet.

    Each node's proxy has its own port, as it would have its own address on real machines.
    """

    def __init__(self) -> None:
        """Start the processes and wait for them."""
        from ray.cluster_utils import Cluster as Nodes

        small = {"object_store_memory": 80_000_000, "include_dashboard": False}
        self._nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, **small})
        self._node = {"num_cpus": 4, **small}
        self.ports: dict[int, int] = {}
        for _ in range(2):
            self.add_node()
        self._nodes.wait_for_nodes(timeout=PATIENCE_S)
        self.environment = {**os.environ, "RAY_ADDRESS": self._nodes.address}

    def add_node(self) -> None:
        """Start another node."""
        port = free_port()
        own = {"RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(port)}
        self.ports[_raylet(self._nodes.add_node(env_vars=own, **self._node))] = port

    def kill_node(self, raylet: int) -> None:
        """Kill a node, named by the process id of its raylet, and all its processes at once."""
        (node,) = [node for node in self._nodes.worker_nodes if _raylet(node) == raylet]
        there = [pid for pid, parent in self.actors("").items() if parent == raylet]
        # SIGSTOP first: a lost machine does nothing more.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in (raylet, *there):
                os.kill(pid, number)
        self._nodes.remove_node(node, allow_graceful=False)

    def actors(self, kind: str) -> dict[int, int]:
        """Return the processes of actors whose name starts with `kind`, each with its raylet."""
        listed = subprocess.run(
            ["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
        ).stdout
        raylets = {_raylet(node) for node in self._nodes.list_all_nodes()}
        found = re.findall(rf"^ *(\d+) +(\d+) ray::{kind}", listed, re.MULTILINE)
        return {int(pid): int(parent) for pid, parent in found if int(parent) in raylets}

    def replicas(self) -> dict[int, int]:
        """Return the processes of replicas, each with its node's raylet."""
        return self.actors("ServeReplica")

    def close(self) -> None:
        """Stop all nodes."""
        self._nodes.shutdown()


def _raylet(node) -> int:
    return node.all_processes["raylet"][0].process.pid


class Retrying(Client):
    """Repeats a failed request once, at the proxy of the head."""

    def __init__(self, port: int, head: int | None = None) -> None:
        """Use the service at a port, and the head's port for repeated requests."""
        super().__init__(port)
        self.head = Client(head or port)
        self.repeated = 0

    def ask(self, *args, **kwargs) -> Answer:
        """Send a request, and repeat it once after a failure."""
        answer = super().ask(*args, **kwargs)
        if answer.status in (0, 500, 502, 503):
            self.repeated += 1
            answer = self.head.ask(*args, **kwargs)
        return answer


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head and two nodes."""
    handler = signal.getsignal(
        signal.SIGTERM
    )  # Ray's handler would drain nodes at the end of pytest
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster()
        signal.signal(signal.SIGTERM, handler)
        yield cluster
        cluster.close()


@pytest.fixture(scope="module")
def served(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of `digitscope cluster` with two to three replicas."""
    port = free_port()
    scale = ["--min-replicas", "2", "--max-replicas", "3"]
    log = tmp_path_factory.mktemp("cluster") / "cluster.log"
    with log.open("w") as lines:
        process = subprocess.Popen(
            [BIN / "digitscope", "cluster", "--port", str(port), *scale],
            cwd=REPOSITORY,
            # Two cores may take longer than 10 s to replace a lost replica.
            env={**cluster.environment, "DIGITSCOPE_DEADLINE_S": "60"},
            stdout=lines,
            stderr=subprocess.STDOUT,
        )
    try:
        client = Client(port)
        eventually(
            lambda: process.poll() is not None or client.get("/readyz").status == 200,
            seconds=PATIENCE_S,
        )
        assert process.poll() is None, log.read_text()
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)
    assert not cluster.replicas(), "the application was left on the cluster"


@pytest.fixture(scope="module")
def single() -> Iterator[TestClient]:
    """The same application in one process, with the same settings."""
    with TestClient(create_app(Settings())) as client:
        yield client


def _patiently(holds: Callable[[], bool]) -> None:
    """Wait for a condition that takes a cluster seconds."""
    eventually(holds, seconds=PATIENCE_S, every_s=0.3)


def _settled(cluster: Cluster, replicas: int) -> None:
    _patiently(lambda: len(cluster.replicas()) >= replicas)


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        *(("POST", "/predict?model=classic", sample_png(digit)) for digit in (0, 4, 9)),
        ("POST", "/read?model=classic", sample_png(3)),
        ("POST", "/inspect?model=classic&include=sheets", sample_png(5)),
        ("POST", "/explain?model=classic", sample_png(2)),
        ("POST", "/predict?model=nope", sample_png(1)),
        ("POST", "/predict", b"no image"),
        ("GET", "/models", None),
        ("GET", "/v2/models/classic", None),
        ("GET", "/openapi.json", None),
        ("GET", "/nowhere", None),
        ("GET", "/", None),
    ],
)
def test_answers_are_those_of_one_process(
    served: int, single: TestClient, method: str, path: str, body: bytes | None
) -> None:
    """Responses of the cluster equal those of the application in a single process."""
    request_id = {"X-Request-ID": "the-same"}
    alone = single.request(
        method, path, content=body, headers={"Content-Type": "image/png", **request_id}
    )
    there = Client(served).ask(path, body, method=method, **request_id)
    assert there.status == alone.status_code
    assert there.headers["content-type"] == alone.headers["content-type"]
    assert there.headers["x-request-id"] == "the-same"
    assert there.content == alone.content


@pytest.mark.cluster
@pytest.mark.parametrize("name", ["classic", "compact"])
def test_batches_are_those_of_one_process(
    served: int, server: Server, digits: Digits, name: str
) -> None:
    """A cluster and a single server give the same probabilities for 1,000 digits."""
    in_cluster = in_batches(Client(served), name, digits.images)
    in_one_process = in_batches(server, name, digits.images)
    assert in_cluster.shape == (1000, 10)
    np.testing.assert_allclose(in_cluster, in_one_process, rtol=0, atol=1e-6)


@pytest.mark.cluster
def test_replicas_grow_under_load_and_are_replaced(served: int, cluster: Cluster) -> None:
    """Load adds a replica; a killed replica is replaced, and repeated requests succeed."""
    client = Retrying(served)
    with Load(client, clients=CLIENTS) as load:
        _settled(cluster, 3)
        before = load.statuses[200]
        eventually(lambda: load.statuses[200] > before + 100, seconds=PATIENCE_S)
        load.pause_s = PAUSE_S
        victim = min(cluster.replicas())
        os.kill(victim, signal.SIGKILL)
        _patiently(lambda: len(cluster.replicas().keys() - {victim}) >= 3)
        before = load.statuses[200]
        eventually(lambda: load.statuses[200] > before + 100, seconds=PATIENCE_S)
    assert not load.wrong
    assert set(load.statuses) == {200}, load.errors


@pytest.mark.cluster
def test_loss_of_a_node_loses_no_file(served: int, cluster: Cluster, tmp_path: Path) -> None:
    """If a node dies while it serves and reads files, the table is complete and no request is lost.

    Requests go to every proxy; failed ones are repeated once at the head.
    """
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(1000):
        (scans / f"{number:04}.png").write_bytes(sample_png(number % 10))
    (scans / "0300.png").write_bytes(b"nothing")
    out, log = tmp_path / "digits.csv", tmp_path / "read.log"
    _patiently(lambda: len(set(cluster.replicas().values())) == 2)
    ports = [served, *(cluster.ports[raylet] for raylet in set(cluster.replicas().values()))]
    for port in ports:
        Client(port).wait_until_ready()
    clients = [Retrying(port, head=served) for port in ports]
    with ExitStack() as stack:
        loads = [
            stack.enter_context(Load(client, clients=2, pause_s=PAUSE_S)) for client in clients
        ]
        with log.open("w") as lines:
            reading = subprocess.Popen(
                [BIN / "digitscope", "read", scans, "--ray", "--out", out],
                cwd=tmp_path,
                env=cluster.environment,
                stdout=lines,
                stderr=subprocess.STDOUT,
            )
        try:
            eventually(
                lambda: out.exists() and out.read_text().count("\n") > 40, seconds=PATIENCE_S
            )
            raylet = next(iter(cluster.actors("MapWorker").values()))
            cluster.kill_node(raylet)
            assert reading.poll() is None, "the command ended before the node was killed"
            cluster.add_node()
            assert reading.wait(PATIENCE_S) == 1, log.read_text()  # 1: one file is no image
        finally:
            if reading.poll() is None:
                reading.kill()
                reading.wait()
        _settled(cluster, 2)
        before = loads[0].statuses[200]
        eventually(lambda: loads[0].statuses[200] > before + 10, seconds=PATIENCE_S)
    for load in loads:
        assert not load.wrong
        assert set(load.statuses) == {200}, load.errors
    assert sum(client.repeated for client in clients) > 0
    alone = tmp_path / "alone.csv"
    subprocess.run(
        [BIN / "digitscope", "read", scans, "--out", alone], cwd=tmp_path, capture_output=True
    )
    assert out.read_text() == alone.read_text()
    assert len(out.read_text().splitlines()) == 1 + len(find_images([scans]).images)


@pytest.mark.cluster
def test_relative_paths_are_read_from_the_working_folder(cluster: Cluster, tmp_path: Path) -> None:
    """Relative paths start at the command's actors folder and appear unchanged in the table."""
    (tmp_path / "7.png").write_bytes(sample_png(7))
    done = subprocess.run(
        [BIN / "digitscope", "read", "7.png", "none.png", "--ray", "--out", "digits.csv"],
        cwd=tmp_path,
        env=cluster.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    with (tmp_path / "digits.csv").open(newline="") as stream:
        seven, none = csv.DictReader(stream)
    assert (seven["file"], seven["text"], seven["error"]) == ("7.png", "7", "")
    assert seven["size"] == str(len(sample_png(7)))
    assert (none["file"], none["text"], none["size"]) == ("none.png", "", "")
    assert none["error"] == "The file cannot be opened: No such file or directory."


@pytest.mark.slow
@pytest.mark.parametrize("words", [["cluster"], ["read", "7.png", "--ray"]])
def test_missing_ray_is_reported(words: list[str], tmp_path: Path) -> None:
    """Without Ray, the commands that need it name the extra to install and end with code 2."""
    program = (
        "import sys; sys.modules['ray'] = None; from digitscope import command;"
        f" sys.argv[1:] = {words}; command()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "install the extra 'ray'" in done.stderr
    assert "Traceback" not in done.stderr
