"""A TypeScript client, generated from the OpenAPI document by openapi-typescript."""

import json
import shutil
import subprocess
from pathlib import Path

from app.inference.model import Model
from app.settings import REPOSITORY
from tests.server.process import Server

HERE = Path(__file__).parent


def test_client_is_typed_and_gets_answers(
    server: Server, classic: Model, node_modules: Path, tmp_path: Path
) -> None:
    """A strict compiler accepts a client of the generated types, and the client gets answers."""
    address = f"http://127.0.0.1:{server.port}"
    (tmp_path / "node_modules").symlink_to(node_modules.absolute())
    for name in ("client.ts", "generate.mjs", "package.json", "tsconfig.json"):
        shutil.copy(HERE / name, tmp_path)

    def run(*command: object) -> str:
        done = subprocess.run(
            ["node", *map(str, command)], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert not done.stderr
        return done.stdout

    (tmp_path / "service.d.ts").write_text(run("generate.mjs", f"{address}/openapi.json"))
    run("node_modules/typescript/bin/tsc", "--project", ".")
    samples = REPOSITORY / "app" / "samples"
    said = json.loads(run("client.js", address, samples / "7.png", samples / "2.png"))
    names = [layer.name for layer in classic.network.layers]
    problem = said.pop("problem")
    assert said.pop("stages")
    assert said == {
        "digits": [7, 7, 7],
        "verdict": "digit",
        "batch": [7, 2, 400],
        "text": "7",
        "layers": names,
        "inspected": names,
        "method": "gradient",
        "outputs": ["probabilities", "digit", "label"],
    }
    assert (problem["status"], problem["detail"]) == (404, "There is no model 'nope'.")
    assert "classic" in problem["valid"]
