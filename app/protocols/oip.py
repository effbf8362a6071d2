"""Routes of the Open Inference Protocol, version 2, which KServe, Triton and MLServer share.

Includes Triton's extensions for binary tensors, classification and loading of models.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

from fastapi import APIRouter, Request, Response

from app.errors import UndecodableError
from app.protocols.encoding import json_response, read_control
from app.protocols.inference import (
    VERSION_PARAMETER,
    VersionDep,
    find_model,
    recognise,
)
from app.protocols.oip_messages import (
    DIGIT,
    INPUT,
    LABEL,
    LENGTH_HEADER,
    PROBABILITIES,
    parse_request,
    write_response,
)
from app.version import VERSION
from app.web.dependencies import ServiceDep
from app.web.http.disconnect import disconnected
from app.web.http.fast_routes import FastRoute
from app.web.requests.body import read_body
from app.web.requests.parsing import parse
from app.web.responses.content_negotiation import BINARY_SCHEMA
from app.web.responses.openapi_errors import protocol_error_responses
from app.web.responses.openapi_requests import ADMIN_SECURITY, control_body, oip_body
from app.web.schemas.protocols import (
    InferenceResponse,
    InputMetadata,
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
from app.web.service import Service

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"], route_class=FastRoute)
SCALE = "0..255 or 0..1"  # the ranges of pixels that the input accepts
EXTENSIONS = ["binary_tensor_data", "classification", "model_repository"]
_VERSION_PATH = "/models/{model}/versions/{version}"
_VERSION_EXTRA = {"parameters": [VERSION_PARAMETER]}
_NOT_SERVED = protocol_error_responses(404, 503)
_INFER_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": BINARY_SCHEMA}}},
    **protocol_error_responses(400, 404, 408, 413, 415, 422, 503, 504),
}


@router.get("", operation_id="oip_server", summary="Describe the server")
async def server() -> ServerMetadata:
    """Return the server's name, its version and the extensions of the protocol that it supports."""
    return ServerMetadata(name="digitscope", version=VERSION, extensions=EXTENSIONS)


@router.get("/health/live", operation_id="oip_live", summary="Check that the server is alive")
async def live() -> ServerLive:
    """Return `true` while the process can answer."""
    return ServerLive(live=True)


@router.get(
    "/health/ready",
    operation_id="oip_ready",
    summary="Check that the default model is ready",
    responses=protocol_error_responses(503),
)
async def ready(service: ServiceDep) -> ServerReady:
    """Return `true` if the default model is ready; 503 before that, and during shutdown."""
    service.drain.check()
    service.registry.check_ready()
    return ServerReady(ready=True)


@router.get("/models", operation_id="oip_models", summary="List the models")
async def list_models(service: ServiceDep) -> ModelNames:
    """Return the names of all models."""
    return ModelNames(models=list(service.registry.entries))


@router.post(
    "/repository/index",
    operation_id="oip_index",
    summary="List the repository",
    responses=protocol_error_responses(400, 413),
    openapi_extra=control_body("IndexRequest"),
)
async def index(request: Request, service: ServiceDep) -> list[RepositoryEntry]:
    """Return every model with its version, its state `READY` or `UNAVAILABLE`, and the reason.

    The body may be `{"ready": true}`, for the models that are ready.
    """
    control = await read_control(request, {"ready": bool})
    return repository_index(service, ready_only=control.get("ready") is True)


def repository_index(service: Service, *, ready_only: bool) -> list[RepositoryEntry]:
    """Return every model, or those that are ready, with their states."""
    return [
        RepositoryEntry(
            name=name,
            version=str(entry.version),
            state="READY" if entry.state == "ready" else "UNAVAILABLE",
            reason="being compiled" if entry.state == "compiling" else entry.failure,
        )
        for name, entry in service.registry.entries.items()
        if entry.state == "ready" or not ready_only
    ]


@router.post(
    "/repository/models/{model}/load",
    operation_id="oip_load",
    summary="Reload a model",
    responses=protocol_error_responses(400, 401, 404, 409, 413, 503),
    openapi_extra={**ADMIN_SECURITY, **control_body("LoadRequest")},
)
async def load(request: Request, model: str, service: ServiceDep) -> Response:
    """Read the model's bundle from disk and serve it from then on; return `{}`.

    Needs the admin token. Does the same as `POST /models/{model}/reload`. A body with `parameters`,
    such as another configuration or files, is refused.
    """
    service.admin.check(request.headers)
    if (await read_control(request, {"parameters": dict})).get("parameters"):
        raise UndecodableError(
            "A model is loaded as it is on disk, without parameters; expected no body, or {}."
        )
    await service.reload(model)
    return json_response({})


@router.post(
    "/repository/models/{model}/unload",
    operation_id="oip_unload",
    summary="Refuse to unload a model",
    include_in_schema=False,  # it never succeeds
)
async def unload(request: Request, model: str, service: ServiceDep) -> Response:
    """Always fail with 400: the service serves every bundle in its folder."""
    refuse_unload(service, request.headers, model)


@router.get(
    "/models/{model}",
    operation_id="oip_model",
    summary="Describe a model's tensors",
    responses=_NOT_SERVED,
)
@router.get(
    _VERSION_PATH,
    operation_id="oip_version",
    summary="Describe a version's tensors",
    responses=_NOT_SERVED,
    openapi_extra=_VERSION_EXTRA,
)
async def metadata(model: str, service: ServiceDep, version: VersionDep) -> ModelMetadata:
    """Return the model's version, and name, datatype and shape of its inputs and outputs."""
    served = await find_model(service, model, version)
    return ModelMetadata(
        name=model,
        versions=[str(served.bundle.metadata.version)],
        platform="tensorflow_keras",
        inputs=[
            InputMetadata(
                name=INPUT,
                datatype="UINT8",
                shape=[-1, 28, 28, 1],
                parameters={"scale": SCALE},
            )
        ],
        outputs=[
            TensorMetadata(
                name=PROBABILITIES, datatype="FP32", shape=[-1, len(served.bundle.metadata.classes)]
            ),
            TensorMetadata(name=DIGIT, datatype="INT64", shape=[-1]),
            TensorMetadata(name=LABEL, datatype="BYTES", shape=[-1]),
        ],
    )


@router.get(
    "/models/{model}/config",
    operation_id="oip_config",
    summary="Return a model's configuration",
    responses=_NOT_SERVED,
)
@router.get(
    f"{_VERSION_PATH}/config",
    operation_id="oip_version_config",
    summary="Return a version's configuration",
    responses=_NOT_SERVED,
    openapi_extra=_VERSION_EXTRA,
)
async def config(model: str, service: ServiceDep, version: VersionDep) -> ModelConfig:
    """Return the configuration in the form of Triton's extension.

    `max_batch_size` is 0, because only the size of the body limits a batch.
    """
    served = await find_model(service, model, version)
    return ModelConfig(
        name=model,
        platform="tensorflow_keras",
        backend="litert",
        max_batch_size=0,
        input=[TensorConfig(name=INPUT, data_type="TYPE_UINT8", dims=[-1, 28, 28, 1])],
        output=[
            TensorConfig(
                name=PROBABILITIES,
                data_type="TYPE_FP32",
                dims=[-1, len(served.bundle.metadata.classes)],
            ),
            TensorConfig(name=DIGIT, data_type="TYPE_INT64", dims=[-1]),
            TensorConfig(name=LABEL, data_type="TYPE_STRING", dims=[-1]),
        ],
    )


@router.get(
    "/models/{model}/ready",
    operation_id="oip_model_ready",
    summary="Check that a model is ready",
    responses=_NOT_SERVED,
)
@router.get(
    f"{_VERSION_PATH}/ready",
    operation_id="oip_version_ready",
    summary="Check that a version is ready",
    responses=_NOT_SERVED,
    openapi_extra=_VERSION_EXTRA,
)
async def model_ready(model: str, service: ServiceDep, version: VersionDep) -> ModelReady:
    """Return `true` if the model is loaded or can be loaded; 503 if not, and during shutdown."""
    service.drain.check()
    await find_model(service, model, version)
    return ModelReady(name=model, ready=True)


@router.post(
    "/models/{model}/infer",
    operation_id="oip_infer",
    summary="Recognise digits",
    response_model=InferenceResponse,
    responses=_INFER_RESPONSES,
    openapi_extra=oip_body(),
)
@router.post(
    f"{_VERSION_PATH}/infer",
    operation_id="oip_version_infer",
    summary="Recognise digits with one version",
    response_model=InferenceResponse,
    responses=_INFER_RESPONSES,
    openapi_extra=oip_body(VERSION_PARAMETER),
)
async def infer(request: Request, model: str, service: ServiceDep, version: VersionDep) -> Response:
    """Take one tensor `image`; return the tensors `probabilities`, `digit` and `label`.

    - Integers or floats (`UINT8`, `FP32`, `INT64` and others) of shape `[-1, 28, 28, 1]`,
      `[-1, 28, 28]` or `[-1, 784]`: pixels, 0..255 or 0..1, ink high. They are not prepared, unless
      the parameter `preprocess` is `auto`. With the parameter `scale` `model`, numbers of any range
      go to the network as they are.
    - `BYTES` of shape `[-1]`: image files, as base64 in JSON. They are prepared as by `/predict`.

    Tensors may be JSON or binary, in the request and in the response.
    """
    served = await find_model(service, model, version)
    inference = await parse(
        request,
        parse_request,
        await read_body(request, service.limits.max_body_bytes),
        request.headers.get(LENGTH_HEADER),
        service.limits.max_batch_items,
    )
    recognised = await recognise(
        service,
        served,
        inference.pixels,
        inference.files,
        inference.preprocess,
        disconnected=disconnected(request),
        client=request.scope.get("client"),
    )
    return write_response(served.bundle.metadata, inference, recognised)


def refuse_unload(service: Service, headers: Mapping[str, str], model: str) -> NoReturn:
    """Refuse to unload a model; an administrator gets the reason.

    Raises:
        UnauthorisedError: The headers have no admin token.
        NotFoundError: There is no such model, or no admin token is set.
        UndecodableError: There is.
    """
    service.admin.check(headers)
    service.registry.find_entry(model)
    raise UndecodableError(
        "Models cannot be unloaded here: remove the bundle from the folder; the service follows."
    )
