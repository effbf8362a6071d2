"""Routes of TensorFlow Serving's REST API, with the additions of KServe's V1 protocol."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import islice
from typing import Any

import numpy as np
from fastapi import APIRouter, HTTPException, Request, Response

from app.errors import UndecodableError
from app.inference.entries import ModelState
from app.inference.runtime import Pixels
from app.inspection.explanation import ExplainRequest, explain, explanation_s
from app.protocols import tensors
from app.protocols.encoding import json_response, read_json, shorten
from app.protocols.inference import (
    VERSION_PARAMETER,
    VersionDep,
    find_model,
    recognise,
)
from app.protocols.input_options import Scale, parse_input_options, parse_parameters
from app.recognise import ImageInput, Preprocess
from app.web.dependencies import ServiceDep
from app.web.http.disconnect import disconnected
from app.web.http.fast_routes import FastRoute
from app.web.requests.body import read_body
from app.web.requests.parsing import parse, without_gc
from app.web.responses.explanations import explanation_answer
from app.web.responses.openapi_errors import protocol_error_responses
from app.web.responses.openapi_requests import tfserving_body
from app.web.schemas.protocols import (
    Dimension,
    ExplanationsAnswer,
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
from app.web.service import kind_of_work

router = APIRouter(prefix="/v1", tags=["TensorFlow Serving"], route_class=FastRoute)
INPUT, OUTPUT, SIGNATURE = "image", "probabilities", "serving_default"
MAX_EXPLAINED = 16  # images of one `:explain`; each takes about 0.3 s
_VERSION_PATH = "/models/{model}/versions/{version}"
_VERSION_EXTRA = {"parameters": [VERSION_PARAMETER]}
_STATES: dict[ModelState, str] = {"ready": "AVAILABLE", "compiling": "LOADING", "failed": "END"}
_NOT_SERVED = protocol_error_responses(404, 503)
_PREDICT_ERRORS = protocol_error_responses(400, 404, 408, 413, 415, 422, 503, 504)


@dataclass(frozen=True)
class ParsedPredictRequest:
    """A prediction request.

    Attributes:
        response_key: Key of the probabilities in the response: `predictions` or `outputs`.
        preprocess: Whether pixels are prepared.
        pixels: `[N, 28, 28]`, or None if the request has files.
        files: Image files; empty if the request has pixels.
    """

    response_key: str
    preprocess: Preprocess
    pixels: Pixels | None
    files: Sequence[bytes]


@router.get("/models", operation_id="tfs_models", summary="List the models")
async def list_models(service: ServiceDep) -> ModelNames:
    """Return the names of all models. An addition of KServe."""
    return ModelNames(models=list(service.registry.entries))


@router.post(
    "/models/{model}:predict",
    operation_id="tfs_predict",
    summary="Recognise digits",
    response_model=PredictResponse,
    responses=_PREDICT_ERRORS,
    openapi_extra=tfserving_body(),
)
@router.post(
    f"{_VERSION_PATH}:predict",
    operation_id="tfs_version_predict",
    summary="Recognise digits with one version",
    response_model=PredictResponse,
    responses=_PREDICT_ERRORS,
    openapi_extra=tfserving_body(VERSION_PARAMETER),
)
async def predict(
    request: Request, model: str, service: ServiceDep, version: VersionDep
) -> Response:
    """Take images in row format (`instances`) or column format (`inputs`); return probabilities.

    An image is either 28 rows of 28 numbers, 0..255 or 0..1, ink high, each number optionally in a
    list of its own, or `{"b64": "..."}` with an image file, which is prepared as by `/predict`.
    Numbers are not prepared unless `parameters` has `"preprocess": "auto"`; with
    `"scale": "model"`, numbers of any range go to the network as they are. The response has one row
    of probabilities, one for each class, for each image.
    """
    served = await find_model(service, model, version)
    parsed = await parse(
        request,
        parse_request,
        await read_body(request, service.limits.max_body_bytes),
        service.limits.max_batch_items,
    )
    recognised = await recognise(
        service,
        served,
        parsed.pixels,
        parsed.files,
        parsed.preprocess,
        disconnected=disconnected(request),
        client=request.scope.get("client"),
    )
    answer: dict[str, Any] = {parsed.response_key: recognised.probabilities.tolist()}
    if recognised.warnings:
        answer["warnings"] = recognised.warnings
    return json_response(answer)


@router.post(
    "/models/{model}:explain",
    operation_id="tfs_explain",
    summary="Show which pixels mattered",
    responses=_PREDICT_ERRORS,
    openapi_extra=tfserving_body(),
)
async def explain_images(request: Request, model: str, service: ServiceDep) -> ExplanationsAnswer:
    """Take at most 16 images as `:predict` does; return for each what `/explain` answers.

    An operation of KServe's V1 protocol.
    """
    served = await find_model(service, model, None)
    parsed = await parse(
        request,
        parse_request,
        await read_body(request, service.limits.max_body_bytes),
        MAX_EXPLAINED,
    )
    images: list[ImageInput] = list(parsed.files)
    options = service.file_options
    if parsed.pixels is not None:
        tensors.check_file_count(len(parsed.pixels), MAX_EXPLAINED)
        images = list(np.rint(parsed.pixels).astype(np.uint8))
        options = replace(options, preprocess=parsed.preprocess)

    asked = ExplainRequest()

    def work() -> ExplanationsAnswer:
        explained = (explain(image, served, options, asked) for image in images)
        return ExplanationsAnswer(
            explanations=[explanation_answer(one, served) for one in explained]
        )

    estimate_s = len(images) * explanation_s(served.network, asked)
    return await service.explanation_pool.run_until(
        disconnected(request), kind_of_work("explain many", served, len(images), estimate_s), work
    )


@router.post("/models/{model}:{method}", include_in_schema=False)
@router.post(f"{_VERSION_PATH}:{{method}}", include_in_schema=False)
async def refuse_method(model: str, method: str) -> Response:
    """Refuse `:classify`, `:regress` and unknown methods with 400, as TensorFlow Serving does."""
    raise UndecodableError(
        f"The model {model!r} has no method {method[:40]!r}; expected :predict, or :explain of"
        " KServe's protocol."
    )


# Before the routes of a status, whose `{model}` and `{version}` match these paths, too.
@router.get("/models/{model}:{method}", include_in_schema=False)
@router.get(f"{_VERSION_PATH}:{{method}}", include_in_schema=False)
async def refuse_get(method: str) -> Response:
    """Refuse a GET of `:predict` and others."""
    raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})


@router.get(
    "/models/{model}",
    operation_id="tfs_status",
    summary="Return a model's status",
    responses=_NOT_SERVED,
)
@router.get(
    _VERSION_PATH,
    operation_id="tfs_version_status",
    summary="Return a version's status",
    responses=_NOT_SERVED,
    openapi_extra=_VERSION_EXTRA,
)
async def status(model: str, service: ServiceDep, version: VersionDep) -> ModelStatus:
    """Return the served version and its state: `AVAILABLE`, `LOADING`, or `END` if it failed.

    The status of a failed version says why. `name` and `ready` are additions of KServe; `ready` is
    false during shutdown.
    """
    entry = service.registry.find_entry(model)
    available = entry.state == "ready"
    if available:
        await find_model(service, model, version)
    error = VersionError(error_code="OK", error_message="")
    if entry.state == "failed":
        error = VersionError(error_code="FAILED_PRECONDITION", error_message=entry.failure)
    version_status = VersionStatus(
        version=str(entry.version), state=_STATES[entry.state], status=error
    )
    return ModelStatus(
        model_version_status=[version_status],
        name=model,
        ready=available and not service.drain.started,
    )


@router.get(
    "/models/{model}/metadata",
    operation_id="tfs_metadata",
    summary="Describe a model's tensors",
    responses=_NOT_SERVED,
)
@router.get(
    f"{_VERSION_PATH}/metadata",
    operation_id="tfs_version_metadata",
    summary="Describe a version's tensors",
    responses=_NOT_SERVED,
    openapi_extra=_VERSION_EXTRA,
)
async def metadata(model: str, service: ServiceDep, version: VersionDep) -> ModelSignatures:
    """Return the signature `serving_default`: name, datatype and shape of input and output."""
    served = await find_model(service, model, version)
    signature = Signature(
        inputs={INPUT: _tensor_info(INPUT, (-1, 28, 28, 1))},
        outputs={OUTPUT: _tensor_info(OUTPUT, (-1, len(served.bundle.metadata.classes)))},
        method_name="tensorflow/serving/predict",
    )
    return ModelSignatures(
        model_spec=ModelSpec(
            name=model, signature_name="", version=str(served.bundle.metadata.version)
        ),
        metadata=SignatureMetadata(
            signature_def=SignatureMap(signature_def={SIGNATURE: signature})
        ),
    )


def _tensor_info(name: str, sizes: Sequence[int]) -> TensorInfo:
    dims = [Dimension(size=str(size), name="") for size in sizes]
    shape = TensorShape(dim=dims, unknown_rank=False)
    return TensorInfo(dtype="DT_FLOAT", tensor_shape=shape, name=f"{name}:0")


@without_gc
def parse_request(content: bytes, max_files: int) -> ParsedPredictRequest:
    """Parse the body of a prediction request.

    Args:
        content: The JSON.
        max_files: Image files in one request, at most.

    Raises:
        UndecodableError: The body does not follow the protocol.
        TooLargeError: There are more than `max_files` files.
    """
    message = read_json(content, max_files)
    signature = message.get("signature_name")
    if signature not in (None, "", SIGNATURE):
        raise UndecodableError(
            f"There is no signature {shorten(signature)}; expected {SIGNATURE!r}."
        )
    if (message.get("instances") is None) == (message.get("inputs") is None):
        raise UndecodableError("Expected exactly one of 'instances' and 'inputs'.")
    if message.get("instances") is not None:
        key, images = "predictions", _row_images(message["instances"])
    else:
        key, images = "outputs", _column_images(message["inputs"])
    options = parse_input_options(parse_parameters(message))
    parsed = _parse_images(images, max_files, options.scale)
    return ParsedPredictRequest(key, options.preprocess, *parsed)


def _row_images(instances: Any) -> list[Any]:
    """Return the images of the row format, in which each row may name its input."""
    if not isinstance(instances, list) or not instances:
        raise UndecodableError("'instances' must be a list of at least one image.")
    if not isinstance(instances[0], dict):
        return instances
    return [_unwrap_input(instance) for instance in instances]


def _column_images(inputs: Any) -> list[Any]:
    """Return the images of the column format, which may name its input."""
    images = _unwrap_input(inputs)
    if isinstance(images, list) and images:
        return images
    raise UndecodableError("'inputs' must hold a list of at least one image.")


def _unwrap_input(value: Any) -> Any:
    """Return the value of `{"image": value}`, and any value without an input's name as it is."""
    if not isinstance(value, dict) or "b64" in value:
        return value
    if value.keys() != {INPUT}:
        names = ", ".join(map(shorten, islice(value, 3)))
        raise UndecodableError(
            f"Expected the input {INPUT!r} and no other; got {len(value)}: {names or 'none'}."
        )
    return value[INPUT]


def _parse_images(
    images: list[Any], max_files: int, scale: Scale
) -> tuple[Pixels | None, Sequence[bytes]]:
    """Return the pixels or the files of images that are all of the same kind."""
    if not isinstance(images[0], dict):
        return tensors.to_pixels(tensors.from_lists(images), scale), ()
    tensors.check_file_count(len(images), max_files)
    return None, [_parse_file(image) for image in images]


def _parse_file(image: Any) -> bytes:
    if not isinstance(image, dict) or image.keys() != {"b64"}:
        raise UndecodableError('Every image must be an object with the one key "b64".')
    return tensors.decode_base64(image["b64"])
