"""Corrections over HTTP: off by default, with a key, in every form of image, never a 500."""

import base64
import io
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from openapi_spec_validator import OpenAPIV31SpecValidator
from PIL import Image
from typer.testing import CliRunner

from app.main import create_app
from app.samples import sample_pixels, sample_png
from app.settings import Settings
from digitscope import command

KEY = "a-key-for-corrections"
HEADERS = {"X-API-Key": KEY}
PNG = sample_png(7)
PATH = "/feedback?label=1"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the folder of corrections is."""
    return tmp_path_factory.mktemp("service") / "corrections"


@pytest.fixture(scope="module")
def correcting(place: Path) -> Iterator[TestClient]:
    """A client of a service that accepts 30 corrections."""
    settings = Settings(api_keys=KEY, feedback_dir=place, feedback_max_items=30)
    with TestClient(create_app(settings), headers=HEADERS) as client:
        yield client


@pytest.fixture
def folder(place: Path) -> Path:
    """The folder of corrections, empty."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place


def _rows(folder: Path) -> list[dict]:
    path = folder / "labels.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_it_is_off_by_default(client: TestClient) -> None:
    """Without a folder, the routes give 404 with the reason, and are not in the document."""
    for answer in (
        client.post(PATH, content=PNG),
        client.delete(f"/feedback/{'0' * 32}"),
        client.post("/feedback"),
    ):
        assert answer.status_code == 404
        assert "DIGITSCOPE_FEEDBACK_DIR" in answer.json()["detail"]
    assert client.get("/feedback").status_code == 405
    document = client.get("/openapi.json").json()
    assert not [path for path in document["paths"] if "feedback" in path]
    assert client.get("/models").json()["corrections"] is False


def test_document_describes_it_where_it_is_on(correcting: TestClient) -> None:
    """The document is valid, has both routes with their errors, and says that they need a key."""
    document = correcting.get("/openapi.json").json()
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    post, delete = document["paths"]["/feedback"]["post"], document["paths"]["/feedback/{id}"]
    assert {"201", "422", "503", "507"} <= post["responses"].keys()
    assert {"204", "404", "503"} <= delete["delete"]["responses"].keys()
    assert document["security"] == [{"ApiKey": []}, {"BearerKey": []}]
    assert "security" not in post
    assert correcting.get("/models").json()["corrections"] is True


def test_correction_is_stored_as_evaluate_reads_it(correcting: TestClient, folder: Path) -> None:
    """The 28x28, the label, the whole answer and the id of the request are in the folder."""
    wrong = correcting.post("/predict", content=PNG)
    asked = wrong.headers["X-Request-ID"]
    answer = correcting.post(f"{PATH}&request_id={asked}", content=PNG)
    assert answer.status_code == 201
    assert answer.json() == {
        "id": answer.json()["id"],
        "label": "1",
        "answer": "7",
        "verdict": "digit",
        "model": wrong.json()["model"],
    }
    (row,) = _rows(folder)
    assert row["path"] == f"{answer.json()['id']}.png"
    assert (row["label"], row["answer"], row["request_id"]) == ("1", "7", asked)
    assert row["verdict"] == wrong.json()["verdict"]
    assert row["probabilities"] == pytest.approx(wrong.json()["probabilities"], abs=1e-5)
    assert {row["model"], row["version"]} == set(wrong.json()["model"].values())
    stored = np.asarray(Image.open(folder / row["path"]))
    np.testing.assert_array_equal(stored, sample_pixels(7))


def test_deleted_correction_is_gone(correcting: TestClient, folder: Path) -> None:
    """`DELETE` removes picture and line; a second one gives 404."""
    names = [correcting.post(PATH, content=PNG).json()["id"] for _ in range(2)]
    assert correcting.delete(f"/feedback/{names[0]}").status_code == 204
    assert correcting.delete(f"/feedback/{names[0]}").status_code == 404
    assert [row["path"] for row in _rows(folder)] == [f"{names[1]}.png"]


def _photo() -> bytes:
    """Return a digit on a large sheet, dark on light, as JPEG."""
    sheet = Image.new("L", (400, 300), 240)
    sheet.paste(Image.fromarray(255 - sample_pixels(7)).resize((200, 200)), (90, 40))
    stream = io.BytesIO()
    sheet.save(stream, "JPEG")
    return stream.getvalue()


def test_every_form_of_image_is_accepted(correcting: TestClient, folder: Path) -> None:
    """Forms, bytes, JSON, arrays and photos; what is stored is the 28x28, not the upload."""
    stream = io.BytesIO()
    np.save(stream, sample_pixels(7))
    npy = {"Content-Type": "application/x-npy"}
    photo = _photo()
    answers = [
        correcting.post(PATH, files={"file": PNG}),
        correcting.post(PATH, json={"image": base64.b64encode(PNG).decode()}),
        correcting.post(f"{PATH}&preprocess=none", json={"pixels": sample_pixels(7).tolist()}),
        correcting.post(PATH, content=stream.getvalue(), headers=npy),
        correcting.post(PATH, content=photo, headers={"Content-Type": "image/jpeg"}),
    ]
    assert [answer.status_code for answer in answers] == [201] * 5
    rows = _rows(folder)
    stored = [(folder / row["path"]).read_bytes() for row in rows]
    assert {Image.open(io.BytesIO(content)).size for content in stored} == {(28, 28)}
    assert photo not in [path.read_bytes() for path in folder.iterdir()]


LONG = ["x" * 41, "x" * 20_000]
HOSTILE_LABELS = ["", "10", "seven", "../7", "7.png", "\u0667", "7\n8", "7/../7", *LONG]


@pytest.mark.parametrize("label", HOSTILE_LABELS)
def test_unknown_label_is_refused(correcting: TestClient, folder: Path, label: str) -> None:
    """Only the name of a class, or `not-a-digit`, is a label; the message lists them."""
    answer = correcting.post("/feedback", params={"label": label}, content=PNG)
    assert answer.status_code == 422
    assert len(answer.content) < 2000
    assert not _rows(folder)


def test_wrong_requests_get_their_status(correcting: TestClient, folder: Path) -> None:
    """Each gets a problem document, and nothing is stored."""
    blank = np.zeros((28, 28), int).tolist()
    for status, path, body in (
        (400, PATH, b"no image"),
        (422, "/feedback", PNG),
        (422, f"{PATH}&request_id=../../etc", PNG),
        (422, f"{PATH}&request_id={'x' * 65}", PNG),
        (422, f"{PATH}&path=planted.png", PNG),
        (422, f"{PATH}&label=2", PNG),
        (404, f"{PATH}&model=../classic", PNG),
        (422, PATH, json.dumps({"pixels": blank}).encode()),
    ):
        kind = "application/json" if body.startswith(b"{") else "image/png"
        answer = correcting.post(path, content=body, headers={"Content-Type": kind})
        assert answer.status_code == status, (path, answer.text)
        assert answer.headers["Content-Type"] == "application/problem+json"
    for name in ("..%2f..%2fetc%2fpasswd", "labels", "%00", "x" * 5000):
        assert correcting.delete(f"/feedback/{name}").status_code in (404, 422)
    assert list(folder.iterdir()) == []


def test_not_a_digit_is_a_label(correcting: TestClient, folder: Path) -> None:
    """What shows none of the classes can be said so."""
    assert correcting.post("/feedback?label=not-a-digit", content=PNG).status_code == 201
    assert _rows(folder)[0]["label"] == "not-a-digit"


def _page_of(labels: str) -> bytes:
    """Return a sheet with digits in a row, dark on light."""
    sheet = Image.new("L", (60 * len(labels) + 40, 100), 255)
    for at, label in enumerate(labels):
        digit = Image.fromarray(255 - sample_pixels(int(label))).resize((56, 56))
        sheet.paste(digit, (20 + 60 * at, 20))
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def test_page_is_no_correction(correcting: TestClient, folder: Path) -> None:
    """A page with several digits is not stored as one of them; the answer says what to do."""
    page = _page_of("4072")
    (warning,) = correcting.post("/predict", content=page).json()["input"]["warnings"]
    answer = correcting.post("/feedback?label=4", content=page)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(warning)
    assert "Cut the digit out" in answer.json()["detail"]
    assert not _rows(folder)
    assert correcting.post("/feedback?label=4", content=_page_of("4")).status_code == 201
    assert correcting.post("/feedback?label=not-a-digit", content=page).status_code == 201
    assert [row["label"] for row in _rows(folder)] == ["4", "not-a-digit"]


def test_it_needs_a_key(correcting: TestClient, folder: Path) -> None:
    """Without a key, or with a wrong one, both routes give 401."""
    for key in ("", "wrong"):
        headers = {"X-API-Key": key}
        assert correcting.post(PATH, content=PNG, headers=headers).status_code == 401
        assert correcting.delete(f"/feedback/{'0' * 32}", headers=headers).status_code == 401
    assert not _rows(folder)


def test_full_folder_gives_507(correcting: TestClient, folder: Path) -> None:
    """Requests at the same time never exceed the bound; the others say what is full."""
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: correcting.post(PATH, content=PNG), range(40)))
    codes = [answer.status_code for answer in answers]
    assert (codes.count(201), codes.count(507)) == (30, 10)
    assert len(_rows(folder)) == len(list(folder.glob("*.png"))) == 30
    full = next(answer.json() for answer in answers if answer.status_code == 507)
    assert full["type"] == "urn:digitscope:problem:storage-full"


def test_folder_that_is_gone_gives_503(
    correcting: TestClient, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason is in the answer without the path, and in the log with it; the rest works on."""
    shutil.rmtree(folder)
    answer = correcting.post(PATH, content=PNG)
    assert answer.status_code == 503
    assert "No such file or directory" in answer.json()["detail"]
    assert str(folder) not in answer.text
    assert str(folder) in caplog.text
    assert correcting.post("/predict", content=PNG).status_code == 200


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"FEEDBACK_DIR": "{}"}, "set DIGITSCOPE_API_KEYS"),
        ({"FEEDBACK_DIR": "", "API_KEYS": KEY}, "it is set but empty"),
        ({"FEEDBACK_DIR": "{}", "API_KEYS": " "}, "DIGITSCOPE_API_KEYS is invalid"),
        ({"FEEDBACK_DIR": "{}/file/folder", "API_KEYS": KEY}, "cannot be used: Not a directory"),
    ],
)
def test_folder_that_cannot_work_stops_the_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    """No key, no folder, or one that cannot be made: one plain message and an exit code."""
    (folder / "file").touch()
    for name, value in variables.items():
        monkeypatch.setenv(f"DIGITSCOPE_{name}", value.format(folder))
    result = CliRunner().invoke(command, ["serve", "--port", "0"])
    assert result.exit_code in (1, 2)
    assert message in result.stderr
