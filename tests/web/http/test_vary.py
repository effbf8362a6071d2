"""A response names each header that it depends on once, in one line."""

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from app.web.http.vary import add_vary

TYPE = (b"content-type", b"text/html")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], b"Origin"),
        ([b"Accept-Encoding"], b"Accept-Encoding, Origin"),
        ([b"Accept", b"Accept-Encoding"], b"Accept, Accept-Encoding, Origin"),
    ],
)
def test_name_is_added_to_one_line(before: list[bytes], after: bytes) -> None:
    """Several lines become one."""
    headers = [TYPE, *((b"vary", value) for value in before)]
    add_vary(headers, b"Origin")
    assert headers == [TYPE, (b"vary", after)]


@pytest.mark.parametrize("value", [b"Origin", b"accept, ORIGIN"])
def test_name_is_not_added_twice(value: bytes) -> None:
    """Names are compared without regard to case."""
    headers = [(b"vary", value), TYPE]
    add_vary(headers, b"Origin")
    assert headers == [(b"vary", value), TYPE]


@pytest.mark.parametrize("origins", ["", "https://example.org"])
def test_every_response_has_one_vary(origins: str) -> None:
    """So do files that say themselves what they depend on, and answers to preflight requests."""
    expected = ["Accept-Encoding"] + ["Origin"] * bool(origins)
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    with TestClient(create_app(Settings(cors_origins=origins))) as client:
        for path in ("/", "/page/main.js", "/openapi.json", "/models"):
            for headers in ({}, {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "identity"}):
                answer = client.get(path, headers={**asked, **headers})
                assert answer.headers.get_list("vary") == [", ".join(expected)], path
        if origins:
            preflight = client.options("/predict", headers=asked).headers.get_list("vary")
            assert preflight == ["Access-Control-Request-Headers, Origin"]
