"""The OpenAPI document passes Redocly's and Spectral's rules, without a warning."""

import json
import os
import subprocess
from pathlib import Path

from tests.server.process import Server

REDOCLY = "extends: [recommended]\n"
SPECTRAL = "extends: ['spectral:oas']\n"


def test_validators_find_nothing(server: Server, node_modules: Path, tmp_path: Path) -> None:
    """Examples fit their schemas, and nothing that a client generator needs is missing."""
    (tmp_path / "openapi.json").write_bytes(server.get("/openapi.json").content)
    (tmp_path / "redocly.yaml").write_text(REDOCLY)
    (tmp_path / "spectral.yaml").write_text(SPECTRAL)
    environment = {**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "1"}
    commands = (
        ("redocly", "lint", "--format=json", "--config=redocly.yaml", "openapi.json"),
        ("spectral", "lint", "--ruleset=spectral.yaml", "--fail-severity=hint", "openapi.json"),
    )
    running = [
        subprocess.Popen(
            [node_modules.absolute() / ".bin" / name, *options],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, *options in commands
    ]
    redocly, spectral = (process.communicate()[0] for process in running)
    assert json.loads(redocly)["problems"] == []
    assert "No results with a severity" in spectral, spectral
    assert [process.returncode for process in running] == [0, 0]
