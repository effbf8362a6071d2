"""The OpenAPI document is complete, and its examples are real."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.inference.model import Model
from app.main import create_app
from app.settings import Settings
from app.web.requests.images import ONE_IMAGE_TYPES
from app.web.responses.openapi_examples import example_answers, operations
from benchmarks.openapi_examples import TOKEN, json_example, make_answers

VERSIONED = {"version", "oip_server"}  # operations that name the version of digitscope
MAX_TEXT = 200  # characters of a text that is compared; longer ones are pictures in base64


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict:
    """Return the published document."""
    return client.get("/openapi.json").json()


def test_document_is_valid(document: dict) -> None:
    """The document follows the specification; `tests/clients/test_document.py` asks more tools."""
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_predict_lists_every_body_form(document: dict) -> None:
    """Every accepted media type is in the document; the form with its file chooser is first."""
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(content) == set(ONE_IMAGE_TYPES)
    assert next(iter(content)) == "multipart/form-data"
    assert content["multipart/form-data"]["schema"] == {"$ref": "#/components/schemas/ImageForm"}
    form = document["components"]["schemas"]["ImageForm"]
    assert form["properties"]["file"]["format"] == "binary"


@pytest.fixture(scope="module")
def examples() -> dict[str, Any]:
    """Return the responses of the default settings to the example requests, by operation."""
    with TestClient(create_app(Settings(admin_token=TOKEN))) as client:
        return make_answers(client)


def test_example_responses_are_real(examples: dict[str, Any]) -> None:
    """Each operation's example request gives its example response.

    `python -m benchmarks.openapi_examples` renews the responses.
    """
    shown = example_answers()
    assert examples.keys() == shown.keys()
    for name, answer in examples.items():
        if name in VERSIONED:
            assert answer.keys() == shown[name].keys(), name
        else:
            assert _is_alike(answer, shown[name]), name


def _is_alike(one: object, other: object) -> bool:
    """Tell whether two JSON values are equal, but for rounding and for what is in pictures."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_alike, one, other))
    if isinstance(one, str) and isinstance(other, str) and len(one) > MAX_TEXT:
        return len(other) > MAX_TEXT
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == pytest.approx(other, rel=0.01, abs=0.01)
    return one == other


def test_every_operation_has_examples(document: dict) -> None:
    """Each operation has an example of its response and of all that it requires.

    Swagger UI would stop at "Required field is not provided" without the latter.
    """
    for path, _, operation in operations(document):
        content = next(iter(operation["responses"]["200"]["content"].values()))
        assert "example" in content, path
        for parameter in operation.get("parameters", ()):
            assert "example" in parameter or not parameter.get("required"), (path, parameter)
        if "requestBody" in operation:
            assert json_example(operation) is not None, path


def test_examples_are_for_the_default_model(document: dict, classic: Model) -> None:
    """The examples of parameters exist in the default model, which is another than usual here."""
    names = {layer.name for layer in classic.network.layers}
    for path, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            if parameter["name"] == "layer" and parameter.get("required"):
                assert parameter["example"] in names, path
            if parameter["name"] == "model" and parameter.get("required"):
                assert parameter["example"] == "classic", path


def test_schemas_have_names_of_their_own(document: dict) -> None:
    """No two models share a name: FastAPI would add their modules, and client generators fail."""
    assert not [name for name in document["components"]["schemas"] if "__" in name]


def test_every_error_has_an_example_of_its_status(document: dict) -> None:
    """Each error response has an example of its status, or of its protocol's form."""
    for path, _, operation in operations(document):
        for status, response in operation["responses"].items():
            if status == "200":
                continue
            if path.startswith(("/v1", "/v2")):
                assert response["content"]["application/json"]["example"].keys() == {"error"}
                continue
            examples = response["content"]["application/problem+json"]["examples"]
            assert {example["value"]["status"] for example in examples.values()} == {int(status)}


def test_references_resolve_and_operations_are_named(document: dict) -> None:
    """Every `$ref` points to an existing schema, and operation ids are unique."""
    text = str(document)
    schemas = document["components"]["schemas"]
    used = {part.split("'")[0] for part in text.split("#/components/schemas/")[1:]}
    assert used <= set(schemas)
    assert "HTTPValidationError" not in text
    all_operations = [operation for _, _, operation in operations(document)]
    names = [operation["operationId"] for operation in all_operations]
    assert len(names) == len(set(names))
    assert all(re.fullmatch("[a-z0-9]+(_[a-z0-9]+){0,2}", name) for name in names)
    tags = {tag["name"] for tag in document["tags"]}
    assert all(set(one["tags"]) <= tags and one["tags"] for one in all_operations)


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
