"""The commands of the README and of the guides, run as they are written."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.bundle import Metadata
from app.settings import REPOSITORY
from tests.server.process import PATIENCE_S

README = (REPOSITORY / "README.md").read_text()
USING, *OTHER_GUIDES = (
    (REPOSITORY / "docs" / f"{name}.md").read_text()
    for name in ("using", "deploying", "training", "your-digits")
)
BLOCKS = re.findall(r"```sh\n(.*?)```", "\n".join([README, USING, *OTHER_GUIDES]), re.DOTALL)
# Each command once, in the order of the pages.
COMMANDS = list(dict.fromkeys(line for block in BLOCKS for line in block.splitlines() if line))
MAX_README_WORDS = 600  # before "Where things are"
CLIENTS = REPOSITORY / ".venv" / "clients" / ".node"
RAY_SERVERS = [line for line in COMMANDS if re.search(r"digitscope cluster|serve run", line)]
SERVERS = [
    pytest.param("make serve", marks=pytest.mark.tools),
    *(pytest.param(command, marks=pytest.mark.cluster) for command in RAY_SERVERS),
]


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[None]:
    """`make serve`, or another serving command, started as the README says."""
    command = getattr(request, "param", "make serve")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8000)) == 0:
            pytest.skip("port 8000 of this machine is in use")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("DIGITSCOPE_")
    }
    environment["RAY_USAGE_STATS_ENABLED"] = "0"
    process = subprocess.Popen(
        shlex.split(command), cwd=REPOSITORY, env=environment, start_new_session=True
    )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen("http://127.0.0.1:8000/readyz", timeout=1)
                break
            except OSError:
                assert process.poll() is None, f"{command} ended"
                time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=PATIENCE_S)


def test_first_commands() -> None:
    """The README starts with `make serve`, `make test` and one curl command, and stays short."""
    assert COMMANDS[:2] == ["make serve", "make test"]
    assert COMMANDS[2].startswith("curl ")
    assert len(README.partition("## Where things are")[0].split()) <= MAX_README_WORDS


@pytest.mark.parametrize("served", SERVERS, indirect=True)
def test_curl_gives_the_answer_shown(served: None) -> None:
    """The curl command gives the answer that the guide shows, and the README in part."""
    command = next(line for line in COMMANDS if line.startswith("curl"))
    shown, part = (
        json.loads(re.search(re.escape(command) + r".*?```json\n(.*?)```", page, re.DOTALL)[1])
        for page in (USING, README)
    )
    assert part.items() <= shown.items()
    done = subprocess.run(shlex.split(command), cwd=REPOSITORY, capture_output=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["probabilities"] == pytest.approx(shown["probabilities"], abs=1e-3)
    assert {**answer, "probabilities": 0, "confidence": 0} == {
        **shown,
        "probabilities": 0,
        "confidence": 0,
    }


@pytest.mark.clients
def test_clients_are_generated(served: None) -> None:
    """The client generators accept `make serve`, by the guide's commands."""
    commands = [line for line in COMMANDS if "/clients/" in line]
    assert len(commands) == 2
    if not CLIENTS.exists() and "DEMAND_CLIENTS" not in os.environ:
        pytest.skip("`make clients` has not been run")
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command], cwd=REPOSITORY, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning" not in done.stdout.lower(), done.stdout


@pytest.mark.parametrize(
    "folder",
    sorted(path.parent for path in (REPOSITORY / "model").glob("*/metadata.json")),
    ids=lambda at: at.name,
)
def test_table_of_models_matches_the_metadata(folder: Path) -> None:
    """Each row of the table of models matches the model's metadata."""
    known = Metadata.model_validate_json((folder / "metadata.json").read_text())
    test = known.test
    assert test
    row = (
        f"| [`{known.name}`](model/{known.name}/MODEL_CARD.md) | {100 * test.error_rate:.2f} %"
        f" | {100 * test.interval.low:.2f} % to {100 * test.interval.high:.2f} %"
        f" | {test.errors} of 10,000 | {known.parameters:,} | {known.multiply_adds / 1e6:.1f} M |"
    )
    assert row in README.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(line, marks=[pytest.mark.cluster] if "--ray" in line else [])
        for line in COMMANDS
        if line.startswith(".venv/bin/digitscope") and line not in RAY_SERVERS
    ],
)
def test_digitscope_command_runs(command: str, tmp_path) -> None:
    """Each `digitscope` command of the pages that needs no MNIST succeeds; the others exist."""
    words = shlex.split(command)
    if "--data" in words:
        words = [*words[:2], "--help"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("make ")])
def test_make_commands_are_targets(command: str) -> None:
    """Each `make` command of the pages is a target."""
    words = [*shlex.split(command), "--dry-run"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_make_test_is_a_target() -> None:
    """`make test` runs pytest."""
    done = subprocess.run(["make", "-n", "test"], cwd=REPOSITORY, capture_output=True, text=True)
    assert "pytest" in done.stdout
