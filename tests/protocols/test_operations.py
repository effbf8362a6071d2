"""docs/protocols.md lists the operations of the protocols as the service answers them."""

import base64
import json
import re

import pytest

from app.samples import sample_png
from app.settings import REPOSITORY
from tests.conftest import PUBLISHED
from tests.server.process import Server

PAGE = (REPOSITORY / "docs" / "protocols.md").read_text()
ROWS = re.findall(r"^\| `(GET|POST) (/v\S+)` \| ([a-z ]+) \|", PAGE, re.MULTILINE)
TOKEN = {"Authorization": "Bearer the admin token"}
FILE = base64.b64encode(sample_png(7)).decode()
TENSOR = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [FILE]}


def _body(path: str) -> bytes:
    if path.endswith("infer"):
        return json.dumps({"inputs": [TENSOR]}).encode()
    if ":" in path:
        return json.dumps({"instances": [{"b64": FILE}]}).encode()
    return b""


@pytest.mark.parametrize(("method", "path", "state"), ROWS, ids=[f"{m} {p}" for m, p, _ in ROWS])
def test_operation_is_as_the_page_says(server: Server, method: str, path: str, state: str) -> None:
    """A supported operation succeeds, another is refused in the form of its protocol."""
    place = path.format(model="classic", version=PUBLISHED, region="r", label="stable")
    body = _body(path) if method == "POST" else None
    answer = server.ask(place, body, method=method, **TOKEN)
    if state == "supported":
        assert answer.status == 200, answer
        return
    assert list(answer.json) == ["error"]
    expected = {"refused": (400, 404), "not applicable": (404,)}[state]
    assert answer.status in expected, answer


def test_no_operation_is_missing(server: Server) -> None:
    """Every operation of the OpenAPI document below /v1 and /v2 is on the page, as supported."""
    document = server.get("/openapi.json").json
    served = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        if path.startswith(("/v1", "/v2"))
        for method in methods
    }
    assert served == {(method, path) for method, path, state in ROWS if state == "supported"}


def test_methods_of_grpc_are_listed() -> None:
    """Every method of the schema is in the table of gRPC; those that are supported are in both."""
    schema = (REPOSITORY / "app" / "protocols" / "grpc" / "inference.proto").read_text()
    methods = set(re.findall(r"^ +rpc (\w+)", schema, re.MULTILINE))
    rows = dict(re.findall(r"^\| `([A-Z]\w+)` \| ([a-z ]+) \|", PAGE, re.MULTILINE))
    assert methods <= rows.keys()
    assert {name for name, state in rows.items() if state == "supported"} <= methods
