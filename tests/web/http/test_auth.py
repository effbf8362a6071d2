"""Keys, rates, and what is written about each request."""

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


def test_keys_are_needed_everywhere_but_for_probes() -> None:
    """Without a key, or with a wrong one, every route but the probes answers 401 with a problem."""
    with _client(api_keys="first-key, second-key") as client:
        for headers in ({}, {"X-API-Key": "third-key"}, {"Authorization": "Basic first-key"}):
            answer = client.post("/predict", files=FILES, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.json()["type"] == "urn:digitscope:problem:unauthorised"
            assert answer.headers["X-Request-ID"] == answer.json()["request_id"]
        for headers in ({"X-API-Key": "second-key"}, {"Authorization": "Bearer first-key"}):
            assert client.post("/predict", files=FILES, headers=headers).json()["digit"] == 7
        assert client.get("/openapi.json").status_code == 401
        for probe in ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready"):
            assert client.get(probe).status_code == 200


def test_operator_needs_no_key_beside_the_token() -> None:
    """Where keys are needed, the admin token is one; sent beside another key it is found, too."""
    with _client(api_keys="first-key", admin_token="the admin token") as client:
        token = {"Authorization": "Bearer the admin token"}
        for headers, status in (
            (token, 200),
            ({**token, "X-API-Key": "first-key"}, 200),
            ({"Authorization": "Bearer first-key", "X-API-Key": "the admin token"}, 200),
            ({"Authorization": "Bearer first-key"}, 401),
            ({"Authorization": "Bearer another token"}, 401),
        ):
            answer = client.post("/models/compact/reload", headers=headers)
            assert answer.status_code == status, headers
        assert client.post("/predict", files=FILES, headers=token).json()["digit"] == 7


def test_each_client_has_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may save up for two seconds; then it gets 429 with a time, and others do not."""
    now = [100.0]
    monkeypatch.setattr("app.web.http.auth.time.monotonic", lambda: now[0])
    access = Access(keys=(), per_second=5)
    for _ in range(10):
        access.check("/predict", (), "a")
    with pytest.raises(RateLimitError) as caught:
        access.check("/predict", (), "a")
    assert caught.value.headers == {"Retry-After": "1"}
    access.check("/predict", (), "b")
    access.check("/livez", (), "a")
    now[0] += 0.2
    access.check("/predict", (), "a")
    with pytest.raises(RateLimitError):
        access.check("/predict", (), "a")


def test_clients_are_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses ask, only so many are remembered."""
    monkeypatch.setattr("app.web.http.auth.MAX_CLIENTS", 50)
    access = Access(keys=(), per_second=1)
    for index in range(500):
        access.check("/predict", (), f"10.0.0.{index}")
    assert len(access._buckets) == 50


def test_rate_over_http() -> None:
    """The answer is a problem with Retry-After, and it is counted."""
    with _client(rate_limit_per_s=1) as client:
        statuses = [client.get("/version").status_code for _ in range(4)]
        assert statuses == [200, 200, 429, 429]
        answer = client.get("/version")
        assert answer.headers["Retry-After"] == "1"
        assert answer.json()["title"] == "Too many requests"
        counts = client.app_state["service"].metrics.text().decode()
        assert 'digitscope_requests_total{method="GET",route="/version",status="429"} 3.0' in counts


def test_each_request_gets_a_line_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    """The line has method, path, status, time and the id that the answer has; no key, no image."""
    with _client(api_keys="secret-key") as client, caplog.at_level(logging.INFO):
        logging.getLogger().addHandler(caplog.handler)
        answer = client.post("/predict", files=FILES, headers={"X-API-Key": "secret-key"})
        client.get("/no%0Asuch%0Dpath", headers={"X-API-Key": "secret-key"})
    record, other = [one for one in caplog.records if one.name == "digitscope.access"]
    line = json.loads(JsonFormatter().format(record))
    assert line["message"] == "POST /predict 200"
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert line["ms"] > 0
    assert other.getMessage() == "GET /no%0Asuch%0Dpath 404"
    text = TextFormatter("%(message)s").format(record)
    assert text.startswith(f"POST /predict 200 request_id={line['request_id']} ms=")
    assert "secret-key" not in str(record.__dict__)
