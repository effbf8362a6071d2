"""`GET /models`, `/models/{model}`, the probes and the version."""

import hashlib

from fastapi.testclient import TestClient

from app.settings import REPOSITORY
from app.version import VERSION


def test_list_names_the_default(client: TestClient) -> None:
    """The list holds every bundle in model/, exactly one of them the default."""
    answer = client.get("/models").json()
    folders = {path.parent.name for path in (REPOSITORY / "model").glob("*/metadata.json")}
    assert {model["name"] for model in answer["models"]} == folders
    assert [model["name"] for model in answer["models"] if model["default"]] == [answer["default"]]


def test_details_are_those_of_the_bundle(client: TestClient) -> None:
    """A model is described by the hash of its Keras file, its metrics and its recipe."""
    answer = client.get("/models/classic").json()
    content = (REPOSITORY / "model" / "classic" / "model.keras").read_bytes()
    assert answer["sha256"] == hashlib.sha256(content).hexdigest()
    test = answer["metrics"]["test"]
    assert test["interval"]["low"] <= test["error_rate"] <= test["interval"]["high"]
    assert answer["recipe"]["build"] == "classic"


def test_unknown_model_lists_the_valid_names(client: TestClient) -> None:
    """An unknown model is a 404 that names those that exist, on every route that takes one."""
    for answer in (
        client.get("/models/clasic"),
        client.post("/predict?model=clasic", content=b"x"),
    ):
        assert answer.status_code == 404
        assert "classic" in answer.json()["valid"]


def test_probes(client: TestClient) -> None:
    """A started service is alive and ready."""
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_version(client: TestClient) -> None:
    """The version is the package's own."""
    assert client.get("/version").json()["version"] == VERSION


def test_home_leads_to_the_docs(client: TestClient) -> None:
    """The root leads on to something to look at."""
    assert client.get("/").status_code == 200
