"""Start, reload, loss of a worker and stop under load lose no request."""

import json
import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from app.bundle import COMPILED_FILE, METADATA, Metadata, open_bundle, seal
from app.network.keras_file import read_keras_file
from app.samples import sample_png
from app.settings import REPOSITORY
from tests.bundles import add_bundle, replace_member
from tests.conftest import PUBLISHED
from tests.server.process import Load, Server, eventually, serving

TOKEN = "a token of some length"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a copy of the classic bundle, which a test may change."""
    folder = tmp_path / "models"
    shutil.copytree(REPOSITORY / "model" / "classic", folder / "classic")
    return folder


def _publish(models: Path, version: int) -> None:
    """Replace the bundle by another version, as `digitscope train` does."""
    fresh, place = models.parent / "classic", models / "classic"
    shutil.copytree(place, fresh)
    metadata = open_bundle(fresh).metadata.model_copy(update={"version": version})
    seal(fresh, metadata)
    shutil.rmtree(place)
    fresh.rename(place)


def _reload(server: Server, token: str = TOKEN):
    return server.ask("/models/classic/reload", Authorization=f"Bearer {token}")


def test_reload_under_load_loses_nothing(tmp_path: Path, models: Path) -> None:
    """A new version takes over between two requests; every request is answered."""
    with serving(tmp_path, model_dir=models, default_model="classic", admin_token=TOKEN) as server:
        with Load(server, clients=4) as load:
            eventually(lambda: load.versions[PUBLISHED] > 20)
            later = PUBLISHED + 1
            _publish(models, later)
            answer = _reload(server)
            assert (answer.status, answer.json["version"]) == (200, later)
            before = load.versions[later]
            eventually(lambda: load.versions[later] > before + 20)
        assert not load.wrong
        assert set(load.statuses) == {200}
        assert server.metric("digitscope_model_version", model="classic") == later


def test_bad_bundles_are_refused_and_the_old_one_stays(tmp_path: Path, models: Path) -> None:
    """A damaged file or a compiled model of another network leaves the served model in place."""
    with serving(tmp_path, model_dir=models, default_model="classic", admin_token=TOKEN) as server:
        compiled = models / "classic" / COMPILED_FILE
        whole = compiled.read_bytes()
        compiled.write_bytes(whole[:-1000] + bytes(1000))
        refused = _reload(server)
        assert refused.status == 409
        assert COMPILED_FILE in refused.json["detail"]
        # The hashes are right, but the network confuses the digits.
        bundle = models / "classic"
        metadata = json.loads((bundle / METADATA).read_text())
        compiled.write_bytes(_with_other_logits(whole))
        seal(bundle, Metadata(**metadata))
        refused = _reload(server)
        assert refused.status == 409
        assert "different answers" in refused.json["detail"]
        answer = server.ask(body=sample_png(6)).json
        assert (answer["digit"], answer["model"]["version"]) == (6, PUBLISHED)


def _with_other_logits(compiled: bytes) -> bytes:
    """Reverse the order of the classes in the logits' kernel, `[10, 512]` float32 in the file."""
    keras = (REPOSITORY / "model" / "classic" / "model.keras").read_bytes()
    steps, _, weights = read_keras_file(keras)
    kernel = weights[[step.name for step in steps].index("logits")]["kernel"].T
    raw = np.ascontiguousarray(kernel).tobytes()
    assert compiled.count(raw) >= 1
    return compiled.replace(raw, np.ascontiguousarray(kernel[::-1]).tobytes())


def test_only_the_operator_reloads(tmp_path: Path, models: Path) -> None:
    """A wrong token is refused; without a token in the settings there is no reload."""
    with serving(tmp_path, model_dir=models, default_model="classic", admin_token=TOKEN) as server:
        assert _reload(server, "another token").status == 401
        assert server.ask("/models/classic/reload").status == 401
        assert server.ask("/models/nope/reload", Authorization=f"Bearer {TOKEN}").status == 404
    with serving(tmp_path, model_dir=models, default_model="classic") as server:
        assert _reload(server).status == 404


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of the processes that a test starts."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_stop_loses_nothing(tmp_path: Path, scratch: Path) -> None:
    """After SIGTERM: not ready, then no new connections; accepted requests are answered."""
    with serving(tmp_path, drain_delay_s=600) as server:
        with Load(server, clients=4) as load:
            eventually(lambda: load.statuses[200] > 20)
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: server.get("/readyz").status == 503)
            answer = server.ask(body=sample_png(4))
            assert (answer.status, answer.json["digit"]) == (200, 4)
            assert answer.headers["connection"] == "close"
            assert server.get("/livez").status == 200
            # The second SIGTERM ends the drain. uvicorn raises it again after its shutdown.
            assert server.stop() == -signal.SIGTERM
            eventually(lambda: load.statuses[0] > 0)
        assert "Application shutdown complete" in server.log.read_text()
        assert not load.wrong
        assert set(load.statuses) == {200, 0}
        # The kernel may have accepted connections that the server never saw.
        refused = sum(n for error, n in load.errors.items() if "ConnectionRefused" in error)
        assert load.statuses[0] - refused <= 4, load.errors
    assert not list(scratch.iterdir())


def test_workers_are_replaced_and_count_together(
    tmp_path: Path, models: Path, scratch: Path
) -> None:
    """A killed worker costs at most its own requests, and a new worker replaces it.

    The metrics of all workers add up, a reload reaches all of them, and no file stays behind.
    """
    with serving(
        tmp_path, workers=2, model_dir=models, default_model="classic", admin_token=TOKEN
    ) as server:
        server.wait_for_starts(2)
        clients = 4
        with Load(server, clients=clients) as load:
            eventually(lambda: load.statuses[200] > 50)
            victim = min(server.workers())
            os.kill(victim, signal.SIGKILL)
            eventually(lambda: len(server.workers() - {victim}) == 2)
            seen = load.statuses[200]
            eventually(lambda: load.statuses[200] > seen + 50)
        assert not load.wrong
        assert set(load.statuses) <= {200, 0}
        assert load.statuses[0] <= clients

        def uncounted() -> float:
            labels = {"route": "/predict", "status": "200"}
            return load.statuses[200] - server.metric("digitscope_requests_total", **labels)

        # The victim may have sent responses without counting them.
        eventually(lambda: 0 <= uncounted() <= clients)
        _publish(models, PUBLISHED + 1)
        assert _reload(server).status == 200
        eventually(lambda: _versions(server) == {PUBLISHED + 1})
        # The gauges of the dead worker are gone.
        eventually(
            lambda: server.metric("digitscope_model_version", model="classic") == PUBLISHED + 1
        )
        server.stop()
    assert not list(scratch.iterdir())


def test_workers_end_with_their_supervisor(tmp_path: Path) -> None:
    """If the supervisor is killed, its workers finish and end, and the port is free."""
    with serving(tmp_path, workers=2, drain_delay_s=0) as server:
        server.wait_for_starts(2)
        workers = server.workers()
        server.process.kill()
        eventually(lambda: not any(_runs(worker) for worker in workers))
        assert server.get("/livez").status == 0


def _runs(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2][1] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _versions(server: Server) -> set[int]:
    found: Counter[int] = Counter()
    for _ in range(20):
        found[server.ask(body=sample_png(1)).json["model"]["version"]] += 1
        time.sleep(0.001)
    return set(found)


def test_every_worker_follows_the_folder(tmp_path: Path) -> None:
    """Added, changed and removed bundles take effect in all workers, without an admin token.

    A broken bundle changes nothing else, and its request says why it fails. The metrics show a
    worker that cannot load the model which the other one serves.
    """
    models = tmp_path / "models"
    add_bundle(models, "default")
    add_bundle(models, "removed")
    settings = {"model_dir": models, "default_model": "default", "workers": 2}
    with serving(tmp_path, **settings) as server:
        server.wait_for_starts(2)
        with Load(server, clients=1) as load:
            replace_member(add_bundle(models, "broken"), "config.json", b"[]")
            add_bundle(models, "added", version=3)
            add_bundle(models, "default", version=2)
            shutil.rmtree(models / "removed")
            eventually(lambda: _served(server, "default") == {2})
            eventually(lambda: _served(server, "added") == {3} and _loads(server, "added") == 2)
            eventually(lambda: _served(server, "removed") == {404})
            eventually(lambda: _served(server, "broken") == {503})
        refused = server.ask("/predict?model=broken", sample_png(1)).json
        assert "config.json" in refused["detail"]
        assert set(load.statuses) == {200}
        assert server.get("/readyz").status == 200
        for name, version in (("default", 2), ("added", 3), ("removed", 0), ("broken", 0)):
            wanted = (version, version)
            eventually(lambda name=name, wanted=wanted: _versions_of(server, name) == wanted)
        (models / "added" / COMPILED_FILE).write_bytes(b"damaged")
        os.kill(min(server.workers()), signal.SIGKILL)
        server.wait_for_starts(3)
        eventually(lambda: _served(server, "added") == {3, 503})
        eventually(lambda: _versions_of(server, "added") == (0, 3))


def _versions_of(server: Server, model: str) -> tuple[float, float]:
    """Return the lowest and the highest version of a model that a worker serves, 0 if none."""
    names = "digitscope_model_version", "digitscope_model_version_max"
    lowest, highest = (server.metric(name, model=model) for name in names)
    return lowest, highest


def _loads(server: Server, model: str) -> int:
    """Return how many workers have loaded a model since the start."""
    return server.log.read_text().count(f"the model {model} is version")


def _served(server: Server, model: str) -> set[int]:
    """Return the versions of a model that the workers answer with, or their error statuses."""
    found = set()
    for _ in range(12):
        answer = server.ask(f"/predict?model={model}", sample_png(1))
        found.add(answer.json["model"]["version"] if answer.status == 200 else answer.status)
    return found
