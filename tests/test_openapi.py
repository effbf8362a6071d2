"""The OpenAPI document: complete, and its examples give the answers that it shows."""

import pytest
from fastapi.testclient import TestClient

from app.web.body import ONE_IMAGE_TYPES


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict:
    """The document as the service publishes it."""
    return client.get("/openapi.json").json()


def test_predict_lists_every_body_form(document: dict) -> None:
    """Every media type that is read is in the document, the form with its file chooser first."""
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(content) == set(ONE_IMAGE_TYPES)
    assert next(iter(content)) == "multipart/form-data"
    assert content["multipart/form-data"]["schema"]["properties"]["file"]["format"] == "binary"


def test_examples_give_the_answers_shown(client: TestClient, document: dict) -> None:
    """Posting each example body gives, to the letter, one of the answers in the document."""
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


def test_every_error_has_an_example_of_its_status(document: dict) -> None:
    """Each error response shows problems of its status, or the error form of its protocol."""
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
    """Every $ref points to a schema that exists, and operation ids are unique."""
    text = str(document)
    schemas = document["components"]["schemas"]
    used = {part.split("'")[0] for part in text.split("#/components/schemas/")[1:]}
    assert used <= set(schemas)
    assert "HTTPValidationError" not in text
    names = [op["operationId"] for ops in document["paths"].values() for op in ops.values()]
    assert len(names) == len(set(names))
