"""Writes the example responses of the OpenAPI document, by sending its example requests.

python -m benchmarks.openapi_examples
"""

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from app.web.responses import openapi_examples
from app.web.responses.openapi_examples import MAP_HEAD, operations

FILE = Path(openapi_examples.__file__).with_name(openapi_examples.ANSWERS_FILE)
TOKEN = "the admin token"
INSPECT_PATH = "/inspect"
METRIC = "digitscope_model_version"  # the metric that the example of /metrics shows


def main() -> None:
    """Send the example request of each operation and write the responses."""
    with TestClient(create_app(Settings(admin_token=TOKEN))) as client:
        answers = make_answers(client)
    lines = (f"{json.dumps(name)}:{json.dumps(answers[name])}" for name in answers)
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def make_answers(client: TestClient) -> dict[str, Any]:
    """Return the response of each operation to its example request, by the operation's id.

    Args:
        client: A client of the application with its default settings and the token `TOKEN`.
    """
    document = client.get("/openapi.json").json()
    answers = {
        operation["operationId"]: _answer(client, path, method, operation)
        for path, method, operation in operations(document)
    }
    return answers | {MAP_HEAD: _map_head(client, document["paths"][INSPECT_PATH]["post"])}


def _answer(client: TestClient, path: str, method: str, operation: Mapping[str, Any]) -> Any:
    parameters = operation.get("parameters", ())
    values = {one["name"]: one["example"] for one in parameters if "example" in one}
    names = {one["name"] for one in parameters if one["in"] == "path"}
    query = {name: value for name, value in values.items() if name not in names}
    body = json_example(operation)
    answer = client.request(
        method,
        path.format(**{name: quote(values[name], safe="") for name in names}),
        params=query,
        json=body,
        headers={"Accept": "application/json", "Authorization": f"Bearer {TOKEN}"},
    )
    if answer.status_code != 200:
        raise ValueError(f"{method} {path}: {answer.status_code} {answer.text}")
    if answer.headers["content-type"].startswith("application/json"):
        return answer.json()
    pattern = rf"(# \w+ )?{METRIC}[ {{].*\n"
    return "".join(match[0] for match in re.finditer(pattern, answer.text))


def _map_head(client: TestClient, operation: Mapping[str, Any]) -> Any:
    """Return the head of a map of two layers, for the example request of `/inspect`."""
    query = {"include": "map", "layers": "0,softmax"}
    content = client.post(INSPECT_PATH, params=query, json=json_example(operation)).content
    (length,) = struct.unpack_from("<I", content)
    return json.loads(content[4 : 4 + length])


def json_example(operation: Mapping[str, Any]) -> Any:
    """Return the first example of an operation's JSON body; None if it takes no body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    examples = [one["value"] for one in content.get("examples", {}).values()]
    return next(iter([*examples, *([content["example"]] if "example" in content else [])]), None)


if __name__ == "__main__":
    main()
