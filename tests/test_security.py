"""The promises of SECURITY.md, tested against the running service."""

import ast
import base64
import hmac
import io
import json
import pickle
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, TiffImagePlugin
from typer.testing import CliRunner

from app.bundle import KERAS_FILE, open_bundle, seal
from app.embeddings import EMBEDDINGS_FILE
from app.errors import BundleError
from app.inference.keras_runtime import load_keras
from app.inference.registry import Registry
from app.main import create_app
from app.samples import sample_png
from app.settings import REPOSITORY, Settings
from app.web.http.auth import Access
from digitscope import command
from tests.server.mix import asks
from tests.server.process import serving

PNG = sample_png(7)
KEY, TOKEN, WRONG = "the-right-key-41", "the-admin-token-42", "a-wrong-key-43"
SECRET = "marker-of-a-sender-44"  # in images, their metadata, queries and names of files


@pytest.mark.slow
@pytest.mark.parametrize("form", ["text", "json"])
def test_log_holds_neither_keys_nor_images(tmp_path: Path, form: str) -> None:
    """Even at the lowest level, the log has only the method and path of what clients send."""
    settings = {"api_keys": KEY, "admin_token": TOKEN, "log_level": "debug", "log_format": form}
    with serving(tmp_path, **settings) as server:
        for key in ({}, {"X_API_Key": KEY}, {"X_API_Key": WRONG}):
            for headers, body in _revealing():
                server.ask(f"/predict?api_key={KEY}&model={SECRET}", body, **headers, **key)
                server.ask(f"/predict?token={WRONG}", body, **headers, **key)
                server.ask("/predict", body, **headers, **key)
                server.ask("/predict/batch", body, **headers, **key)
        for given in (f"Bearer {TOKEN}", f"Bearer {WRONG}", f"Basic {KEY}", f"Bearer {KEY}"):
            server.ask("/models/compact/reload", Authorization=given)
        server.stop()
        said = server.log.read_text()
    assert all(f"POST /predict {status}" in said for status in (200, 400, 401, 415, 422))
    for secret in (KEY, TOKEN, WRONG, SECRET, base64.b64encode(PNG).decode()[:40]):
        assert secret not in said


def _revealing() -> Iterator[tuple[dict[str, str], bytes]]:
    """Yield valid and invalid requests that contain secrets of their senders, in every form."""
    stream, tags = io.BytesIO(), TiffImagePlugin.ImageFileDirectory_v2()
    tags[270] = SECRET  # ImageDescription
    picture = Image.open(io.BytesIO(PNG))
    picture.save(stream, format="TIFF", tiffinfo=tags)
    yield {"Content_Type": "image/tiff"}, stream.getvalue()
    yield {"Content_Type": "image/tiff"}, stream.getvalue()[:-20]
    yield {"Content_Type": SECRET}, PNG
    yield {"Content_Type": "image/png"}, SECRET.encode()
    text = base64.b64encode(PNG).decode()
    yield {"Content_Type": "application/json"}, json.dumps({"image": text}).encode()
    yield {"Content_Type": "application/json"}, json.dumps({SECRET: SECRET}).encode()
    yield {"Content_Type": "application/x-npy"}, SECRET.encode()
    for field in ("file", SECRET):
        form = (
            f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="{SECRET}"\r\n\r\n'
        ).encode()
        yield {"Content_Type": "multipart/form-data; boundary=x"}, form + PNG + b"\r\n--x--\r\n"


class Watch:
    """Records what Python opens, starts and connects to while it is on.

    An audit hook cannot be removed, so one serves all tests.
    """

    TOUCHES = re.compile(
        r"open|(os|shutil|tempfile|subprocess|socket)\.(?!getaddr|gethost|__new__).*|pickle\..*"
    )

    def __init__(self) -> None:
        """Install the hook, switched off."""
        self._on, self.seen = False, list[tuple[str, str]]()
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._on and self.TOUCHES.fullmatch(event):
            what = [str(one) for one in arguments]
            # To read is of no harm by itself; where, the test decides.
            kind = "read" if event == "open" and arguments[1] in ("r", "rb") else event
            self.seen.append((kind, " ".join(what)))

    @contextmanager
    def __call__(self) -> Iterator[list[tuple[str, str]]]:
        """Record until the block ends; yield the list of events."""
        self.seen, self._on = [], True
        try:
            yield self.seen
        finally:
            self._on = False


@pytest.fixture(scope="session")
def watch() -> Watch:
    """The one audit hook of all tests."""
    return Watch()


HOSTILE = (
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "/etc/passwd",
    "//etc/passwd",
    "C:%5Cboot.ini",
    "classic%00.keras",
    "..%5c..%5cclassic",
    "classic/../../classic/model.keras",
    "file:///etc/passwd",
    "%252e%252e%252fetc%252fpasswd",
    "~root",
    "$HOME",
    "`id`",
)
PLACES = (
    "GET /models/{}",
    "GET /models/{}/layers",
    "GET /models/{}/training",
    "GET /models/classic/layers/{}/weights",
    "GET /page/{}",
    "GET /page/samples/{}",
    "GET /static-offline-docs/{}",
    "GET /{}",
    "GET /v1/models/{}",
    "GET /v1/models/classic/versions/{}",
    "GET /v2/models/{}",
    "GET /v2/models/{}/ready",
    "POST /predict?model={}",
    "POST /layers/{}/activations",
    "POST /layers/0/activations?layers={}",
    "POST /layers/{}/unit",
    "POST /snapshots?layer={}",
    "POST /compare?other={}",
    "POST /explain?method=grad-cam&layer={}",
    "POST /v1/models/{}:predict",
    "POST /v2/models/{}/infer",
    "POST /models/{}/reload",
)


@pytest.mark.slow
def test_no_name_leads_to_a_file(client: TestClient, watch: Watch) -> None:
    """A hostile name in any place opens no file and returns none."""
    for place in PLACES:
        method, path = place.split()
        for name in HOSTILE:
            with watch() as seen:
                request = client.build_request(method, "/", content=PNG)
                request.url = request.url.copy_with(raw_path=path.format(name).encode())
                answer = client.send(request)
            assert answer.status_code in (400, 404, 405, 415, 422) or path == "GET /{}", place
            assert b"root:" not in answer.content
            assert _strange(seen) == [], (place, name)


# What prometheus_client reads for the metrics of the process; the flags of `open` follow a space.
OWN_FIGURES = ("/proc/self/stat ", "/proc/self/limits ", "/proc/self/fd")


def _strange(seen: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return all events except reading of bundles, the program, Python's files and own figures.

    The service looks at the folders of its bundles all the time.
    """
    ours = tuple(str(place) for place in (REPOSITORY / "model", REPOSITORY / "app"))
    ours += (sys.prefix, sys.base_prefix, *OWN_FIGURES)
    return [
        (kind, what)
        for kind, what in seen
        if kind not in ("read", "os.listdir", "os.scandir") or not what.startswith(ours)
    ]


@pytest.mark.slow
def test_requests_touch_nothing(client: TestClient, watch: Watch, tmp_path: Path) -> None:
    """Requests of every kind write no file, start no process, connect nowhere, unpickle nothing."""
    with watch() as seen:
        (tmp_path / "planted").touch()
        pickle.loads(pickle.dumps(Path.home))
    assert {"open", "pickle.find_class"} <= {kind for kind, _ in _strange(seen)}
    mix = asks(client)  # once before, for what is imported late
    with watch() as seen:
        for ask in mix:
            client.request(ask.method, ask.path, content=ask.body, headers=dict(ask.headers))
        client.post("/snapshots?layer=0&model=classic", content=PNG)
        client.post("/predict", files={"file": b"x" * 4_000_000})
    assert _strange(seen) == []


class _Bomb:
    """An object that writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a copy of the classic bundle, which a test may change."""
    shutil.copytree(REPOSITORY / "model" / "classic", tmp_path / "model" / "classic")
    return tmp_path / "model"


def _seal(bundle: Path, name: str, content: bytes) -> None:
    metadata = open_bundle(bundle).metadata
    (bundle / name).write_bytes(content)
    seal(bundle, metadata)


def test_pickles_in_a_bundle_are_refused(tmp_path: Path, models: Path) -> None:
    """An array of objects with a valid hash is refused, and its code does not run."""
    planted = tmp_path / "planted"
    bombs = np.array([_Bomb(planted)], object)
    pickle.loads(pickle.dumps(bombs))
    assert planted.exists()  # it would work
    planted.unlink()
    stream = io.BytesIO()
    names = ("directions", "labels", "indices", "images", "held_out")
    np.savez(stream, **dict.fromkeys(names, bombs))
    _seal(models / "classic", EMBEDDINGS_FILE, stream.getvalue())
    with pytest.raises(BundleError, match="allow_pickle=False"):
        Registry(models, "classic", interpreters=1).load()
    assert not planted.exists()


def test_code_in_a_keras_file_is_not_run(tmp_path: Path, models: Path) -> None:
    """A lambda layer with a valid hash is refused in safe mode and never runs."""
    import keras

    planted = tmp_path / "planted"
    source = f"lambda x: (__import__('pathlib').Path({str(planted)!r}).touch(), x)[1]"
    layers = [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Lambda(eval(source))]
    model = keras.Sequential([*layers, keras.layers.Dense(10, "softmax")])
    assert planted.exists()  # it would work
    planted.unlink()
    model.save(tmp_path / KERAS_FILE)
    content = (tmp_path / KERAS_FILE).read_bytes()
    with pytest.raises(BundleError, match="safe mode"):
        load_keras(content)
    _seal(models / "classic", KERAS_FILE, content)
    with pytest.raises(BundleError, match="do not fit"):
        Registry(models, "classic", interpreters=1).load()
    assert not planted.exists()


def test_every_answer_has_its_headers() -> None:
    """Every response has the security headers, whatever its status."""
    with TestClient(create_app(Settings(api_keys=KEY))) as client:
        key = {"X-API-Key": KEY}
        answers = [
            client.get("/"),
            client.get("/models"),
            *(
                client.get(path, headers=key)
                for path in ("/", "/docs", "/openapi.json", "/nothing", "/predict")
            ),
            client.post("/predict", content=b"rubbish", headers=key),
            client.get("/livez"),
        ]
    assert {answer.status_code for answer in answers} == {200, 400, 401, 404, 405}
    for answer in answers:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Frame-Options"] == "DENY"


def test_all_keys_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """All keys are compared in constant time, even after a match."""
    compared, in_constant_time = list[bytes](), hmac.compare_digest

    def compare(given: bytes, known: bytes) -> bool:
        compared.append(known)
        return in_constant_time(given, known)

    monkeypatch.setattr("app.web.http.auth.hmac.compare_digest", compare)
    access = Access(keys=("one", "two", "three"), per_second=0)
    access.check("/predict", ["one"], "")
    assert compared == [b"one", b"two", b"three"]


def test_settings_are_printed_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """`digitscope settings` says that secrets are set but does not print them."""
    monkeypatch.setenv("DIGITSCOPE_API_KEYS", KEY)
    monkeypatch.setenv("DIGITSCOPE_ADMIN_TOKEN", TOKEN)
    monkeypatch.setenv("COLUMNS", "200")
    printed = CliRunner().invoke(command, ["settings"]).output
    assert KEY not in printed
    assert TOKEN not in printed
    assert printed.count("(set)") == 2


def test_wrong_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid token is named in the error but not printed."""
    monkeypatch.setenv("DIGITSCOPE_ADMIN_TOKEN", "s3cret")
    refused = CliRunner().invoke(command, ["serve"])
    assert refused.exit_code == 2
    assert "DIGITSCOPE_ADMIN_TOKEN" in refused.stderr
    assert "s3cret" not in refused.output


DANGERS = {"pickle", "marshal", "shelve", "subprocess", "ctypes", "dill", "joblib", "cloudpickle"}
# Calls glibc to return memory, and starts our own decoder, with arguments that no client controls.
SAFE = {
    ("process_tuning.py", "ctypes"),
    ("decoder_pool.py", "subprocess"),
    ("import_cache.py", "subprocess"),  # `digitscope serve FILE` starts `digitscope import`
    ("feedback.py", "datetime.now"),  # a correction says when it was made
    ("run.py", "datetime.now"),  # figures of `digitscope evaluate` say when they were measured
}
CODE = {"eval", "exec", "compile", "__import__", "os.system"}
WALL_CLOCK = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today"}


def test_sources_know_no_danger() -> None:
    """The sources use no pickles, no code from text, no subprocess and no wall clock but `SAFE`."""
    paths = sorted((REPOSITORY / "app").rglob("*.py"))
    assert len(paths) > 50
    found = {(path.name, danger) for path in paths for danger in _dangers(path)}
    assert found == SAFE


def _dangers(path: Path) -> Iterator[str]:
    text = path.read_text()
    yield from re.findall(r"noqa: *S\d+|\bnosec\b", text)
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names):
                modules = {name.name.partition(".")[0] for name in names}
            case ast.ImportFrom(module=str(module)):
                modules = {module.partition(".")[0]}
            case _:
                modules = set()
        yield from modules & DANGERS
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            yield from {called, ".".join(called.split(".")[-2:])} & (CODE | WALL_CLOCK)
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            yield from {ast.unparse(node.value)} - {"False"}
