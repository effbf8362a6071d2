"""The OpenAPI document is complete, and its examples are real."""

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from app.web.requests.images import ONE_IMAGE_TYPES


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict:
    """Return the published document."""
    return client.get("/openapi.json").json()


def test_predict_lists_every_body_form(document: dict) -> None:
    """Every accepted media type is in the document; the form with its file chooser is first."""
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(content) == set(ONE_IMAGE_TYPES)
    assert next(iter(content)) == "multipart/form-data"
    assert content["multipart/form-data"]["schema"] == {"$ref": "#/components/schemas/ImageForm"}
    form = document["components"]["schemas"]["ImageForm"]
    assert form["properties"]["file"]["format"] == "binary"


def test_example_requests_give_the_example_responses(client: TestClient, document: dict) -> None:
    """Each example request gives exactly one of the example responses."""
    operation = document["paths"]["/predict"]["post"]
    bodies = operation["requestBody"]["content"]["application/json"]["examples"]
    shown = operation["responses"]["200"]["content"]["application/json"]["examples"]
    probabilities = [answer["value"]["probabilities"] for answer in shown.values()]
    for body in bodies.values():
        answer = client.post("/predict", json=body["value"]).json()
        assert answer["probabilities"] in probabilities
    many = document["paths"]["/predict/batch"]["post"]
    items = many["requestBody"]["content"]["application/json"]["example"]
    expected = many["responses"]["200"]["content"]["application/json"]["example"]
    assert client.post("/predict/batch", json=items).json() == expected


def test_schemas_have_names_of_their_own(document: dict) -> None:
    """No two models share a name: FastAPI would add their modules, and client generators fail."""
    assert not [name for name in document["components"]["schemas"] if "__" in name]


def test_every_error_has_an_example_of_its_status(document: dict) -> None:
    """Each error response has an example of its status, or of its protocol's form."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status == "200":
                    continue
                if path.startswith(("/v1", "/v2")):
                    assert response["content"]["application/json"]["example"].keys() == {"error"}
                    continue
                examples = response["content"]["application/problem+json"]["examples"]
                assert {example["value"]["status"] for example in examples.values()} == {
                    int(status)
                }


def test_references_resolve_and_operations_are_named(document: dict) -> None:
    """Every `$ref` points to an existing schema, and operation ids are unique."""
    text = str(document)
    schemas = document["components"]["schemas"]
    used = {part.split("'")[0] for part in text.split("#/components/schemas/")[1:]}
    assert used <= set(schemas)
    assert "HTTPValidationError" not in text
    operations = [op for ops in document["paths"].values() for op in ops.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert all(re.fullmatch("[a-z0-9]+(_[a-z0-9]+){0,2}", name) for name in names)
    tags = {tag["name"] for tag in document["tags"]}
    assert all(set(operation["tags"]) <= tags and operation["tags"] for operation in operations)


def _schemas(at: object) -> Iterator[dict]:
    """Yield every schema and every part of one, without the examples."""
    if isinstance(at, dict):
        yield at
        for key, value in at.items():
            if key not in ("example", "examples"):
                yield from _schemas(value)
    elif isinstance(at, list):
        for value in at:
            yield from _schemas(value)


def test_every_concept_is_one_named_schema(document: dict) -> None:
    """No route has an anonymous object, and no set of choices appears twice."""
    anonymous = [at for at in _schemas(document["paths"]) if at.get("type") == "object"]
    assert not anonymous
    choices = [tuple(at["enum"]) for at in _schemas(document) if "enum" in at]
    assert len(choices) == len(set(choices))
