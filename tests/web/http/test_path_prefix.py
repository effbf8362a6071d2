"""The path prefix of a proxy: in the path or stripped from it, by setting or by header."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.samples import sample_png
from app.settings import Settings
from app.web.http.path_prefix import PathPrefix, route_path

FILES = {"file": sample_png(7)}
TRUSTED = "127.0.0.1"


@contextmanager
def _client(peer: str = TRUSTED, **settings: object) -> Iterator[TestClient]:
    app = create_app(Settings(trusted_proxies=TRUSTED, **settings))
    with TestClient(app, client=(peer, 50000)) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "root", "full"),
    [
        ("/predict", "/a/b", "/a/b/predict"),
        ("/a/b/predict", "/a/b", "/a/b/predict"),
        ("/a/b", "/a/b", "/a/b/"),
        ("/a/b/", "/a/b", "/a/b/"),
        ("/", "/a/b", "/a/b/"),
        ("/a/bc", "/a/b", "/a/b/a/bc"),
    ],
)
def test_paths_with_and_without_the_prefix_give_the_same_scope(
    path: str, root: str, full: str
) -> None:
    """`path` holds the prefix once, and the route is what follows it."""
    scope = {"path": path, "headers": []}
    PathPrefix(root).apply(scope, is_trusted=False)
    assert (scope["root_path"], scope["path"]) == (root, full)
    assert route_path(scope) == full.removeprefix(root)


def test_prefix_that_begins_a_route_is_stripped_by_the_proxy() -> None:
    """Nobody can tell whether `/v1/models` holds the prefix `/v1`: it is taken for the route."""
    routes = ("/v1/models/{model}", "/page/{name:path}", "/")
    for prefix, path, route in (
        ("/v1", "/v1/models/x", "/v1/models/x"),
        ("/v1/models/some", "/v1/models/some", "/v1/models/some"),
        ("/page/a/b/c", "/page/a/b/c/d", "/page/a/b/c/d"),
        ("/v1/digits", "/v1/digits/v1/models/x", "/v1/models/x"),
        ("/v2", "/v2/v1/models/x", "/v1/models/x"),
    ):
        scope = {"path": path, "headers": []}
        PathPrefix(prefix, routes).apply(scope, is_trusted=False)
        assert route_path(scope) == route, prefix


@pytest.mark.parametrize("start", ["/digits", ""])
def test_every_kind_of_route_works_below_the_setting(start: str) -> None:
    """Whether or not the proxy strips the prefix: fast routes, probes, files, errors, protocols."""
    with _client(root_path="/digits/", api_keys="a-key") as client:
        key = {"X-API-Key": "a-key"}
        assert client.post(f"{start}/predict", files=FILES, headers=key).json()["digit"] == 7
        for path in (
            "/livez",
            "/",
            "/docs",
            "/page/main.js",
            "/static-offline-docs/swagger-ui.css",
        ):
            assert client.get(start + path).status_code == 200, path
        assert client.get(f"{start}/models").status_code == 401
        assert client.get(f"{start}/models/compact/layers", headers=key).status_code == 200
        problem = client.get(f"{start}/models/nope", headers=key).json()
        assert problem["instance"] == "/digits/models/nope"
        assert client.get(f"{start}/v2/models/nope", headers=key).json().keys() == {"error"}
        unknown = client.get(f"{start}/nothing", headers=key).json()
        assert "see /digits/docs for all routes" in unknown["detail"]
        metrics = client.app_state["service"].metrics.text().decode()
        assert 'route="/predict",status="200"' in metrics


def test_page_and_document_name_the_prefix() -> None:
    """The addresses of the page hold without its last slash, too; the document names its server."""
    with _client(root_path="/digits") as client:
        for path in ("/digits", "/digits/", "/"):
            addresses = re.findall(r'(?:href|src)="([^"#]+)"', client.get(path).text)
            assert len(addresses) > 10
            for address in addresses:
                if address.startswith("data:"):
                    continue
                assert address.startswith("/digits/")
                assert client.get(address).status_code == 200, address
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/digits"}]


def test_header_of_a_trusted_proxy_counts() -> None:
    """Without a setting, the last value of the header is the prefix, but not of other peers."""
    header = {"X-Forwarded-Prefix": "/invented, /digits/"}
    with _client() as client:
        servers = client.get("/openapi.json", headers=header).json()["servers"]
        assert servers == [{"url": "/digits"}]
        assert client.get("/digits/livez", headers=header).status_code == 200
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/"}]
    with _client(peer="10.0.0.1") as client:
        servers = client.get("/openapi.json", headers=header).json()["servers"]
        assert servers == [{"url": "/"}]
        assert client.get("/digits/livez", headers=header).status_code == 404


@pytest.mark.parametrize(
    "value", ["digits", "//evil.example", "/a/../b", '/"><script>', "/a b", "/" + "a" * 300, "/%2e"]
)
def test_wrong_prefixes_are_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong setting stops the start; a wrong header changes nothing."""
    with pytest.raises(ValueError, match="expected a path"):
        Settings(root_path=value)
    scope = {"path": "/", "headers": [(b"x-forwarded-prefix", value.encode())]}
    PathPrefix().apply(scope, is_trusted=True)
    assert scope["path"] == "/"
    assert "root_path" not in scope
