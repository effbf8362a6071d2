"""The gRPC server of one process: its port, its limits on connections, its shutdown."""

import asyncio
import logging

import grpc.aio

from app.errors import MethodError
from app.protocols.grpc import methods, standard_services
from app.protocols.grpc.call import Call, Method
from app.protocols.grpc.calls import UNKNOWN_PATH, Calls
from app.web.http.http_protocol import ConnectionLimits
from app.web.http.middleware import RequestContext
from app.web.service import Service

log = logging.getLogger(__name__)
MAX_IDLE_S = 60.0  # seconds without a call, after which a connection is closed
# Part of a client's calls that one connection may run at once; the client queues more. So a single
# connection is never refused.
CONNECTION_PART = 1 / 2


class GrpcServer:
    """Serves gRPC on a port of its own, on the event loop of HTTP."""

    def __init__(
        self,
        context: RequestContext,
        service: Service,
        connections: ConnectionLimits,
        *,
        max_connections: int,
        max_per_client: int,
        grace_s: float,
        is_shared: bool,
    ) -> None:
        """Create the server within a running event loop.

        Args:
            context: What the middleware of HTTP needs.
            service: The service.
            connections: What clients may do with their connections.
            max_connections: Open connections of the port.
            max_per_client: Connections and calls of one client.
            grace_s: Seconds that running calls get at the end.
            is_shared: Whether several processes listen on the port.
        """
        logging.getLogger("grpc._cython.cygrpc").addFilter(_is_fault)
        self._calls, self._grace_s = Calls(context, service, connections.table), grace_s
        self._stopping: asyncio.Task[None] | None = None
        timeout_ms = max(1, round(1000 * connections.timeout_s))
        self._server = grpc.aio.server(
            handlers=[_Handler(self._calls)],
            options=[
                ("grpc.max_receive_message_length", service.limits.max_body_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_allowed_incoming_connections", max_connections),
                ("grpc.max_concurrent_streams", max(1, int(CONNECTION_PART * max_per_client))),
                ("grpc.max_connection_idle_ms", round(1000 * MAX_IDLE_S)),
                ("grpc.server_handshake_timeout_ms", timeout_ms),
                ("grpc.keepalive_time_ms", timeout_ms),  # ends connections that nobody reads
                ("grpc.keepalive_timeout_ms", timeout_ms),
                # Larger windows would hold more of what nobody reads yet.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.so_reuseport", int(is_shared)),
            ],
            # A backstop: these calls are refused before they cost anything.
            maximum_concurrent_rpcs=2 * max_connections,
        )

    async def start(self, host: str, port: int) -> None:
        """Listen on an address.

        Raises:
            RuntimeError: The port is in use.
        """
        self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        await self._server.start()
        log.info("gRPC on %s, port %d", host, port)

    def begin_stop(self) -> None:
        """Accept no more calls, end idle streams, and give running calls their time."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())

    async def stopped(self) -> None:
        """Wait until the server has stopped; begin that if nobody did."""
        self.begin_stop()
        if self._stopping:
            await self._stopping

    async def _stop(self) -> None:
        # One second more than the calls get, so that they can still send their status.
        stopping = asyncio.create_task(self._server.stop(self._grace_s + 1))
        self._calls.close_idle()
        await asyncio.wait([stopping], timeout=self._grace_s)
        self._calls.abort_all()
        await stopping


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Finds the method of a call; unknown ones are refused like other calls."""

    def __init__(self, calls: Calls) -> None:
        known = [*methods.methods(), *standard_services.methods()]
        self._calls, self._methods = calls, {method.name: method for method in known}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Return what serves a call."""
        method = self._methods.get(details.method) or Method(details.method, UNKNOWN_PATH, _unknown)

        async def serve(requests: object, context: grpc.aio.ServicerContext) -> None:
            await self._calls.serve(method, context)

        return grpc.stream_stream_rpc_method_handler(serve)


def _is_fault(record: logging.LogRecord) -> bool:
    """Return whether a line of gRPC's log says more than that a client has gone."""
    return not (record.exc_info and isinstance(record.exc_info[1], grpc.aio.InternalError))


async def _unknown(call: Call, content: bytes) -> bytes:
    raise MethodError(
        f"There is no method {call.method.name[:100]}; the reflection service lists all methods."
    )
