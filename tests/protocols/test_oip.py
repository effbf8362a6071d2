"""The Open Inference Protocol, tested with Triton's own clients."""

import gzip
import json
import struct

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from fastapi.testclient import TestClient
from tritonclient.utils import InferenceServerException

from app.inference.model import Model
from app.samples import sample_png
from app.settings import Settings
from tests.conftest import PUBLISHED, Digits
from tests.server.process import Answer, Server


@pytest.fixture
def client(server: Server):
    """A synchronous client of Triton."""
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


def _input(values: np.ndarray, kind: str, *, binary: bool = True) -> triton.InferInput:
    tensor = triton.InferInput("image", list(values.shape), kind)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


def test_server_and_models_are_described(client: triton.InferenceServerClient) -> None:
    """The client gets health, metadata, configuration and repository index."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("classic")
    assert client.is_model_ready("classic", str(PUBLISHED))
    assert not client.is_model_ready("classic", "99")
    assert not client.is_model_ready("nope")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("classic", str(PUBLISHED))
    assert metadata["versions"] == [str(PUBLISHED)]
    assert metadata["inputs"] == [
        {
            "name": "image",
            "datatype": "UINT8",
            "shape": [-1, 28, 28, 1],
            "parameters": {"scale": "0..255 or 0..1"},
        }
    ]
    assert [output["name"] for output in metadata["outputs"]] == [
        "probabilities",
        "digit",
        "label",
    ]
    assert client.get_model_config("classic")["max_batch_size"] == 0
    index = {entry["name"]: entry["state"] for entry in client.get_model_repository_index()}
    assert index["classic"] == "READY"


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("kind", ["UINT8", "FP32"])
@pytest.mark.parametrize("shape", [(-1, 28, 28, 1), (-1, 28, 28), (-1, 784)])
def test_tensors_are_accepted_in_every_form(
    client: triton.InferenceServerClient,
    classic: Model,
    digits: Digits,
    binary: bool,
    kind: str,
    shape: tuple[int, ...],
) -> None:
    """Both datatypes in three shapes, as JSON and binary, give the network's probabilities."""
    images = digits.images[:7]
    values = images.reshape(shape).astype(np.uint8 if kind == "UINT8" else np.float32)
    outputs = [
        triton.InferRequestedOutput("digit", binary_data=binary),
        triton.InferRequestedOutput("probabilities", binary_data=binary),
    ]
    got = client.infer(
        "classic", [_input(values, kind, binary=binary)], outputs=outputs, request_id="seven"
    )
    expected = classic.runtime.predict(images).probabilities
    np.testing.assert_allclose(got.as_numpy("probabilities"), expected, atol=1e-6)
    np.testing.assert_array_equal(got.as_numpy("digit"), expected.argmax(axis=1))
    assert got.get_response()["id"] == "seven"
    assert got.get_response()["model_version"] == str(PUBLISHED)


def test_a_large_tensor_keeps_its_order(
    client: triton.InferenceServerClient, classic: Model, digits: Digits
) -> None:
    """The probabilities of 1,000 digits come in the order of the images."""
    got = client.infer("classic", [_input(digits.images, "UINT8")]).as_numpy("probabilities")
    np.testing.assert_allclose(got, classic.runtime.predict(digits.images).probabilities, atol=1e-6)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_requests_and_responses_may_be_compressed(
    client: triton.InferenceServerClient, digits: Digits, algorithm: str
) -> None:
    """Gzip and deflate are accepted and sent."""
    got = client.infer(
        "classic",
        [_input(digits.images[:50], "UINT8")],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert got.as_numpy("digit").shape == (50,)


def test_image_files_are_prepared(
    client: triton.InferenceServerClient, test_client: TestClient
) -> None:
    """A BYTES tensor of image files gives the same probabilities as `/predict`."""
    files = np.array([sample_png(digit) for digit in range(10)], object)
    tensor = triton.InferInput("image", [10], "BYTES")
    tensor.set_data_from_numpy(files)
    got = client.infer("classic", [tensor])
    assert got.as_numpy("digit").tolist() == list(range(10))
    native = test_client.post("/predict?model=classic", files={"file": files[3]}).json()
    np.testing.assert_allclose(got.as_numpy("probabilities")[3], native["probabilities"], atol=1e-6)


@pytest.fixture(scope="module")
def test_client():
    """A client of the native routes."""
    from app.main import create_app

    with TestClient(create_app(Settings())) as client:
        yield client


def test_classification_names_the_most_probable_classes(
    client: triton.InferenceServerClient, digits: Digits
) -> None:
    """Each class has its probability, index and label."""
    output = triton.InferRequestedOutput("probabilities", class_count=3)
    got = client.infer("classic", [_input(digits.images[:2], "UINT8")], outputs=[output])
    classes = got.as_numpy("probabilities")
    assert classes.shape == (2, 3)
    score, index, label = classes[0, 0].decode().split(":")
    assert int(index) == int(label) == digits.labels[0]
    assert 0.5 < float(score) <= 1


@pytest.mark.parametrize(
    ("model", "values", "kind", "message"),
    [
        ("nope", np.zeros((1, 28, 28), np.uint8), "UINT8", "no model 'nope'. Expected one of c"),
        ("classic", np.zeros((1, 27, 28), np.uint8), "UINT8", "[-1, 28, 28, 1]"),
        ("classic", np.zeros((1, 28, 28), bool), "BOOL", "datatype 'BOOL'"),
        ("classic", np.full((1, 28, 28), 300, np.int64), "INT64", "0 to 255"),
        ("classic", np.full((1, 28, 28), -1, np.float32), "FP32", "0 to 255"),
        ("classic", np.full((1, 28, 28), np.nan, np.float32), "FP32", "0 to 255"),
        ("classic", np.zeros((0, 28, 28), np.uint8), "UINT8", "no image"),
    ],
)
def test_errors_reach_the_client(
    client: triton.InferenceServerClient, model: str, values: np.ndarray, kind: str, message: str
) -> None:
    """The client raises each error with its message."""
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, [_input(values, kind)])
    assert message in caught.value.message()


def test_unknown_names_are_refused(client: triton.InferenceServerClient, digits: Digits) -> None:
    """The message names the unknown version, output or input."""
    tensor = _input(digits.images[:1], "UINT8")
    with pytest.raises(InferenceServerException, match="no version '99'"):
        client.infer("classic", [tensor], model_version="99")
    with pytest.raises(InferenceServerException, match="no output 'scores'"):
        client.infer("classic", [tensor], outputs=[triton.InferRequestedOutput("scores")])
    other = triton.InferInput("picture", [1, 28, 28], "UINT8")
    other.set_data_from_numpy(digits.images[:1])
    with pytest.raises(InferenceServerException, match="no input 'picture'"):
        client.infer("classic", [other])


def test_missing_extension_gives_404(client: triton.InferenceServerClient) -> None:
    """Statistics are not listed among the extensions, and their route does not exist."""
    assert "statistics" not in client.get_server_metadata()["extensions"]
    for model in ("", "classic"):
        with pytest.raises(InferenceServerException, match="404"):
            client.get_inference_statistics(model)


def test_only_the_operator_loads_models(client: triton.InferenceServerClient) -> None:
    """Loading needs the admin token; unloading is always refused."""
    with pytest.raises(InferenceServerException, match="admin token"):
        client.load_model("classic")
    headers = {"Authorization": "Bearer the admin token"}
    client.load_model("classic", headers=headers)
    with pytest.raises(InferenceServerException, match="cannot be unloaded"):
        client.unload_model("classic", headers=headers)


@pytest.mark.anyio
async def test_asyncio_client(server: Server, digits: Digits, classic: Model) -> None:
    """The asyncio client gets the same probabilities."""
    async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert await client.is_server_ready()
        got = await client.infer("classic", [_input(digits.images[:3], "UINT8")])
    expected = classic.runtime.predict(digits.images[:3]).probabilities
    np.testing.assert_allclose(got.as_numpy("probabilities"), expected, atol=1e-6)


@pytest.fixture
def anyio_backend() -> str:
    """Run the client on asyncio."""
    return "asyncio"


INFER = "/v2/models/classic/infer"
LENGTH = "Inference-Header-Content-Length"


def test_raw_body_is_one_image(server: Server, digits: Digits) -> None:
    """With a JSON length of 0 the whole body is the pixels or the file of one image."""
    for body in (digits.images[0].tobytes(), digits.images[0].astype("<f4").tobytes()):
        assert _raw_digit(server.ask(INFER, body, **{LENGTH: "0"})) == digits.labels[0]
    assert _raw_digit(server.ask(INFER, sample_png(5), **{LENGTH: "0"})) == 5


def _raw_digit(answer: Answer) -> int:
    """Return the digit of a response with binary tensors."""
    length = int(answer.headers[LENGTH.lower()])
    head, raw = json.loads(answer.content[:length]), answer.content[length:]
    sizes = [output["parameters"]["binary_data_size"] for output in head["outputs"]]
    assert sum(sizes) == len(raw)
    assert [output["name"] for output in head["outputs"]][:2] == ["probabilities", "digit"]
    return int(np.frombuffer(raw[sizes[0] : sizes[0] + sizes[1]], "<i8")[0])


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("FP16", np.float16),
        ("FP64", np.float64),
        ("INT8", np.int8),
        ("INT16", np.int16),
        ("INT32", np.int32),
        ("INT64", np.int64),
        ("UINT16", np.uint16),
        ("UINT32", np.uint32),
        ("UINT64", np.uint64),
    ],
)
def test_other_numbers_are_converted(
    client: triton.InferenceServerClient, digits: Digits, kind: str, dtype: type
) -> None:
    """The same numbers in another type give the same answer, in binary and in JSON."""
    images = digits.images[:3] // 2  # fits into INT8
    expected = client.infer("classic", [_input(images, "UINT8")]).as_numpy("probabilities")
    for binary in (True, False):
        if kind == "FP16" and not binary:
            continue  # the client sends it in binary only
        tensor = triton.InferInput("image", list(images.shape), kind)
        tensor.set_data_from_numpy(images.astype(dtype), binary_data=binary)
        got = client.infer("classic", [tensor]).as_numpy("probabilities")
        np.testing.assert_array_equal(got, expected)


def test_null_is_the_same_as_nothing(server: Server, digits: Digits) -> None:
    """KServe's and MLServer's models send every field, those without a value as null."""
    tensor = {"name": "image", "shape": [1, 784], "datatype": "UINT8", "parameters": None}
    message = {"id": None, "parameters": None, "outputs": None}
    data = digits.images[0].ravel().tolist()
    full = {**message, "inputs": [{**tensor, "data": data}]}
    named = {**full, "outputs": [{"name": "digit", "parameters": None}]}
    for sent in (full, named):
        answer = server.ask(INFER, json.dumps(sent).encode())
        found = {output["name"]: output["data"] for output in answer.json["outputs"]}
        assert found["digit"] == [int(digits.labels[0])]
    tensor |= {"data": None, "parameters": {"binary_data_size": 784}}
    head = json.dumps({**message, "inputs": [tensor]}).encode()
    answer = server.ask(INFER, head + digits.images[0].tobytes(), **{LENGTH: str(len(head))})
    assert answer.status == 200


@pytest.mark.parametrize(
    "parameters",
    [
        {"shared_memory_region": "r", "shared_memory_byte_size": 784},
        {"sequence_id": 7},
        {"sequence_id": "a"},
        {"sequence_start": True},
        {"priority": 1},
        {"timeout": 1000},
        {"binary_data_output": "yes"},
    ],
)
def test_unsupported_options_are_refused(
    server: Server, digits: Digits, parameters: dict[str, object]
) -> None:
    """They are never ignored; the message names the option. Their empty values ask for nothing."""
    tensor = {"name": "image", "shape": [1, 784], "datatype": "UINT8"}
    tensor["data"] = digits.images[0].ravel().tolist()
    message = {"inputs": [tensor], "parameters": parameters}
    answer = server.ask(INFER, json.dumps(message).encode())
    assert answer.status == 400
    assert next(iter(parameters)) in answer.json["error"]
    nothing = {name: type(value)() for name, value in parameters.items() if value != "yes"}
    message["parameters"] = nothing
    assert server.ask(INFER, json.dumps(message).encode()).status == 200


def test_control_requests_have_known_fields_only(server: Server) -> None:
    """`ready` filters the index; another configuration, files and unknown fields are refused."""
    token = {"Authorization": "Bearer the admin token"}
    index, load = "/v2/repository/index", "/v2/repository/models/classic/load"
    names = [entry["name"] for entry in server.ask(index, b'{"ready": true}').json]
    assert "classic" in names
    for body in (b"", b"{}", b'{"ready": null}', b'{"ready": false}'):
        assert len(server.ask(index, body).json) >= len(names)
    for body in (b'{"repository_name": "x"}', b'{"ready": "yes"}', b"[]", b"rubbish"):
        assert server.ask(index, body).status == 400, body
    for body in (
        b'{"parameters": {"config": "{}"}}',
        b'{"parameters": {"file:1/model.keras": "AAAA"}}',
        b'{"parameters": []}',
        b'{"version": "1"}',
    ):
        assert server.ask(load, body, **token).status == 400, body
    for body in (b"", b"{}", b'{"parameters": null}', b'{"parameters": {}}'):
        assert server.ask(load, body, **token).status == 200, body


@pytest.mark.parametrize("length", ["-1", "ten", "1e3", "99999999", ""])
def test_invalid_json_length_gives_400(server: Server, length: str) -> None:
    """A length that is no number, or larger than the body, is refused."""
    answer = server.ask(INFER, b"{}", **{LENGTH: length})
    assert answer.status == 400
    assert list(answer.json) == ["error"]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"inputs": []},
        {"inputs": [1]},
        {"inputs": [{"name": "image"}]},
        {"inputs": [{"name": "image", "datatype": "UINT8", "shape": "x", "data": []}]},
        {"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 784], "data": [1, 2]}]},
        {"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 784], "data": [[1], []]}]},
        {
            "inputs": [
                {"name": "image", "datatype": "UINT8", "shape": [1, 784], "data": [0.5] * 784}
            ]
        },
        {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 784], "data": ["a"] * 784}]},
        {"inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, -784], "data": [1] * 784}]},
        {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["?"]}]},
        {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [2], "data": ["AAAA"]}]},
        {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["AAAA"]}]},
        {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [0], "data": []}]},
        {
            "inputs": [
                {
                    "name": "image",
                    "datatype": "UINT8",
                    "shape": [1, 784],
                    "parameters": {"binary_data_size": 784},
                }
            ]
        },
        {"id": 7, "inputs": [{"name": "image", "datatype": "UINT8", "shape": [1], "data": [1]}]},
    ],
)
def test_invalid_body_gives_400(server: Server, message: dict) -> None:
    """Every invalid request gives 400 with a message in the protocol's form."""
    answer = server.ask(INFER, json.dumps(message).encode())
    assert answer.status == 400, answer
    assert list(answer.json) == ["error"]
    assert answer.json["error"]


def test_damaged_binary_tensor_gives_400(server: Server) -> None:
    """BYTES elements that end after the tensor, and tensors that end early, are refused."""
    for raw in (b"\x05\x00", struct.pack("<I", 100) + b"abc", b""):
        head = json.dumps(
            {
                "inputs": [
                    {
                        "name": "image",
                        "datatype": "BYTES",
                        "shape": [1],
                        "parameters": {"binary_data_size": len(raw)},
                    }
                ]
            }
        ).encode()
        answer = server.ask(INFER, head + raw, **{LENGTH: str(len(head))})
        assert answer.status == 400, answer


def test_invalid_compression_is_refused(server: Server) -> None:
    """Too large after decompression gives 413, damaged gives 400, an unknown coding gives 415."""
    bomb = gzip.compress(bytes(50_000_000))
    assert server.ask(INFER, bomb, Content_Encoding="gzip").status == 413
    assert server.ask(INFER, b"nothing", Content_Encoding="gzip").status == 400
    assert server.ask(INFER, gzip.compress(b"{}")[:-9], Content_Encoding="gzip").status == 400
    assert server.ask(INFER, b"{}", Content_Encoding="br").status == 415


def test_framework_errors_have_the_protocol_s_form(server: Server) -> None:
    """An unknown path, a wrong method and a large body give `{"error": ...}`."""
    for path, status in (("/v2/nowhere", 404), ("/v1/models/classic/nowhere", 404)):
        answer = server.get(path)
        assert (answer.status, list(answer.json)) == (status, ["error"])
    wrong = server.get(INFER)
    assert (wrong.status, list(wrong.json)) == (405, ["error"])
    assert wrong.headers["allow"] == "POST"
    large = server.ask(INFER, bytes(6_000_000))
    assert (large.status, list(large.json)) == (413, ["error"])
