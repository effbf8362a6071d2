"""Cross-origin requests: off by default, and what a browser needs where they are on."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.samples import sample_png
from app.settings import Settings

FILES = {"file": sample_png(7)}
OURS, OTHER = "https://example.org", "https://elsewhere.example"
KEY = {"X-API-Key": "a-key"}


@contextmanager
def _client(**settings: object) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(api_keys="a-key", **settings))) as client:
        yield client


def _preflight(client: TestClient, origin: str, path: str = "/predict"):
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, x-api-key",
    }
    return client.options(path, headers=headers)


def _permissions(response) -> dict[str, str]:
    return {name: v for name, v in response.headers.items() if name.startswith("access-control")}


def test_no_origin_is_allowed_by_default() -> None:
    """Responses name no origin, and a preflight request is a request without a key."""
    with _client() as client:
        assert (
            _permissions(client.post("/predict", files=FILES, headers={**KEY, "Origin": OURS}))
            == {}
        )
        assert _preflight(client, OURS).status_code == 401


def test_scripts_of_a_listed_origin_read_every_response() -> None:
    """A preflight request needs no key; answers and refusals name the origin."""
    with _client(cors_origins=f"{OURS}, http://localhost:3000") as client:
        asked = _preflight(client, OURS)
        assert (asked.status_code, asked.content) == (204, b"")
        assert asked.headers["access-control-allow-origin"] == OURS
        assert asked.headers["access-control-allow-headers"] == "content-type, x-api-key"
        assert "POST" in asked.headers["access-control-allow-methods"]
        for path, key, status in (("/models", KEY, 200), ("/models", {}, 401), ("/no", KEY, 404)):
            answer = client.get(path, headers={**key, "Origin": OURS})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == OURS
            assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
            assert "Origin" in answer.headers["vary"]
            assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", [OTHER, "null", f"{OURS}.evil.example", f"{OURS}:444", ""])
def test_other_origins_get_no_permission(origin: str) -> None:
    """Their scripts cannot read the response, and their preflight request fails."""
    with _client(cors_origins=OURS) as client:
        answer = client.get("/models", headers={**KEY, "Origin": origin})
        assert answer.status_code == 200
        assert _permissions(answer) == {}
        assert answer.headers["vary"].endswith("Origin")
        assert _preflight(client, origin).status_code == 401


def test_any_origin_is_never_allowed_with_credentials() -> None:
    """`*` is sent as it is, and a setting that also asks for credentials stops the start."""
    with _client(cors_origins="*") as client:
        answer = client.get("/models", headers={**KEY, "Origin": OTHER})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        assert _preflight(client, OTHER).status_code == 204
    with pytest.raises(ValueError, match="every web site"):
        Settings(cors_origins="*", cors_credentials=True)


def test_credentials_of_a_listed_origin() -> None:
    """Only with the setting, and only for the listed origin."""
    with _client(cors_origins=OURS, cors_credentials=True) as client:
        for origin, allowed in ((OURS, "true"), (OTHER, None)):
            answer = client.get("/models", headers={**KEY, "Origin": origin})
            assert answer.headers.get("access-control-allow-credentials") == allowed


@pytest.mark.parametrize(
    "value",
    ["example.org", "https://example.org/", "https://*.example.org", "*, https://a.b", "null"],
)
def test_wrong_origins_stop_the_start(value: str) -> None:
    """Each would never equal a browser's origin, or would be taken for more than it is."""
    with pytest.raises(ValueError, match="expected"):
        Settings(cors_origins=value)
