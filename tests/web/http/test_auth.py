"""API keys, the admin token, rate limits, and the access log."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi.testclient import TestClient

from app.errors import RateLimitError
from app.main import create_app
from app.samples import sample_png
from app.settings import Settings
from app.web.http.auth import Access
from app.web.observability.logs import JsonFormatter, TextFormatter

FILES = {"file": sample_png(7)}


@contextmanager
def _client(**settings: object) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(**settings))) as client:
        yield client


def test_every_route_but_the_probes_needs_a_key() -> None:
    """A request without a valid key is answered with 401 and a problem; probes need no key."""
    with _client(api_keys="first-key, second-key") as client:
        for headers in ({}, {"X-API-Key": "third-key"}, {"Authorization": "Basic first-key"}):
            response = client.post("/predict", files=FILES, headers=headers)
            assert response.status_code == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert response.json()["type"] == "urn:digitscope:problem:unauthorised"
            assert response.headers["X-Request-ID"] == response.json()["request_id"]
        for headers in ({"X-API-Key": "second-key"}, {"Authorization": "Bearer first-key"}):
            assert client.post("/predict", files=FILES, headers=headers).json()["digit"] == 7
        for path in (
            "/models",
            "/metrics",
            "/version",
            "/v2/models",
            "/page",
            "/docs/x",
            "/nothing",
        ):
            assert client.get(path).status_code == 401, path
        for probe in ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready"):
            assert client.get(probe).status_code == 200


PAGE = ("/", "/page/main.js", "/page/samples/3.png", "/docs", "/openapi.json")
SWAGGER = "/static-offline-docs/swagger-ui.css"


def test_page_and_docs_are_open_unless_closed() -> None:
    """A browser may open the page and Swagger UI without a key; a setting closes both."""
    with _client(api_keys="a-key") as client:
        assert {client.get(path).status_code for path in (*PAGE, SWAGGER)} == {200}
    with _client(api_keys="a-key", open_page=False) as client:
        for path in (*PAGE, SWAGGER):
            assert client.get(path).status_code == 401, path
            assert client.get(path, headers={"X-API-Key": "a-key"}).status_code == 200, path
        assert client.get("/livez").status_code == 200


def test_open_page_keeps_the_rate() -> None:
    """A path that needs no key still counts for the rate of its client."""
    with _client(api_keys="a-key", rate_limit_per_s=0.001) as client:
        assert [client.get("/docs").status_code for _ in range(2)] == [200, 429]


def test_wrong_keys_count_for_the_rate() -> None:
    """Keys cannot be guessed faster than the rate."""
    with _client(api_keys="a-key", rate_limit_per_s=0.001) as client:
        answers = [client.get("/models", headers={"X-API-Key": "wrong"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [401, 429]


def test_metrics_need_a_key_unless_opened() -> None:
    """Prometheus sends a key; a setting opens `/metrics` and nothing else."""
    with _client(api_keys="a-key") as client:
        assert client.get("/metrics").status_code == 401
        bearer = {"Authorization": "Bearer a-key"}
        assert client.get("/metrics", headers=bearer).status_code == 200
    with _client(api_keys="a-key", open_metrics=True) as client:
        assert client.get("/metrics").status_code == 200
        assert client.get("/version").status_code == 401


def test_document_declares_the_keys() -> None:
    """Each operation says whether it needs a key; without keys none does."""
    with _client(api_keys="a-key", open_metrics=True) as client:
        document = client.get("/openapi.json").json()
        assert document["security"] == [{"ApiKey": []}, {"BearerKey": []}]
        assert document["components"]["securitySchemes"].keys() == {
            "AdminToken",
            "ApiKey",
            "BearerKey",
        }
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                asked = client.request(method, path.replace("{model}", "compact"))
                needs_key = operation.get("security", document["security"]) != []
                assert (asked.status_code == 401) is needs_key, (method, path)
    with _client() as client:
        document = client.get("/openapi.json").json()
        assert document["security"] == []
        assert document["components"]["securitySchemes"].keys() == {"AdminToken"}


def test_admin_token_is_also_a_key() -> None:
    """The admin token is accepted as an API key, and is found next to another key."""
    with _client(api_keys="first-key", admin_token="the admin token") as client:
        token = {"Authorization": "Bearer the admin token"}
        for headers, status in (
            (token, 200),
            ({**token, "X-API-Key": "first-key"}, 200),
            ({"Authorization": "Bearer first-key", "X-API-Key": "the admin token"}, 200),
            ({"Authorization": "Bearer first-key"}, 401),
            ({"Authorization": "Bearer another token"}, 401),
        ):
            response = client.post("/models/compact/reload", headers=headers)
            assert response.status_code == status, headers
        assert client.post("/predict", files=FILES, headers=token).json()["digit"] == 7


def test_each_client_has_its_own_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may save up two seconds of requests; then it alone gets 429 with Retry-After."""
    now = [100.0]
    monkeypatch.setattr("app.web.http.auth.time.monotonic", lambda: now[0])
    access = Access(keys=(), per_second=5)
    for _ in range(10):
        access.check("/predict", (), "a")
    with pytest.raises(RateLimitError) as error:
        access.check("/predict", (), "a")
    assert error.value.headers == {"Retry-After": "1"}
    access.check("/predict", (), "b")
    access.check("/livez", (), "a")
    now[0] += 0.2
    access.check("/predict", (), "a")
    with pytest.raises(RateLimitError):
        access.check("/predict", (), "a")


def test_number_of_buckets_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many client addresses are kept, however many send requests."""
    monkeypatch.setattr("app.web.http.auth.MAX_CLIENTS", 50)
    access = Access(keys=(), per_second=1)
    for index in range(500):
        access.check("/predict", (), f"10.0.0.{index}")
    assert len(access._buckets) == 50


def test_request_over_the_rate_is_answered_with_429() -> None:
    """The response is a problem with Retry-After, and it is counted."""
    with _client(rate_limit_per_s=0.001) as client:
        statuses = [client.get("/version").status_code for _ in range(3)]
        assert statuses == [200, 429, 429]
        response = client.get("/version")
        assert 0 < int(response.headers["Retry-After"]) <= 1000
        assert response.json()["title"] == "Too many requests"
        metrics = client.app_state["service"].metrics.text().decode()
        assert (
            'digitscope_requests_total{method="GET",route="/version",status="429"} 3.0' in metrics
        )


def test_each_request_is_logged_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    """The line has the method, path, status, time and request id; no key and no image."""
    with _client(api_keys="secret-key") as client, caplog.at_level(logging.INFO):
        logging.getLogger().addHandler(caplog.handler)
        response = client.post("/predict", files=FILES, headers={"X-API-Key": "secret-key"})
        client.get("/no%0Asuch%0Dpath", headers={"X-API-Key": "secret-key"})
    record, other = [entry for entry in caplog.records if entry.name == "digitscope.access"]
    line = json.loads(JsonFormatter().format(record))
    assert line["message"] == "POST /predict 200"
    assert (line["method"], line["path"], line["status"]) == ("POST", "/predict", 200)
    assert "trace_id" not in line
    assert line["request_id"] == response.headers["X-Request-ID"]
    assert line["ms"] > 0
    assert other.getMessage() == "GET /no%0Asuch%0Dpath 404"
    text = TextFormatter("%(message)s").format(record)
    assert text.startswith(f"POST /predict 200 request_id={line['request_id']} ms=")
    assert "secret-key" not in str(record.__dict__)
