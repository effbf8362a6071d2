"""The Open Inference Protocol, version 2, as KServe, Triton and MLServer speak it.

With Triton's extensions for binary tensors, classification, and loading of models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from app.errors import UndecodableError
from app.inference.model import Model
from app.inference.runtime import Pixels
from app.protocols import tensors
from app.protocols.encoding import answer, json_answer, read_content, read_json, shown, to_json
from app.protocols.inference import VERSION as OF_PATH
from app.protocols.inference import VersionDep, find_model, read_digits, read_files
from app.version import VERSION
from app.web.dependencies import ServiceDep
from app.web.requests.json_images import without_gc
from app.web.responses.content_negotiation import BINARY_SCHEMA
from app.web.responses.openapi_errors import protocol_error_responses
from app.web.responses.openapi_requests import ADMIN_SECURITY, oip_body
from app.web.schemas.protocols import (
    InferenceResponse,
    ModelConfig,
    ModelMetadata,
    ModelNames,
    ModelReady,
    RepositoryEntry,
    ServerLive,
    ServerMetadata,
    ServerReady,
    TensorConfig,
    TensorMetadata,
)

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])
HEADER = "inference-header-content-length"
INPUT, PROBABILITIES, DIGIT = "image", "probabilities", "digit"
KINDS = (*tensors.PIXEL_TYPES, "BYTES")
EXTENSIONS = ["binary_tensor_data", "classification", "model_repository"]
_ERRORS = protocol_error_responses
_VERSIONED = "/models/{model}/versions/{version}"
_OF_VERSION = {"parameters": [OF_PATH]}
_INFER: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": BINARY_SCHEMA}}},
    **_ERRORS(400, 404, 413, 415, 422, 503, 504),
}


@dataclass(frozen=True)
class RequestedOutput:
    """One output that is asked for.

    Attributes:
        name: Of the output.
        binary: Whether it comes as raw bytes.
        classes: How many classes to name instead of giving the numbers; 0 for the numbers.
    """

    name: str
    binary: bool
    classes: int


@dataclass(frozen=True)
class ParsedInferRequest:
    """A request to infer.

    Attributes:
        id: What the client calls it, or None.
        pixels: Digits `[N, 28, 28]`, or None where files came.
        files: Image files.
        outputs: What is asked for.
    """

    id: str | None
    pixels: Pixels | None
    files: Sequence[bytes]
    outputs: Sequence[RequestedOutput]


@router.get("", operation_id="oip_server", summary="Describe the server")
async def server() -> ServerMetadata:
    """Name the server and the extensions that it speaks."""
    return ServerMetadata(name="digitscope", version=VERSION, extensions=EXTENSIONS)


@router.get("/health/live", operation_id="oip_live", summary="Is the server alive?")
async def live() -> ServerLive:
    """Answer as long as the process answers."""
    return ServerLive(live=True)


@router.get(
    "/health/ready",
    operation_id="oip_ready",
    summary="Can all models be asked?",
    responses=_ERRORS(503),
)
async def ready(service: ServiceDep) -> ServerReady:
    """Answer 200 once every model is loaded, and until the process is about to stop."""
    service.drain.check()
    service.registry.check_ready()
    return ServerReady(ready=True)


@router.get("/models", operation_id="oip_models", summary="List the models")
async def list_models(service: ServiceDep) -> ModelNames:
    """Name every model."""
    return ModelNames(models=list(service.registry.bundles))


@router.post("/repository/index", operation_id="oip_index", summary="List the repository")
async def index(service: ServiceDep) -> list[RepositoryEntry]:
    """List every model with its version and whether it can be asked."""
    registry = service.registry
    return [
        RepositoryEntry(
            name=name,
            version=str(bundle.metadata.version),
            state="READY" if registry.is_ready(name) else "UNAVAILABLE",
            reason="",
        )
        for name, bundle in registry.bundles.items()
    ]


@router.post(
    "/repository/models/{model}/load",
    operation_id="oip_load",
    summary="Load a model's bundle anew",
    responses=_ERRORS(401, 404, 409, 503),
    openapi_extra=ADMIN_SECURITY,
)
async def load(request: Request, model: str, service: ServiceDep) -> Response:
    """Do what `POST /models/{model}/reload` does; needs the admin token."""
    service.admin.check(request)
    await service.reload_pool.run(service.registry.reload, model)
    return json_answer(request, {})


@router.post(
    "/repository/models/{model}/unload",
    operation_id="oip_unload",
    summary="Refuse to unload",
    responses=_ERRORS(400, 401, 404),
    openapi_extra=ADMIN_SECURITY,
)
async def unload(request: Request, model: str, service: ServiceDep) -> Response:
    """Refuse: the models of a service are the bundles in its folder."""
    service.admin.check(request)
    service.registry.find_bundle(model)
    raise UndecodableError("Models are not unloaded here: take the bundle out and start anew.")


@router.get(
    "/models/{model}",
    operation_id="oip_model",
    summary="Describe a model's tensors",
    responses=_ERRORS(404, 503),
)
@router.get(
    _VERSIONED,
    operation_id="oip_version",
    summary="Describe a version's tensors",
    responses=_ERRORS(404, 503),
    openapi_extra=_OF_VERSION,
)
async def metadata(model: str, service: ServiceDep, version: VersionDep) -> ModelMetadata:
    """Give the model's version, its inputs and its outputs."""
    found = await find_model(service, model, version)
    return ModelMetadata(
        name=model,
        versions=[str(found.bundle.metadata.version)],
        platform="tensorflow_keras",
        inputs=[TensorMetadata(name=INPUT, datatype="UINT8", shape=[-1, 28, 28, 1])],
        outputs=[
            TensorMetadata(name=PROBABILITIES, datatype="FP32", shape=[-1, 10]),
            TensorMetadata(name=DIGIT, datatype="INT64", shape=[-1]),
        ],
    )


@router.get(
    "/models/{model}/config",
    operation_id="oip_config",
    summary="Give a model's configuration",
    responses=_ERRORS(404, 503),
)
@router.get(
    f"{_VERSIONED}/config",
    operation_id="oip_version_config",
    summary="Give a version's configuration",
    responses=_ERRORS(404, 503),
    openapi_extra=_OF_VERSION,
)
async def config(model: str, service: ServiceDep, version: VersionDep) -> ModelConfig:
    """Give what Triton's clients call the configuration; there is no limit to a batch but bytes."""
    await find_model(service, model, version)
    return ModelConfig(
        name=model,
        platform="tensorflow_keras",
        backend="litert",
        max_batch_size=0,
        input=[TensorConfig(name=INPUT, data_type="TYPE_UINT8", dims=[-1, 28, 28, 1])],
        output=[
            TensorConfig(name=PROBABILITIES, data_type="TYPE_FP32", dims=[-1, 10]),
            TensorConfig(name=DIGIT, data_type="TYPE_INT64", dims=[-1]),
        ],
    )


@router.get(
    "/models/{model}/ready",
    operation_id="oip_model_ready",
    summary="Can a model be asked?",
    responses=_ERRORS(404, 503),
)
@router.get(
    f"{_VERSIONED}/ready",
    operation_id="oip_version_ready",
    summary="Can a version be asked?",
    responses=_ERRORS(404, 503),
    openapi_extra=_OF_VERSION,
)
async def model_ready(model: str, service: ServiceDep, version: VersionDep) -> ModelReady:
    """Answer 200 if the model is loaded, and until the process is about to stop."""
    service.drain.check()
    await find_model(service, model, version)
    return ModelReady(name=model, ready=True)


@router.post(
    "/models/{model}/infer",
    operation_id="oip_infer",
    summary="Read digits",
    response_model=InferenceResponse,
    responses=_INFER,
    openapi_extra=oip_body(),
)
@router.post(
    f"{_VERSIONED}/infer",
    operation_id="oip_version_infer",
    summary="Read digits with a version",
    response_model=InferenceResponse,
    responses=_INFER,
    openapi_extra=oip_body(OF_PATH),
)
async def infer(request: Request, model: str, service: ServiceDep, version: VersionDep) -> Response:
    """Read digits from a tensor `image`.

    `UINT8` and `FP32` `[-1, 28, 28, 1]` (also `[-1, 28, 28]` and `[-1, 784]`), 0..255, ink high, go
    to the network as they are; `BYTES` `[-1]` holds image files (base64 in JSON), which are
    prepared. Tensors come as JSON or in binary.
    """
    found = await find_model(service, model, version)
    content = await read_content(request, service.limits)
    asked = read_request(content, request.headers.get(HEADER), service.limits.max_batch_items)
    if asked.pixels is not None:
        probabilities = await read_digits(request, service, found, asked.pixels)
    else:
        probabilities = await read_files(request, service, found, asked.files)
    return write_answer(request, found, asked, probabilities)


@without_gc
def read_request(content: bytes, header: str | None, most_files: int) -> ParsedInferRequest:
    """Read a request's body.

    Args:
        content: The JSON, and behind it the binary tensors.
        header: The length of the JSON as the client gave it; None if all of the body is JSON.
        most_files: Image files that are taken at once.

    Raises:
        UndecodableError: It is not what the protocol says.
        TooLargeError: Too many files.
    """
    length = _header_length(header, len(content))
    if length == 0:  # the whole body is one tensor of one image
        return ParsedInferRequest(None, *_whole_body(content), _all(binary=False))
    said, raw = read_json(content[:length]), content[length:]
    inputs = said.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise UndecodableError(f"Expected 'inputs' with one tensor, named {INPUT!r}.")
    pixels, files = _read_input(inputs[0], raw, most_files)
    name = said.get("id")
    if name is not None and not isinstance(name, str):
        raise UndecodableError("'id' must be a string.")
    return ParsedInferRequest(name, pixels, files, _read_outputs(said))


def _header_length(header: str | None, length: int) -> int:
    if header is None:
        return length
    # More digits than any length has are not read: Python refuses to from 4,300 on.
    if not header.isdecimal() or len(header) > 19 or int(header) > length:
        raise UndecodableError(
            f"The header {HEADER} is {header[:40]!r}; expected a number of bytes, at most the"
            f" body's {length}."
        )
    return int(header)


def _whole_body(content: bytes) -> tuple[Pixels | None, Sequence[bytes]]:
    for kind, dtype in tensors.PIXEL_TYPES.items():
        if len(content) == 784 * dtype.itemsize:
            return tensors.to_pixels(tensors.from_bytes(content, kind, [1, 28, 28])), ()
    return None, [content]


def _read_input(
    tensor: Mapping[str, Any], raw: bytes, most_files: int
) -> tuple[Pixels | None, Sequence[bytes]]:
    name, kind, shape = (tensor.get(key) for key in ("name", "datatype", "shape"))
    if name != INPUT:
        raise UndecodableError(f"There is no input {shown(name)}; there is {INPUT!r}.")
    if kind not in KINDS:
        raise UndecodableError(
            f"The datatype {shown(kind)} is not read; expected {', '.join(KINDS)}."
        )
    shape = _read_shape(shape)
    parameters = _parameters(tensor)
    size = parameters.get("binary_data_size")
    if (size is None) == ("data" not in tensor):
        raise UndecodableError("Expected either 'data' or the parameter 'binary_data_size'.")
    if size is None:
        return _from_json(tensor["data"], kind, shape, most_files)
    if type(size) is not int or size != len(raw):
        raise UndecodableError(
            f"'binary_data_size' is {shown(size)}; {len(raw)} bytes came behind the JSON."
        )
    if kind == "BYTES":
        return None, tensors.unpack_strings(raw, tensors.count_files(shape, most_files))
    return tensors.to_pixels(tensors.from_bytes(raw, kind, shape)), ()


def _read_shape(shape: Any) -> list[int]:
    if not isinstance(shape, list):
        raise UndecodableError("Expected a 'shape' of integers.")
    if len(shape) > tensors.MAX_DIMENSIONS:  # the product of a million sizes would take minutes
        raise UndecodableError(
            f"The 'shape' has {len(shape)} sizes; at most {tensors.MAX_DIMENSIONS} are expected."
        )
    if not all(type(size) is int for size in shape):
        raise UndecodableError("Expected a 'shape' of integers.")
    return shape


def _from_json(
    data: Any, kind: str, shape: Sequence[int], most_files: int
) -> tuple[Pixels | None, Sequence[bytes]]:
    if kind != "BYTES":
        values = tensors.from_lists(data, shape)
        if kind == "UINT8" and values.dtype.kind == "f":
            raise UndecodableError("UINT8 data must be integers.")
        pixels = tensors.to_pixels(values)
        return pixels.astype(np.uint8) if kind == "UINT8" else pixels, ()
    count = tensors.count_files(shape, most_files)
    if not isinstance(data, list) or len(data) != count:
        raise UndecodableError(f"BYTES data must be a list of {count} strings, as its shape says.")
    return None, [tensors.decode_base64(one) for one in data]


def _parameters(of: Mapping[str, Any]) -> Mapping[str, Any]:
    found = of.get("parameters", {})
    if not isinstance(found, dict):
        raise UndecodableError("'parameters' must be an object.")
    return found


def _all(*, binary: bool) -> list[RequestedOutput]:
    return [RequestedOutput(name, binary, 0) for name in (PROBABILITIES, DIGIT)]


def _read_outputs(said: Mapping[str, Any]) -> Sequence[RequestedOutput]:
    binary = _parameters(said).get("binary_data_output") is True
    listed = said.get("outputs")
    if not listed:
        return _all(binary=binary)
    if not isinstance(listed, list):
        raise UndecodableError("'outputs' must be a list.")
    wanted: list[RequestedOutput] = []
    for one in listed:
        name = one.get("name") if isinstance(one, dict) else None
        if name not in (PROBABILITIES, DIGIT):
            raise UndecodableError(
                f"There is no output {shown(name)}; there are {PROBABILITIES!r} and {DIGIT!r}."
            )
        if any(name == other.name for other in wanted):  # thousands would be gigabytes
            raise UndecodableError(f"The output {name!r} is asked for twice.")
        parameters = _parameters(one)
        classes = parameters.get("classification", 0)
        if type(classes) is not int or classes < 0 or (classes and name == DIGIT):
            raise UndecodableError(f"'classification' is a count, for {PROBABILITIES!r} only.")
        wanted.append(
            RequestedOutput(name, parameters.get("binary_data", binary) is True, min(classes, 10))
        )
    return wanted


def write_answer(
    request: Request, model: Model, asked: ParsedInferRequest, probabilities: NDArray[np.float32]
) -> Response:
    """Write the outputs that were asked for, in the order in which they were."""
    outputs, raw = [], b""
    for wanted in asked.outputs:
        kind, shape, data, content = _output(wanted, probabilities)
        entry: dict[str, Any] = {"name": wanted.name, "datatype": kind, "shape": shape}
        if wanted.binary:
            entry["parameters"] = {"binary_data_size": len(content)}
            raw += content
        else:
            entry["data"] = data
        outputs.append(entry)
    known = model.bundle.metadata
    said = {"model_name": known.name, "model_version": str(known.version), "outputs": outputs}
    if asked.id is not None:
        said["id"] = asked.id
    if not any(wanted.binary for wanted in asked.outputs):
        return json_answer(request, said)
    head = to_json(said)
    headers = {"Content-Type": "application/octet-stream", HEADER: str(len(head))}
    return answer(request, head + raw, headers)


def _output(
    wanted: RequestedOutput, probabilities: NDArray[np.float32]
) -> tuple[str, list[int], list[Any], bytes]:
    """Return datatype, shape, JSON data and raw bytes of an output."""
    if wanted.classes:
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : wanted.classes]
        labels = [
            f"{row[digit]:f}:{digit}:{digit}"
            for row, digits in zip(probabilities, order, strict=True)
            for digit in digits
        ]
        raw = tensors.pack_strings([label.encode() for label in labels])
        return "BYTES", list(order.shape), labels, raw
    if wanted.name == DIGIT:
        digits = probabilities.argmax(axis=1).astype("<i8")
        return "INT64", [len(digits)], digits.tolist(), digits.tobytes()
    raw = probabilities.astype("<f4").tobytes()
    return "FP32", list(probabilities.shape), probabilities.reshape(-1).tolist(), raw
