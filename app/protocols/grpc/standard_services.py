"""The services that clients of any gRPC server expect: health checking and reflection."""

from collections.abc import AsyncIterator

from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio

from app.errors import NotFoundError
from app.protocols.grpc.call import Call, Method
from app.protocols.grpc.methods import SERVICE, control_answer, is_ready

HEALTH = "grpc.health.v1.Health"
REFLECTION = "grpc.reflection.v1alpha.ServerReflection"
# Newer clients ask for this name first; its messages are the same.
REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"


def methods() -> list[Method]:
    """Return the methods of both services.

    Health checking follows the rules of probes, reflection those of `/openapi.json`.
    """
    reflection = Reflection()
    check = control_answer(health_pb2.HealthCheckRequest, _check)
    return [
        Method(f"/{HEALTH}/Check", "/readyz", check),
        Method(f"/{HEALTH}/Watch", "/readyz", check, kind="watch"),
        Method(f"/{HEALTH}/List", "/readyz", control_answer(health_pb2.HealthListRequest, _list)),
        *(
            Method(f"/{name}/ServerReflectionInfo", "/openapi.json", reflection.answer, "stream")
            for name in (REFLECTION, REFLECTION_V1)
        ),
    ]


async def _status(call: Call) -> health_pb2.HealthCheckResponse:
    kinds = health_pb2.HealthCheckResponse.ServingStatus
    return health_pb2.HealthCheckResponse(
        status=kinds.SERVING if await is_ready(call) else kinds.NOT_SERVING
    )


async def _check(
    call: Call, request: health_pb2.HealthCheckRequest
) -> health_pb2.HealthCheckResponse:
    if request.service not in ("", SERVICE):
        raise NotFoundError(
            f"There is no service {request.service[:100]!r}; expected {SERVICE!r} or none."
        )
    return await _status(call)


async def _list(call: Call, request: health_pb2.HealthListRequest) -> health_pb2.HealthListResponse:
    status = await _status(call)
    return health_pb2.HealthListResponse(statuses={"": status, SERVICE: status})


class Reflection:
    """Describes the services to clients that do not know their schema."""

    def __init__(self) -> None:
        """Describe all services of this module and of `methods`."""
        self._servicer = aio.ReflectionServicer([SERVICE, HEALTH, REFLECTION, REFLECTION_V1])
        self.answer = control_answer(reflection_pb2.ServerReflectionRequest, self._answer)

    async def _answer(
        self, call: Call, request: reflection_pb2.ServerReflectionRequest
    ) -> reflection_pb2.ServerReflectionResponse:
        asked = reflection_pb2.ServerReflectionRequest()
        asked.CopyFrom(request)
        if request.HasField("file_containing_symbol"):
            asked.file_containing_symbol = _service_of(request.file_containing_symbol)

        async def requests() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
            yield asked

        answer = await anext(self._servicer.ServerReflectionInfo(requests(), None))
        answer.original_request.CopyFrom(request)
        return answer


def _service_of(symbol: str) -> str:
    """Return the service of a method, or the symbol itself: the servicer finds no methods."""
    try:
        method = descriptor_pool.Default().FindMethodByName(symbol)
    except KeyError:
        return symbol
    return str(method.containing_service.full_name)
