"""TensorFlow Serving's REST interface, and what KServe's first protocol adds to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from fastapi import APIRouter, Request, Response

from app.errors import UndecodableError
from app.inference.runtime import Pixels
from app.protocols import tensors
from app.protocols.encoding import json_answer, read_content, read_json, shown
from app.protocols.inference import VERSION, VersionDep, find_model, read_digits, read_files
from app.web.dependencies import ServiceDep
from app.web.requests.json_images import without_gc
from app.web.responses.openapi_errors import protocol_error_responses
from app.web.responses.openapi_requests import tfserving_body
from app.web.schemas.protocols import (
    Dimension,
    ModelNames,
    ModelSignatures,
    ModelSpec,
    ModelStatus,
    PredictResponse,
    Signature,
    SignatureMap,
    SignatureMetadata,
    TensorInfo,
    TensorShape,
    VersionError,
    VersionStatus,
)

router = APIRouter(prefix="/v1", tags=["TensorFlow Serving"])
INPUT, OUTPUT, SIGNATURE = "image", "probabilities", "serving_default"
_VERSIONED = "/models/{model}/versions/{version}"
_ERRORS = protocol_error_responses
_OF_VERSION = {"parameters": [VERSION]}


@dataclass(frozen=True)
class ParsedPredictRequest:
    """A request to predict.

    Attributes:
        answer: The key of its answer.
        pixels: Digits `[N, 28, 28]`, or None where files came.
        files: Image files.
    """

    answer: str
    pixels: Pixels | None
    files: Sequence[bytes]


@router.get("/models", operation_id="tfs_models", summary="List the models")
async def list_models(service: ServiceDep) -> ModelNames:
    """Name every model (KServe)."""
    return ModelNames(models=list(service.registry.bundles))


# Before the routes of GET, whose `{model}` takes `compact:predict` too: of two routes for other
# methods the first is the one that a 405 is about.
@router.post(
    "/models/{model}:predict",
    operation_id="tfs_predict",
    summary="Read digits",
    response_model=PredictResponse,
    responses=_ERRORS(400, 404, 413, 415, 422, 503, 504),
    openapi_extra=tfserving_body(),
)
@router.post(
    f"{_VERSIONED}:predict",
    operation_id="tfs_version_predict",
    summary="Read digits with a version",
    response_model=PredictResponse,
    responses=_ERRORS(400, 404, 413, 415, 422, 503, 504),
    openapi_extra=tfserving_body(VERSION),
)
async def predict(
    request: Request, model: str, service: ServiceDep, version: VersionDep
) -> Response:
    """Read digits in row format (`instances`) or column format (`inputs`).

    An image is 28 rows of 28 numbers (each may be in a list of its own), 0..255, ink high, or
    `{"b64": ...}` with an image file, which is prepared.
    """
    found = await find_model(service, model, version)
    content = await read_content(request, service.limits)
    asked = read_request(content, service.limits.max_batch_items)
    if asked.pixels is not None:
        rows = await read_digits(request, service, found, asked.pixels)
    else:
        rows = await read_files(request, service, found, asked.files)
    return json_answer(request, {asked.answer: rows.tolist()})


@without_gc
def read_request(content: bytes, most_files: int) -> ParsedPredictRequest:
    """Read a request's body.

    Args:
        content: The JSON.
        most_files: Image files that are taken at once.

    Raises:
        UndecodableError: It is not what the protocol says.
        TooLargeError: Too many files.
    """
    said = read_json(content)
    signature = said.get("signature_name", SIGNATURE)
    if signature not in ("", SIGNATURE):
        raise UndecodableError(f"There is no signature {shown(signature)}; there is {SIGNATURE!r}.")
    if ("instances" in said) == ("inputs" in said):
        raise UndecodableError("Expected exactly one of 'instances' and 'inputs'.")
    if "instances" in said:
        return ParsedPredictRequest("predictions", *_read(_rows(said["instances"]), most_files))
    return ParsedPredictRequest("outputs", *_read(_column(said["inputs"]), most_files))


@router.get(
    "/models/{model}",
    operation_id="tfs_status",
    summary="Give a model's status",
    responses=_ERRORS(404, 503),
)
@router.get(
    _VERSIONED,
    operation_id="tfs_version_status",
    summary="Give a version's status",
    responses=_ERRORS(404, 503),
    openapi_extra=_OF_VERSION,
)
async def status(model: str, service: ServiceDep, version: VersionDep) -> ModelStatus:
    """Say whether the served version can be asked; 200 for every known model."""
    bundle = service.registry.find_bundle(model)
    loaded = service.registry.is_ready(model)
    if loaded:
        await find_model(service, model, version)
    known = VersionStatus(
        version=str(bundle.metadata.version),
        state="AVAILABLE" if loaded else "LOADING",
        status=VersionError(error_code="OK", error_message=""),
    )
    ready = loaded and not service.drain.begun
    return ModelStatus(model_version_status=[known], name=model, ready=ready)


@router.get(
    "/models/{model}/metadata",
    operation_id="tfs_metadata",
    summary="Describe a model's tensors",
    responses=_ERRORS(404, 503),
)
@router.get(
    f"{_VERSIONED}/metadata",
    operation_id="tfs_version_metadata",
    summary="Describe a version's tensors",
    responses=_ERRORS(404, 503),
    openapi_extra=_OF_VERSION,
)
async def metadata(model: str, service: ServiceDep, version: VersionDep) -> ModelSignatures:
    """Give the signature."""
    known = (await find_model(service, model, version)).bundle.metadata
    signature = Signature(
        inputs={INPUT: _tensor(INPUT, (-1, 28, 28, 1))},
        outputs={OUTPUT: _tensor(OUTPUT, (-1, 10))},
        method_name="tensorflow/serving/predict",
    )
    return ModelSignatures(
        model_spec=ModelSpec(name=model, signature_name="", version=str(known.version)),
        metadata=SignatureMetadata(
            signature_def=SignatureMap(signature_def={SIGNATURE: signature})
        ),
    )


def _tensor(name: str, sizes: Sequence[int]) -> TensorInfo:
    dims = [Dimension(size=str(size), name="") for size in sizes]
    shape = TensorShape(dim=dims, unknown_rank=False)
    return TensorInfo(dtype="DT_FLOAT", tensor_shape=shape, name=f"{name}:0")


def _rows(instances: Any) -> list[Any]:
    """Return the images of the row format; a row may name its input."""
    if not isinstance(instances, list) or not instances:
        raise UndecodableError("'instances' must be a list that is not empty.")
    if not isinstance(instances[0], dict):
        return instances
    return [_named(one) for one in instances]


def _column(inputs: Any) -> list[Any]:
    """Return the images of the column format, which may name its input."""
    images = _named(inputs)
    if isinstance(images, list) and images:
        return images
    raise UndecodableError("'inputs' must hold a list of images that is not empty.")


def _named(value: Any) -> Any:
    if not isinstance(value, dict) or "b64" in value:
        return value
    if value.keys() != {INPUT}:
        names = ", ".join(map(shown, islice(value, 3)))
        raise UndecodableError(
            f"Expected the input {INPUT!r} and no other; got {len(value)}: {names or 'none'}."
        )
    return value[INPUT]


def _read(images: list[Any], most_files: int) -> tuple[Pixels | None, Sequence[bytes]]:
    """Return digits, or image files; an error unless all are the same."""
    if not isinstance(images[0], dict):
        return tensors.to_pixels(tensors.from_lists(images)), ()
    tensors.check_files(len(images), most_files)
    return None, [_file(image) for image in images]


def _file(image: Any) -> bytes:
    if not isinstance(image, dict) or image.keys() != {"b64"}:
        raise UndecodableError('Expected an object with the one key "b64" for every image.')
    return tensors.decode_base64(image["b64"])
