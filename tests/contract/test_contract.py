"""The HTTP contract: schemathesis asks every route of a real server, by the document it publishes.

No response outside the document: its status, its content type and its body are those that stand
there, and none is a 500. Bodies and parameters are what the document asks for (examples, and values
at every bound), and what it does not.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import REPOSITORY
from tests.server.process import Server, serving

BIN = Path(sys.executable).parent
CONFIG = REPOSITORY / "tests" / "contract" / "schemathesis.toml"
EXAMPLES = 6  # at random, of each route; those at bounds come on top


def _ask_every_route(server: Server, folder: Path, *more: str) -> None:
    done = subprocess.run(
        [
            *(BIN / "schemathesis", "--config-file", CONFIG, "run"),
            f"http://127.0.0.1:{server.port}/openapi.json",
            *("--phases", "examples,coverage,fuzzing", "--mode", "all"),
            *("--generation-database", "none", "--continue-on-failure", *more),
        ],
        cwd=folder,  # it leaves a cache where it runs
        env={
            **os.environ,
            "COMPACT_VERSION": server.get("/v2/models/compact").json["versions"][0],
            "PYTHONPATH": str(REPOSITORY),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    """A running server with an admin token."""
    folder = tmp_path_factory.mktemp("contract")
    with serving(folder, admin_token="the admin token") as server:
        yield server
        assert "Traceback" not in server.log.read_text()


def test_no_answer_is_outside_the_contract(server: Server, tmp_path: Path) -> None:
    """Some 2,000 requests, the same each time: every answer is one that the document shows."""
    _ask_every_route(server, tmp_path, "--max-examples", str(EXAMPLES), "--seed", "1")
    document = server.get("/openapi.json").json
    for path, operations in document["paths"].items():
        if path.endswith("/unload"):  # is always refused
            continue
        route = path.replace("{layer}", "{layer:path}")
        for method in operations:
            read = server.metric("digitscope_requests_total", route=route, status="200")
            assert read > 0, f"{method} {path} was never answered with 200"


@pytest.mark.skipif("SOAK_MINUTES" not in os.environ, reason="on demand: make soak")
def test_no_answer_is_outside_the_contract_for_long(server: Server, tmp_path: Path) -> None:
    """The same with other requests each time, for as many minutes as are asked for."""
    seconds = round(60 * float(os.environ["SOAK_MINUTES"]))
    _ask_every_route(server, tmp_path, "--max-examples", "1000", "--max-time", str(seconds))


def test_keys_rates_and_deadlines_are_in_the_contract(tmp_path: Path) -> None:
    """With API keys and a rate limit the refusals of every route are those of the document too."""
    settings = {"admin_token": "the admin token", "rate_limit_per_s": 50}
    with serving(tmp_path, api_keys="the admin token", **settings) as server:
        document = server.get("/openapi.json", X_API_Key="the admin token").json
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                place = path.format(model="compact", layer="0", version="2")
                for headers in ({}, {"X_API_Key": "the admin token", "X_Request_Timeout": "soon"}):
                    answer = server.ask(place, method=method.upper(), **headers)
                    found = operation["responses"][str(answer.status)]
                    assert answer.headers["content-type"] in found["content"], (path, answer)
