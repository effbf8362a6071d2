"""The methods of `inference.GRPCInferenceService`: each answers as the HTTP route of the same name.

Knows messages and the service; knows nothing of limits and status codes.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from google.protobuf.message import Message

from app.errors import DigitscopeError, NotFoundError, TooLargeError, UndecodableError
from app.protocols import oip
from app.protocols.encoding import MAX_CONTROL_BYTES
from app.protocols.grpc import inference_pb2 as pb
from app.protocols.grpc.call import Call, Method
from app.protocols.grpc.messages import InferMessage, infer_response, parse, parse_infer_request
from app.protocols.inference import find_model, recognise
from app.web.requests.parsing import MAX_INLINE_BYTES

T = TypeVar("T", bound=Message)
SERVICE = "inference.GRPCInferenceService"
# Bytes of working memory that it takes to parse a tensor, for each of its bytes: three copies.
PARSED_PER_BYTE = 3


def methods() -> list[Method]:
    """Return all methods."""
    return [
        _method("ServerLive", "/v2/health/live", pb.ServerLiveRequest, _server_live),
        _method("ServerReady", "/v2/health/ready", pb.ServerReadyRequest, _server_ready),
        _method("ModelReady", "/v2/models/ready", pb.ModelReadyRequest, _model_ready),
        _method("ServerMetadata", "/v2", pb.ServerMetadataRequest, _server_metadata),
        _method("ModelMetadata", "/v2/models", pb.ModelMetadataRequest, _model_metadata),
        _method("ModelConfig", "/v2/models/config", pb.ModelConfigRequest, _model_config),
        _method("RepositoryIndex", "/v2/repository", pb.RepositoryIndexRequest, _index),
        _method("RepositoryModelLoad", "/v2/repository", pb.RepositoryModelLoadRequest, _load),
        _method(
            "RepositoryModelUnload", "/v2/repository", pb.RepositoryModelUnloadRequest, _unload
        ),
        Method(f"/{SERVICE}/ModelInfer", "/v2/models/infer", _infer),
        Method(
            f"/{SERVICE}/ModelStreamInfer",
            "/v2/models/infer",
            _stream_infer,
            kind="stream",
            error_response=_stream_error,
        ),
    ]


def control_answer(
    kind: type[T], answer: Callable[[Call, T], Awaitable[Message]]
) -> Callable[[Call, bytes], Awaitable[bytes]]:
    """Return a function from an encoded message without tensors to an encoded response."""

    async def encoded(call: Call, content: bytes) -> bytes:
        if len(content) > MAX_CONTROL_BYTES:
            raise TooLargeError(
                f"The message has {len(content)} bytes; at most {MAX_CONTROL_BYTES} are accepted."
            )
        response = await answer(call, parse(kind, content))
        return bytes(response.SerializeToString())

    return encoded


def _method(
    name: str, path: str, kind: type[T], answer: Callable[[Call, T], Awaitable[Message]]
) -> Method:
    return Method(f"/{SERVICE}/{name}", path, control_answer(kind, answer))


async def _server_live(call: Call, request: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
    return pb.ServerLiveResponse(live=(await oip.live()).live)


async def _server_ready(call: Call, request: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
    return pb.ServerReadyResponse(ready=await is_ready(call))


async def is_ready(call: Call) -> bool:
    """Return whether the default model is ready, and the service not shutting down."""
    try:
        return (await oip.ready(call.service)).ready
    except DigitscopeError:
        return False


async def _model_ready(call: Call, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
    """Return whether a model is ready: false for an unknown one, as Triton answers."""
    try:
        answer = await oip.model_ready(request.name, call.service, request.version or None)
    except DigitscopeError:
        return pb.ModelReadyResponse(ready=False)
    return pb.ModelReadyResponse(ready=answer.ready)


async def _server_metadata(
    call: Call, request: pb.ServerMetadataRequest
) -> pb.ServerMetadataResponse:
    server = await oip.server()
    return pb.ServerMetadataResponse(
        name=server.name, version=server.version, extensions=server.extensions
    )


async def _model_metadata(call: Call, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
    model = await oip.metadata(request.name, call.service, request.version or None)
    tensor = pb.ModelMetadataResponse.TensorMetadata
    return pb.ModelMetadataResponse(
        name=model.name,
        versions=model.versions,
        platform=model.platform,
        inputs=[tensor(name=i.name, datatype=i.datatype, shape=i.shape) for i in model.inputs],
        outputs=[tensor(name=o.name, datatype=o.datatype, shape=o.shape) for o in model.outputs],
    )


async def _model_config(call: Call, request: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
    config = await oip.config(request.name, call.service, request.version or None)
    kind = pb.DataType.Value
    return pb.ModelConfigResponse(
        config=pb.ModelConfig(
            name=config.name,
            platform=config.platform,
            backend=config.backend,
            max_batch_size=config.max_batch_size,
            input=[
                pb.ModelInput(name=i.name, data_type=kind(i.data_type), dims=i.dims)
                for i in config.input
            ],
            output=[
                pb.ModelOutput(name=o.name, data_type=kind(o.data_type), dims=o.dims)
                for o in config.output
            ],
        )
    )


async def _index(call: Call, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
    if request.repository_name:
        raise NotFoundError("There is one repository, which has no name; leave it empty.")
    return pb.RepositoryIndexResponse(
        models=[
            pb.RepositoryIndexResponse.ModelIndex(**entry.model_dump())
            for entry in oip.repository_index(call.service, ready_only=request.ready)
        ]
    )


async def _load(
    call: Call, request: pb.RepositoryModelLoadRequest
) -> pb.RepositoryModelLoadResponse:
    call.service.admin.check(call.headers)
    if request.parameters:
        names = ", ".join(list(request.parameters)[:5])
        raise UndecodableError(
            f"A model is loaded as it is on disk, without parameters; got {names}."
        )
    name = request.model_name or request.repository_name
    await call.service.reload(name)
    return pb.RepositoryModelLoadResponse(model_name=name, isLoaded=True)


async def _unload(
    call: Call, request: pb.RepositoryModelUnloadRequest
) -> pb.RepositoryModelUnloadResponse:
    oip.refuse_unload(call.service, call.headers, request.model_name or request.repository_name)


async def _infer(call: Call, content: bytes) -> bytes:
    message = await _parse(call, content)
    response = await _recognise(call, message)
    return bytes(response.SerializeToString())


async def _stream_infer(call: Call, content: bytes) -> bytes:
    message = await _parse(call, content)
    response = await _recognise(call, message)
    if message.marks_final:
        response.parameters["triton_final_response"].bool_param = True
    return bytes(pb.ModelStreamInferResponse(infer_response=response).SerializeToString())


def _stream_error(error: DigitscopeError) -> bytes:
    return bytes(pb.ModelStreamInferResponse(error_message=error.detail).SerializeToString())


async def _parse(call: Call, content: bytes) -> InferMessage:
    """Parse an inference request; in a thread if it is large."""
    work = partial(parse_infer_request, content, call.service.limits.max_batch_items)
    if len(content) <= MAX_INLINE_BYTES:
        return work()
    return await call.service.body_parser.run(PARSED_PER_BYTE * len(content), work)


async def _recognise(call: Call, message: InferMessage) -> pb.ModelInferResponse:
    served = await find_model(call.service, message.model, message.version)
    recognised = await recognise(
        call.service,
        served,
        message.request.pixels,
        message.request.files,
        message.request.preprocess,
        disconnected=call.ended,
        client=call.id,
    )
    return infer_response(served.bundle.metadata, message.request, recognised)
