"""TensorFlow Serving's REST API, with requests from its documentation."""

import base64
import gzip
import json
import subprocess

import numpy as np
import pytest

from app.inference.model import Model
from app.samples import sample_png
from tests.conftest import PUBLISHED, Digits
from tests.server.process import Answer, Server

PREDICT = "/v1/models/classic:predict"
VERSION = f"/v1/models/classic/versions/{PUBLISHED}"


def _predict(server: Server, message: dict, path: str = PREDICT, **headers: str) -> Answer:
    return server.ask(path, json.dumps(message).encode(), **headers)


def test_status_and_metadata_are_returned(server: Server) -> None:
    """A model and its version have a status and a signature; unknown ones give 404."""
    for path in ("/v1/models/classic", VERSION):
        (status,) = server.get(path).json["model_version_status"]
        assert (status["version"], status["state"]) == (str(PUBLISHED), "AVAILABLE")
        assert status["status"] == {"error_code": "OK", "error_message": ""}
    assert server.get("/v1/models/classic").json["ready"] is True
    assert "classic" in server.get("/v1/models").json["models"]
    metadata = server.get("/v1/models/classic/metadata").json
    spec = {"name": "classic", "signature_name": "", "version": str(PUBLISHED)}
    assert metadata["model_spec"] == spec
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    dims = signature["inputs"]["image"]["tensor_shape"]["dim"]
    assert [dim["size"] for dim in dims] == ["-1", "28", "28", "1"]
    for path in ("/v1/models/nope", "/v1/models/classic/versions/99", "/v1/models/nope/metadata"):
        answer = server.get(path)
        assert (answer.status, list(answer.json)) == (404, ["error"])


def test_metadata_has_exactly_the_documented_form(server: Server) -> None:
    """The metadata of a model and of its version is the documented JSON, with no other key."""

    def tensor(name: str, *sizes: str) -> dict:
        shape = {"dim": [{"size": size, "name": ""} for size in sizes], "unknown_rank": False}
        return {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": f"{name}:0"}

    signature = {
        "inputs": {"image": tensor("image", "-1", "28", "28", "1")},
        "outputs": {"probabilities": tensor("probabilities", "-1", "10")},
        "method_name": "tensorflow/serving/predict",
    }
    for path in ("/v1/models/classic/metadata", f"{VERSION}/metadata"):
        assert server.get(path).json == {
            "model_spec": {
                "name": "classic",
                "signature_name": "",
                "version": str(PUBLISHED),
            },
            "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}},
        }
    missing = server.get("/v1/models/classic/versions/99/metadata")
    assert (missing.status, list(missing.json)) == (404, ["error"])


def test_documented_curl_command_works(server: Server, digits: Digits) -> None:
    """`curl -d '{"instances": ...}'` sends a form's Content-Type and is answered nevertheless."""
    address = f"http://127.0.0.1:{server.port}{PREDICT}"
    message = {"signature_name": "serving_default", "instances": digits.images[:1].tolist()}
    completed = subprocess.run(
        ["curl", "--silent", "-d", "@-", "-X", "POST", address],
        input=json.dumps(message),
        capture_output=True,
        text=True,
        check=True,
    )
    (row,) = json.loads(completed.stdout)["predictions"]
    assert np.argmax(row) == digits.labels[0]


@pytest.mark.parametrize("verb", ["classify", "regress", "predictions"])
def test_other_verbs_are_refused(server: Server, verb: str) -> None:
    """`classify` and `regress` give an error in the protocol's form."""
    message = {"examples": [{"image": 0.0}]}
    for path in (f"/v1/models/classic:{verb}", f"{VERSION}:{verb}"):
        answer = _predict(server, message, path)
        assert (answer.status, list(answer.json)) == (400, ["error"]), answer
        assert repr(verb) in answer.json["error"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_predictions_are_only_made_by_post(server: Server, method: str) -> None:
    """Another method gets 405 with the right one, for a model and for its version."""
    for path in (PREDICT, f"{VERSION}:predict", "/v1/models/nope:explain"):
        answer = server.ask(path, method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
        if method != "HEAD":
            assert answer.json["error"] == f"{path} accepts POST, not {method}."


def test_images_are_explained(server: Server, digits: Digits) -> None:
    """KServe's `:explain` answers for each image as `/explain` does, for pixels and for files."""
    pixels = digits.images[:2].tolist()
    explained = _predict(server, {"instances": pixels}, "/v1/models/classic:explain").json
    assert list(explained) == ["explanations"]
    for image, got in zip(pixels, explained["explanations"], strict=True):
        body = json.dumps({"pixels": image}).encode()
        url = "/explain?model=classic&preprocess=none"
        assert got == server.ask(url, body, Content_Type="application/json").json
    file = {"b64": base64.b64encode(sample_png(7)).decode()}
    (got,) = _predict(server, {"instances": [file]}, "/v1/models/classic:explain").json[
        "explanations"
    ]
    assert got["prediction"]["digit"] == 7
    for instances in (digits.images[:17].tolist(), [file] * 17):
        message = {"instances": instances}
        assert _predict(server, message, "/v1/models/classic:explain").status == 413


def test_limits_have_the_protocol_s_form(server: Server) -> None:
    """A large body gives 413 and a missed deadline 504, both as `{"error": ...}`."""
    large = server.ask(PREDICT, b" " * 6_000_000)
    assert (large.status, list(large.json)) == (413, ["error"])
    rows = {"instances": np.zeros((500, 28, 28), int).tolist()}
    late = _predict(server, rows, X_Request_Timeout="0.001")
    assert (late.status, list(late.json)) == (504, ["error"])


def test_row_and_column_format_give_the_same_probabilities(
    server: Server, classic: Model, digits: Digits
) -> None:
    """Rows and columns may name their input or not; the metrics count every image."""
    images = digits.images[:4]
    expected = classic.runtime.predict(images).probabilities
    rows = images.tolist()
    deep = images[..., None].astype(float).tolist()
    counted = server.metric("digitscope_verdicts_total", model="classic")
    for message in (
        {"instances": rows},
        {"instances": deep},
        {"instances": [{"image": row} for row in rows]},
        {"instances": rows, "signature_name": "serving_default"},
    ):
        got = _predict(server, message).json
        assert list(got) == ["predictions"]
        np.testing.assert_allclose(got["predictions"], expected, atol=1e-6)
    for message in ({"inputs": rows}, {"inputs": {"image": deep}}):
        got = _predict(server, message, f"{VERSION}:predict").json
        assert list(got) == ["outputs"]
        np.testing.assert_allclose(got["outputs"], expected, atol=1e-6)
    assert server.metric("digitscope_verdicts_total", model="classic") == counted + 6 * 4


def test_image_files_are_prepared(server: Server) -> None:
    """`b64` holds an image file; requests and responses may be compressed."""
    files = [{"b64": base64.b64encode(sample_png(digit)).decode()} for digit in range(10)]
    for message in ({"instances": files}, {"instances": [{"image": file} for file in files]}):
        got = np.array(_predict(server, message).json["predictions"])
        assert got.argmax(axis=1).tolist() == list(range(10))
    for message in ({"inputs": files}, {"inputs": {"image": files}}):
        body = gzip.compress(json.dumps(message).encode())
        answer = server.ask(PREDICT, body, Content_Encoding="gzip", Accept_Encoding="gzip")
        assert answer.headers["content-encoding"] == "gzip"
        got = json.loads(gzip.decompress(answer.content))["outputs"]
        assert np.array(got).argmax(axis=1).tolist() == list(range(10))


ROW = np.zeros((28, 28), int).tolist()


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"instances": [ROW], "inputs": [ROW]},
        {"instances": []},
        {"instances": ROW[0]},
        {"instances": "x"},
        {"instances": [{"picture": ROW}]},
        {"instances": [{"image": ROW, "more": 1}]},
        {"instances": [{"b64": "AAAA", "more": 1}]},
        {"instances": [{"b64": 5}]},
        {"instances": [{"b64": "???"}]},
        {"instances": [{"b64": "AAAA"}]},
        {"instances": [ROW, {"b64": "AAAA"}]},
        {"instances": [[[300] * 28] * 28]},
        {"inputs": []},
        {"inputs": {"picture": [ROW]}},
        {"inputs": {"image": 1}},
        {"instances": [ROW], "signature_name": "other"},
    ],
)
def test_invalid_body_gives_400(server: Server, message: dict) -> None:
    """Every invalid request gives 400 with a message in the protocol's form."""
    answer = _predict(server, message)
    assert answer.status == 400, answer
    assert list(answer.json) == ["error"]


def test_invalid_json_gives_400_and_unknown_models_404(server: Server) -> None:
    """Both errors have the protocol's form."""
    assert server.ask(PREDICT, b'{"instances": [NaN]}').status == 400
    assert server.ask(PREDICT, b"[" * 100_000).status == 400
    for path in ("/v1/models/nope:predict", "/v1/models/classic/versions/99:predict"):
        answer = _predict(server, {"instances": [ROW]}, path)
        assert (answer.status, list(answer.json)) == (404, ["error"])
    assert "Expected one of classic, compact" in server.get("/v1/models/nope").json["error"]
