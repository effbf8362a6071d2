"""The errors of the HTTP contract, one row each."""

import base64
import json

import numpy as np
import pytest
from fastapi.testclient import TestClient
from starlette.requests import Request

from app.errors import NotFoundError
from app.main import create_app
from app.samples import sample_png
from app.settings import Settings
from app.web.http.problem_details import error_response
from tests.forms import encode, npy

PNG = {"Content-Type": "image/png"}
JSON = {"Content-Type": "application/json"}
NPY = {"Content-Type": "application/x-npy"}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
SEVEN = sample_png(7)
BLANK = encode(np.full((50, 50), 255, np.uint8))


def _header(shape: str, descr: str = "'|u1'") -> bytes:
    """Return a .npy header with any shape and dtype."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


CASES = {
    "not an image": (400, PNG, b"hello"),
    "an empty body": (400, PNG, b""),
    "a truncated PNG": (400, PNG, SEVEN[:-20]),
    "half a JPEG": (400, PNG, encode(np.eye(300, dtype=np.uint8) * 255, "JPEG")[:1000]),
    "an SVG": (400, PNG, b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "a PDF": (400, PNG, b"%PDF-1.7\n"),
    "not JSON": (400, JSON, b'{"image": '),
    "JSON that is not UTF-8": (400, JSON, b'{"image": "\xff"}'),
    "deep JSON": (400, JSON, b"[" * 100_000),
    "bad base64": (400, JSON, b'{"image": "@@@"}'),
    "base64 that is not ASCII": (400, JSON, '{"image": "é"}'.encode()),
    "an empty image": (400, JSON, b'{"image": ""}'),
    "a data URL without base64": (400, JSON, b'{"image": "data:image/png,abc"}'),
    "not npy": (400, NPY, b"\x93NUMPX"),
    "npy cut off": (400, NPY, npy(np.zeros((28, 28), np.uint8))[:-1]),
    "npy that promises too much": (422, NPY, _header("(100000000000, 28, 28)")),
    "npy of a negative size": (422, NPY, _header("(-1, 28)")),
    "npy of objects": (422, NPY, _header("(28, 28)", "'|O'")),
    "npy with code in its header": (400, NPY, _header("__import__('os').getpid()")),
    "npy with a deep header": (400, NPY, _header("(" * 4000)),
    "broken multipart": (400, FORM, b"nonsense"),
    "multipart without a boundary": (400, {"Content-Type": "multipart/form-data"}, b"--x"),
    "a form without the field": (
        422,
        FORM,
        b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\nx\r\n--x--\r\n',
    ),
    "a form with text as the file": (
        422,
        FORM,
        b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--x--\r\n',
    ),
    "JSON of another shape": (422, JSON, b"[1, 2]"),
    "JSON with neither": (422, JSON, b"{}"),
    "JSON with both": (
        422,
        JSON,
        json.dumps({"image": "eA==", "pixels": [[0] * 28] * 28}).encode(),
    ),
    "JSON with an unknown key": (422, JSON, b'{"imgae": "eA=="}'),
    "27 rows": (422, JSON, json.dumps({"pixels": [[0] * 28] * 27}).encode()),
    "a pixel of 256": (422, JSON, json.dumps({"pixels": [[256] * 28] * 28}).encode()),
    "a pixel of 0.5": (422, JSON, json.dumps({"pixels": [[0.5] * 28] * 28}).encode()),
    "a pixel that is not a number": (422, JSON, b'{"pixels": [[NaN]]}'),
    "npy of floats": (422, NPY, npy(np.zeros((28, 28)))),
    "npy of another shape": (422, NPY, npy(np.zeros((28, 29), np.uint8))),
    "a blank image": (422, PNG, BLANK),
    "blank pixels": (422, JSON, json.dumps({"pixels": [[0] * 28] * 28}).encode()),
    "a type that is not read": (415, {"Content-Type": "text/plain"}, b"x"),
    "curl's default type": (415, {"Content-Type": "application/x-www-form-urlencoded"}, SEVEN),
    "too many bytes": (413, PNG, b"x" * (20 * 1024 * 1024 + 1)),
    "too many bytes of JSON": (413, JSON, b" " * (5 * 1024 * 1024 + 1)),
    "too many bytes of an array": (413, NPY, b"x" * (5 * 1024 * 1024 + 1)),
    "too many pixels": (413, PNG, encode(np.zeros((1, 52_000_001), np.uint8))),
}


@pytest.mark.parametrize("case", CASES)
def test_invalid_request_gets_its_status(client: TestClient, case: str) -> None:
    """Each invalid request gets its status and a complete problem document."""
    status, headers, body = CASES[case]
    answer = client.post("/predict", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["instance"] == "/predict"
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert problem["type"].startswith("urn:digitscope:problem:")
    assert problem["title"]
    assert len(problem["detail"]) > 10
    assert " at 0x" not in problem["detail"]  # no memory address of an object


def test_unsupported_media_type_lists_the_supported_ones(client: TestClient) -> None:
    """The problem document of a 415 has the supported media types as `valid`."""
    answer = client.post("/predict", content=b"x", headers={"Content-Type": "text/plain"})
    assert "image/png" in answer.json()["valid"]


@pytest.mark.parametrize("query", ["preprocess=maybe", "polarity=green", "modle=classic"])
def test_bad_parameter_gives_422(client: TestClient, query: str) -> None:
    """The message names the parameter that is unknown or has a bad value."""
    answer = client.post(f"/predict?{query}", content=SEVEN)
    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.json()["detail"]


def test_unknown_path_and_method_give_problems(client: TestClient) -> None:
    """An unknown path gives 404 and a wrong method 405, as problem documents."""
    assert client.get("/nothing").json()["status"] == 404
    answer = client.get("/predict")
    assert answer.json()["status"] == 405
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/predict"),
        ("GET", "/predict"),
        ("GET", "/models/classic"),
        ("POST", "/v2/models/classic/infer"),
        ("GET", "/version"),
    ],
)
def test_slash_at_the_end_is_not_redirected(client: TestClient, method: str, path: str) -> None:
    """A redirect would leave TLS behind a proxy and drop the body; a 404 names the right path."""
    for wrong in (f"{path}/", f"{path}//"):
        answer = client.request(method, wrong, follow_redirects=False)
        assert answer.status_code == 404
        assert "Location" not in answer.headers
        assert f"send the request to {path} instead" in answer.text
    assert "instead" not in client.get("/nothing/").text


def test_limit_holds_while_the_body_streams_in(client: TestClient) -> None:
    """A body without a Content-Length is read up to the limit only."""
    taken = 0

    def endless() -> object:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield b"x" * 65536

    answer = client.post("/predict", content=endless(), headers=PNG)
    assert answer.status_code == 413


def test_limits_are_settings() -> None:
    """The settings set the limits, and the messages name them."""
    settings = Settings(max_body_bytes=2048, max_image_bytes=1024, max_pixels=1000)
    with TestClient(create_app(settings)) as client:
        large = client.post("/predict", content=b"x" * 1025, headers=PNG)
        assert (large.status_code, "1024" in large.json()["detail"]) == (413, True)
        json_body = client.post("/predict", content=b" " * 2049, headers=JSON)
        assert (json_body.status_code, "2048" in json_body.json()["detail"]) == (413, True)
        wide = client.post("/predict", content=encode(np.zeros((40, 40), np.uint8)), headers=PNG)
        assert (wide.status_code, "1000" in wide.json()["detail"].replace(",", "")) == (413, True)


def test_missed_deadline_gives_504() -> None:
    """A request whose deadline passes gets 504."""
    with TestClient(create_app(Settings(deadline_s=1e-6, quick_below_s=0))) as client:
        assert client.post("/predict", content=SEVEN).status_code == 504


def test_base64_may_have_line_breaks(client: TestClient) -> None:
    """Base64 in lines, as the command `base64` prints it, is accepted."""
    text = base64.encodebytes(SEVEN).decode()
    assert client.post("/predict", json={"image": text}).json()["digit"] == 7


def test_large_form_is_cut_off_while_it_streams_in(client: TestClient) -> None:
    """A form without a Content-Length is read up to the limit only."""

    def form() -> object:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        for _ in range(400):
            yield b"x" * 65536
        yield b"\r\n--x--\r\n"

    answer = client.post("/predict", content=form(), headers=FORM)
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/predict", "/v2/models/x/infer"])
def test_error_that_quotes_no_text_is_encoded(path: str) -> None:
    """Bytes of a file name that are no text do not turn an error into another one."""
    scope = {"type": "http", "path": path, "headers": [], "state": {"request_id": "1"}}
    error = NotFoundError("no \udcff", valid=["\ud800"])
    response = error_response(Request(scope), error)
    body = json.loads(response.body)
    assert response.status_code == 404
    assert body.get("detail", "no ?") == "no ?"
    assert body.get("error", "no ? Expected one of ?.") == "no ? Expected one of ?."
