"""Compressed responses and requests, and HEAD."""

import base64
import gzip
import io
import json
import zlib

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.samples import sample_pixels, sample_png
from tests.forms import npy

PNG = sample_png(7)
# Large responses of each kind; the last ones are an error and a protocol's.
LARGE = (
    "/models/classic",
    "/metrics",
    "/openapi.json",
    "/static-offline-docs/swagger-ui-bundle.js",
    "/",
    "/page/main.js",
    "/page/nosuch.js",
    "/v2/models/classic",
)
SMALL = ("/docs", "/livez", "/version", "/v1/models")


@pytest.mark.parametrize("path", LARGE[:5])
def test_large_responses_are_compressed_if_the_client_likes(client: TestClient, path: str) -> None:
    """The weights of Accept-Encoding decide; the content is the same."""
    plain = client.get(path, headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in plain.headers
    assert "accept-encoding" in plain.headers["vary"].lower()
    with client.stream("GET", path, headers={"Accept-Encoding": "br, gzip"}) as packed:
        raw = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) == len(raw) < 0.7 * len(plain.content)
    if path != "/metrics":
        assert gzip.decompress(raw) == plain.content


def test_deflate_and_large_answers(client: TestClient) -> None:
    """Answers that are compressed in a thread, in the coding that the client prefers."""
    url = "/layers/0/activations?format=json"
    plain = client.post(url, content=PNG, headers={"Accept-Encoding": "identity"})
    coding = {"Accept-Encoding": "gzip;q=0.5, deflate"}
    with client.stream("POST", url, content=PNG, headers=coding) as packed:
        raw = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "deflate"
    assert zlib.decompress(raw) == plain.content


def test_small_answers_and_arrays_stay_as_they_are(client: TestClient) -> None:
    """They would hardly shrink."""
    for path in SMALL:
        assert "vary" not in client.get(path, headers={"Accept-Encoding": "gzip"}).headers, path
    array = client.post("/layers/0/activations", content=PNG)
    assert "content-encoding" not in array.headers


@pytest.mark.parametrize("path", [*LARGE, *SMALL, "/nothing", "/v2/models/nope", "/models/classic"])
def test_head_answers_as_get_without_the_body(client: TestClient, path: str) -> None:
    """Status, type and length are those of GET."""
    headers = {"Accept-Encoding": "identity"}
    got = client.get(path, headers=headers)
    asked = client.head(path, headers=headers)
    assert (asked.status_code, asked.content) == (got.status_code, b"")
    names = ["content-type", "etag", "vary", "cache-control"]
    names += [] if path in ("/metrics", "/nothing", "/page/nosuch.js") else ["content-length"]
    for name in names:
        assert asked.headers.get(name) == got.headers.get(name), name


def test_head_where_there_is_no_get(client: TestClient) -> None:
    """Only then is HEAD refused; where GET is, the 405 of another method names both."""
    refused = client.head("/predict")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    refused = client.post("/models")
    assert refused.headers["allow"] == "GET, HEAD"
    assert refused.json()["detail"] == "/models accepts GET, HEAD, not POST."
    metrics = client.app_state["service"].metrics.text().decode()
    assert 'method="HEAD",route="/livez",status="200"' in metrics


def test_native_routes_read_compressed_bodies(client: TestClient) -> None:
    """Files, forms, JSON and arrays, for one image and for many."""
    form = io.BytesIO()
    form.write(b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')
    form.write(PNG + b"\r\n--x--\r\n")
    text = json.dumps({"image": base64.b64encode(PNG).decode()}).encode()
    pixels = sample_pixels(7)
    many = npy(np.stack([pixels] * 100))
    one = (
        ("image/png", PNG),
        ("multipart/form-data; boundary=x", form.getvalue()),
        ("application/json", text),
        ("application/x-npy", npy(pixels)),
    )
    for coding, compress in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        for kind, body in one:
            headers = {"Content-Type": kind, "Content-Encoding": coding}
            answer = client.post("/predict", content=compress(body), headers=headers)
            assert answer.json()["digit"] == 7, (coding, kind)
        headers = {"Content-Type": "application/x-npy", "Content-Encoding": coding}
        answer = client.post("/predict/batch", content=compress(many), headers=headers)
        assert [one["digit"] for one in answer.json()] == [7] * 100
