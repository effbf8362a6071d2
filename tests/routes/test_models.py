"""`GET /models` and `/models/{model}`, the probes and the version."""

import hashlib

from fastapi.testclient import TestClient

from app.settings import REPOSITORY
from app.version import VERSION


def test_list_marks_the_default_model(client: TestClient) -> None:
    """The list has every bundle in model/; exactly one is the default."""
    answer = client.get("/models").json()
    folders = {path.parent.name for path in (REPOSITORY / "model").glob("*/metadata.json")}
    assert {model["name"] for model in answer["models"]} == folders
    assert [model["name"] for model in answer["models"] if model["default"]] == [answer["default"]]


def test_details_are_those_of_the_bundle(client: TestClient) -> None:
    """The description has the hash of the Keras file, the metrics and the recipe."""
    answer = client.get("/models/classic").json()
    content = (REPOSITORY / "model" / "classic" / "model.keras").read_bytes()
    assert answer["sha256"] == hashlib.sha256(content).hexdigest()
    test = answer["metrics"]["test"]
    assert test["interval"]["low"] <= test["error_rate"] <= test["interval"]["high"]
    assert answer["recipe"]["build"] == "classic"


def test_unknown_model_lists_the_valid_names(client: TestClient) -> None:
    """Every route that takes a model answers an unknown one with 404 and the valid names."""
    for answer in (
        client.get("/models/clasic"),
        client.post("/predict?model=clasic", content=b"x"),
    ):
        assert answer.status_code == 404
        assert "classic" in answer.json()["valid"]


def test_started_service_is_alive_and_ready(client: TestClient) -> None:
    """Both probes answer 200."""
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_version_is_the_package_s(client: TestClient) -> None:
    """`GET /version` returns the version of the package."""
    assert client.get("/version").json()["version"] == VERSION


def test_home_leads_to_the_docs(client: TestClient) -> None:
    """The page at `/` links to the docs."""
    assert client.get("/").status_code == 200
