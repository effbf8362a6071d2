"""The HTTP contract: schemathesis sends requests to every route of a real server.

Every response has a documented status, content type and body, and none is a 500. Requests are
generated from the OpenAPI document: its examples, values at every bound, and invalid values.
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
KEY = "the admin token"  # in the settings, too
EXAMPLES = 6  # random requests per route, besides the ones at bounds


def _request_every_route(server: Server, folder: Path, *more: str) -> None:
    server.get("/openapi.json")  # written once; schemathesis waits 10 s for it
    done = subprocess.run(
        [
            *(BIN / "schemathesis", "--config-file", CONFIG, "run"),
            f"http://127.0.0.1:{server.port}/openapi.json",
            *("--phases", "examples,coverage,fuzzing", "--mode", "all"),
            *("--generation-database", "none", "--continue-on-failure", *more),
        ],
        cwd=folder,  # schemathesis writes a cache into its working folder
        env={
            **os.environ,
            "COMPACT_VERSION": server.get(
                "/v2/models/compact", Authorization="Bearer the admin token"
            ).json["versions"][0],
            "PYTHONPATH": str(REPOSITORY),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]


def test_every_response_is_documented(server: Server, tmp_path: Path) -> None:
    """About 2,000 requests, the same each time, get only documented responses."""
    _request_every_route(server, tmp_path, "--max-examples", str(EXAMPLES), "--seed", "1")
    document = server.get("/openapi.json").json
    for path, operations in document["paths"].items():
        route = path.replace("{layer}", "{layer:path}")
        for method in operations:
            answered = server.metric("digitscope_requests_total", route=route, status="200")
            assert answered > 0, f"{method} {path} was never answered with 200"


@pytest.mark.skipif("SOAK_MINUTES" not in os.environ, reason="only in make soak")
def test_every_response_is_documented_for_long(server: Server, tmp_path: Path) -> None:
    """Other requests each time, for SOAK_MINUTES."""
    seconds = round(60 * float(os.environ["SOAK_MINUTES"]))
    _request_every_route(server, tmp_path, "--max-examples", "1000", "--max-time", str(seconds))


def test_refusals_of_every_route_are_documented(tmp_path: Path) -> None:
    """With API keys and a rate limit, each route gives only documented refusals."""
    settings = {"admin_token": "the admin token", "rate_limit_per_s": 50}
    with serving(tmp_path, api_keys="the key of a client", **settings) as server:
        document = server.get("/openapi.json").json
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                place = path.format(model="compact", layer="0", version="2")
                for headers in ({}, {"X_API_Key": "the admin token", "X_Request_Timeout": "soon"}):
                    answer = server.ask(place, method=method.upper(), **headers)
                    documented = operation["responses"][str(answer.status)]
                    assert answer.headers["content-type"] in documented["content"], (path, answer)


def test_corrections_follow_the_document(tmp_path: Path) -> None:
    """Where corrections are on, their routes give documented responses only."""
    folder = tmp_path / "corrections"
    with serving(tmp_path, api_keys=KEY, feedback_dir=folder) as server:
        _request_every_route(
            server, tmp_path, "--include-path-regex", "feedback", "--max-examples", str(EXAMPLES)
        )
        assert list(folder.glob("*.png"))
