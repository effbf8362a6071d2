"""Faults around the service, one at a time, while requests arrive."""

import io
import json
import os
import shutil
import signal
import subprocess
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from app.bundle import COMPILED_FILE, KERAS_FILE, METADATA, open_bundle, seal
from app.embeddings import EMBEDDINGS_FILE
from app.samples import sample_png
from tests.conftest import PUBLISHED
from tests.server.footprint import memory_mb
from tests.server.process import PATIENCE_S, Answer, Load, Server, eventually, serving
from tests.server.test_life_cycle import TOKEN, _publish, _reload

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
JUMPS_D = (4000, -4000, 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        if os.environ.get("DEMAND_FAULTS"):
            pytest.fail("cannot mount a small disk")
        pytest.skip("needs the right to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass  # the disk is full


@pytest.mark.tools
def test_worker_that_starts_on_a_full_disk_serves(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room for shared metrics, a new worker logs that and serves all the same."""
    monkeypatch.setenv("TMPDIR", str(small_disk))
    with serving(tmp_path, workers=2) as server:
        server.wait_for_starts(2)
        _fill(small_disk)
        with Load(server, clients=2) as load:
            victim = min(server.workers())
            os.kill(victim, signal.SIGKILL)
            eventually(lambda: "will be missing from /metrics" in server.log.read_text())
            eventually(lambda: len(server.workers() - {victim}) == 2)
            workers, seen = server.workers(), load.statuses[200]
            eventually(lambda: load.statuses[200] > seen + 200)
            assert server.workers() == workers
        assert not load.wrong
        assert load.statuses[0] <= 2  # the requests of the killed worker
        assert server.get("/metrics").status == 200


@pytest.mark.tools
def test_corrections_on_a_full_disk_are_refused_whole(tmp_path: Path, small_disk: Path) -> None:
    """A full or read-only disk gives 503 with the reason; deleting works on a full one."""
    folder, key = small_disk / "corrections", "the key of a client"

    def correct() -> Answer:
        return server.ask("/feedback?label=3", sample_png(3), X_API_Key=key)

    with serving(tmp_path, feedback_dir=folder, api_keys=key) as server:
        kept = [correct().json["id"] for _ in range(2)]
        _fill(small_disk)
        refused = [correct() for _ in range(20)][-1]  # a block may have room for some more lines
        assert (refused.status, refused.json["title"]) == (503, "Corrections cannot be changed")
        assert "No space left on device" in refused.json["detail"]
        deleted = server.ask(f"/feedback/{kept[0]}", method="DELETE", X_API_Key=key)
        assert deleted.status == 204
        (small_disk / "filler").unlink()
        assert correct().status == 201
        lines = (folder / "labels.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
        assert kept[1] in (folder / "labels.jsonl").read_text()
        assert {row["path"] for row in rows} == {path.name for path in folder.glob("*.png")}
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        assert "Read-only file system" in correct().json["detail"]
        assert server.ask(body=sample_png(3), X_API_Key=key).json["digit"] == 3
        server.stop()
        assert "Traceback" not in server.log.read_text()


def test_metrics_survive_the_loss_of_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted files are written again, also by a new worker; damaged ones are survived."""
    temporary, verdicts = tmp_path / "tmp", "digitscope_verdicts_total"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with serving(tmp_path, workers=2) as server:
        server.wait_for_starts(2)
        (folder,) = temporary.glob("digitscope-metrics-*")
        for _ in range(20):
            assert server.ask(body=sample_png(3)).json["digit"] == 3
        shutil.rmtree(folder)
        assert server.get("/metrics").status == 200
        eventually(lambda: server.metric(verdicts) == 20)  # each worker writes its own files
        shutil.rmtree(folder)
        os.kill(min(server.workers()), signal.SIGKILL)
        server.wait_for_starts(3)
        files = [folder / f"counter_{worker}.db" for worker in server.workers()]
        eventually(lambda: _scrape(server) and all(file.exists() for file in files))
        before = server.metric(verdicts)
        assert server.ask(body=sample_png(3)).status == 200
        eventually(lambda: server.metric(verdicts) == before + 1)
        damaged = folder / "counter_1.db"
        damaged.write_bytes(b"x" * 100)
        eventually(lambda: _scrape(server) and "metrics of one worker" in server.log.read_text())
        damaged.unlink()
        eventually(lambda: _scrape(server) and "of all workers again" in server.log.read_text())
        eventually(lambda: server.metric(verdicts) == before + 1)


def _scrape(server: Server) -> bool:
    """Read `/metrics`, which never fails; return True."""
    assert server.get("/metrics").status == 200
    return True


def test_log_on_a_full_disk_costs_no_answer(tmp_path: Path) -> None:
    """If the log cannot be written, only its lines are lost."""
    (tmp_path / "server.log").symlink_to("/dev/full")
    with serving(tmp_path) as server, Load(server, clients=2) as load:
        eventually(lambda: load.statuses[200] > 100)
    assert not load.wrong
    assert set(load.statuses) == {200}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a copy of the classic bundle, which a test may damage."""
    folder = tmp_path / "models"
    shutil.copytree("model/classic", folder / "classic")
    return folder


def test_files_damaged_while_they_are_served(tmp_path: Path, models: Path) -> None:
    """Damaged files change no response and are never loaded; whole files are."""
    bundle = models / "classic"
    with serving(tmp_path, model_dir=models, default_model="classic", admin_token=TOKEN) as server:
        with Load(server, clients=2) as load:
            for name in (COMPILED_FILE, KERAS_FILE, METADATA):
                whole = (bundle / name).read_bytes()
                (bundle / name).write_bytes(whole[: len(whole) // 2])
                assert _reload(server).status == 409
                (bundle / name).write_bytes(whole)
            snapshot = sorted((bundle / "snapshots").iterdir())[0]
            snapshot.write_bytes(b"x")
            refused = server.ask("/snapshots?layer=0", sample_png(1))
            assert (refused.status, refused.json["title"]) == (409, "Damaged model bundle")
            shutil.rmtree(bundle)
            assert _reload(server).status == 409
            assert server.get("/readyz").status == 200
            shutil.copytree("model/classic", bundle)
            _publish(models, PUBLISHED + 1)
            assert _reload(server).status == 200
            eventually(lambda: load.versions[PUBLISHED + 1] > 20)
        assert not load.wrong
        assert set(load.statuses) == {200}


def test_worker_lost_while_a_bundle_is_damaged(tmp_path: Path, models: Path) -> None:
    """The other worker serves on, and a new one starts once the files are whole.

    If no worker is left and none can start, the service ends with a message and exit code 1.
    """
    compiled = models / "classic" / COMPILED_FILE
    whole = compiled.read_bytes()
    settings = {"model_dir": models, "default_model": "classic", "admin_token": TOKEN}
    with serving(tmp_path, workers=2, **settings) as server:
        server.wait_for_starts(2)
        victim = min(server.workers())
        compiled.write_bytes(whole[: len(whole) // 2])
        assert _reload(server).status == 409
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: server.log.read_text().count("could not start") >= 2)
        assert server.ask(body=sample_png(5)).json["digit"] == 5
        compiled.write_bytes(whole)
        server.wait_for_starts(3)
        compiled.write_bytes(whole[: len(whole) // 2])
        for worker in server.workers():
            os.kill(worker, signal.SIGKILL)
        assert server.process.wait(PATIENCE_S) == 1
        assert "no worker serves, and none can start" in server.log.read_text()


def test_invalid_files_with_a_right_hash_are_refused(tmp_path: Path, models: Path) -> None:
    """A file that matches its hash but is no network is refused, and the old model stays."""
    bundle = models / "classic"
    metadata = open_bundle(bundle).metadata
    with serving(tmp_path, model_dir=models, default_model="classic", admin_token=TOKEN) as server:
        for name in (KERAS_FILE, COMPILED_FILE, EMBEDDINGS_FILE):
            whole = (bundle / name).read_bytes()
            for invalid in (b"", b"no network", _hollow(whole)):
                (bundle / name).write_bytes(invalid)
                seal(bundle, metadata)
                assert _reload(server).status == 409, (name, invalid)
            (bundle / name).write_bytes(whole)
        assert server.ask(body=sample_png(5)).json["digit"] == 5


def _hollow(content: bytes) -> bytes:
    """Return an archive whose files are empty except the configuration, or half of another file."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return content[: len(content) // 2]
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(stream, "w") as hollow:
        for name in whole.namelist():
            hollow.writestr(name, whole.read(name) if name == "config.json" else b"{}")
    return stream.getvalue()


def test_many_reloads_at_once(tmp_path: Path, models: Path) -> None:
    """Reloads wait in their own bounded queue; predictions go on, and memory does not grow."""
    settings = {"slow_max_queue": 2, "admin_token": TOKEN}
    with serving(tmp_path, model_dir=models, default_model="classic", **settings) as server:
        with Load(server, clients=2) as load:
            after = []
            for version in range(PUBLISHED + 1, PUBLISHED + 5):
                _publish(models, version)
                statuses = _storm(server)
                assert set(statuses) == {200, 503}
                after.append(memory_mb(server))
            eventually(lambda: load.versions[PUBLISHED + 4] > 0)
        assert not load.wrong
        assert set(load.statuses) == {200}
        # Leaked models would add 100 MB each time. One model of 38 MB may still be in use.
        eventually(lambda: memory_mb(server) - after[1] < 20)


def _storm(server: Server) -> Counter[int]:
    """Send 12 reloads at once and count their statuses."""
    statuses: Counter[int] = Counter()
    threads = [
        threading.Thread(target=lambda: statuses.update([_reload(server).status]))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


@pytest.mark.tools
def test_clock_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that jumps by years changes dates in the log, but no deadline and no rate limit."""
    if not FAKETIME:
        if os.environ.get("DEMAND_FAULTS"):
            pytest.fail("libfaketime is missing")
        pytest.skip("needs Debian's package faketime")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    for name, value in {
        "LD_PRELOAD": str(FAKETIME[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        # With this workaround, threads that wait for the interpreter lock wait busily: on a machine
        # with one free core the start took minutes.
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }.items():
        monkeypatch.setenv(name, value)
    settings = {"rate_limit_per_s": 1e6}
    with serving(tmp_path, **settings) as server, Load(server, clients=2) as load:
        for days in JUMPS_D:
            clock.write_text(f"{days:+}d")
            year = str((datetime.now() + timedelta(days)).year)
            eventually(lambda year=year: _last_line(server).startswith(year))
            seen = load.statuses[200]
            eventually(lambda seen=seen: load.statuses[200] > seen + 20)
            assert server.ask("/inspect", sample_png(2)).status == 200
            assert server.get("/livez").status == 200
            assert _last_line(server).startswith(year)
    assert not load.wrong
    assert set(load.statuses) == {200}


def _last_line(server: Server) -> str:
    return server.log.read_text().splitlines()[-1]
