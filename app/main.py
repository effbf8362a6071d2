"""Builds the ASGI application: `create_app(settings)` wires all parts in one place."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import TypedDict

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp, Lifespan
from threadpoolctl import threadpool_limits

from app.correction_store import CorrectionStore
from app.imaging.decoder_pool import DecoderPool
from app.inference.registry import Registry
from app.memory_budget import MemoryBudget
from app.models import load_models, take_over_models
from app.periodic_task import PeriodicTask
from app.protocols import oip, tfserving
from app.routes import (
    explain,
    feedback,
    inspect,
    layer_values,
    layers,
    learn,
    maximise,
    models,
    operate,
    page,
    predict,
    preprocess,
    read,
    snapshots,
)
from app.settings import Settings, parse_networks, split_keys
from app.version import VERSION
from app.web.execution.correction_writer import CorrectionWriter
from app.web.execution.micro_batcher import MicroBatcher
from app.web.execution.thread_pool import BoundedThreadPool
from app.web.http import problem_details
from app.web.http.auth import Access, Admin
from app.web.http.client_address import TrustedProxies
from app.web.http.connection_table import ConnectionTable
from app.web.http.cors import CrossOrigin
from app.web.http.fast_routes import Dispatcher
from app.web.http.http_protocol import ConnectionLimits
from app.web.http.middleware import RequestContext, RequestMiddleware
from app.web.http.path_prefix import PathPrefix
from app.web.http.request_timer import BodyPace
from app.web.http.shutdown import Drain
from app.web.observability import logs
from app.web.observability.metric_definitions import Lane
from app.web.observability.metrics import Metrics
from app.web.observability.tracing import stage, start_queue_span, trace_field
from app.web.requests.body import Limits
from app.web.requests.parsing import BodyParser
from app.web.responses import openapi
from app.web.service import Service

log = logging.getLogger(__name__)
DECODER_IDLE_S = 30.0  # seconds without an image file, after which a decoder process ends
GAUGES_EVERY_S = 1.0  # between updates of the gauges that other workers read
TRIM_AFTER_S = 2.0  # idle seconds after which a thread pool returns its freed memory

DESCRIPTION = """
Recognises handwritten digits and shows, layer by layer, how the network saw them.

Send an image as a form's file, as the body itself, as JSON or as a NumPy array. Photos and scans
of any size are prepared as MNIST was made. Try it: open **Read one digit**, choose *Try it out*,
pick a file, *Execute*.
"""
TAGS = [
    {"name": "Recognise", "description": "Which digit an image shows."},
    {"name": "Inspect", "description": "How the network saw an image, layer by layer."},
    {"name": "Models", "description": "Which models are served, and how good they are."},
    {"name": "Open Inference Protocol", "description": "For clients of KServe, Triton, MLServer."},
    {"name": "TensorFlow Serving", "description": "For clients of TensorFlow Serving."},
    {"name": "Operate", "description": "For operators of the service."},
]


class State(TypedDict):
    """The lifespan's state, which every request sees."""

    service: Service
    connections: ConnectionLimits


def create_app(
    settings: Settings, registry: Registry | None = None, *, is_worker: bool = False
) -> FastAPI:
    """Build the ASGI application.

    Args:
        settings: The settings.
        registry: The models of these settings, loaded; None to load them in the lifespan.
        is_worker: Whether the process was forked by a supervisor, with the models in `registry`.

    Returns:
        The application. Its lifespan raises `BundleError` if a model bundle is missing or damaged.
    """
    log_writer = logs.configure(settings.log_level, settings.log_format)
    metrics = Metrics()
    drain = Drain(delay_s=settings.drain_delay_s, is_supervised=is_worker)
    routers = _routers(settings)
    is_traced = os.environ.get("FASTAPI_OTEL_AUTO_CONFIGURE", "").lower() == "true"
    log_writer.on_lost = metrics.count_lost_log_lines
    context = RequestContext(
        access=_access(settings),
        proxies=TrustedProxies(parse_networks(settings.trusted_proxies)),
        prefix=PathPrefix(settings.root_path, _route_paths(routers)),
        cors=CrossOrigin(split_keys(settings.cors_origins), credentials=settings.cors_credentials),
        metrics=metrics,
        drain=drain,
        deadline_s=settings.deadline_s,
        pace=BodyPace(settings.body_timeout_s, settings.body_bytes_per_s),
        access_log=settings.access_log,
        trace=trace_field if is_traced else dict,
    )
    connections = ConnectionLimits(
        settings.client_timeout_s,
        ConnectionTable(
            max_connections=settings.max_connections,
            max_per_client=settings.max_connections_per_client,
            is_unlimited=context.proxies.__contains__,
            on_closed=metrics.count_closed_connection,
        ),
        context.record_refused_connection,
    )
    running: list[Service] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        service = _create_service(
            settings, _models(settings, registry, is_worker), metrics, drain, is_traced=is_traced
        )
        running.append(service)
        async with _serving_grpc(
            settings, context, service, connections, is_shared=is_worker
        ) as stop_grpc:
            drain.install(asyncio.get_running_loop(), on_stop=stop_grpc)
            service.registry.watch()
            warming_up = asyncio.create_task(_warm_up(app))
            gauges = PeriodicTask("update gauges", GAUGES_EVERY_S, metrics.update_gauges)
            closing_idle = PeriodicTask(
                "end idle decoder processes",
                DECODER_IDLE_S / 2,
                partial(service.decoders.close_idle, DECODER_IDLE_S),
            )
            yield {"service": service, "connections": connections}
        if limits := await warming_up:
            limits.restore_original_limits()
        closing_idle.close()
        gauges.close()
        running.clear()
        service.close()
        log_writer.waits = True  # uvicorn ends the process by a signal after its last lines

    app = _create_fastapi(lifespan, is_traced=is_traced)
    for router in routers:
        app.include_router(router)
    problem_details.install(app)
    openapi.install(app, context.access, lambda: running[0].registry if running else None)
    _wrap_middleware(app, routers, context, is_traced=is_traced)
    return app


def _models(settings: Settings, registry: Registry | None, is_worker: bool) -> Registry:
    if registry is None:
        return load_models(settings)
    return take_over_models(registry, settings) if is_worker else registry


def _routers(settings: Settings) -> list[APIRouter]:
    modules = (
        predict,
        read,
        preprocess,
        inspect,
        layer_values,
        explain,
        learn,
        maximise,
        snapshots,
        models,
        layers,
        operate,
    )
    return [
        *(module.router for module in (*modules, oip, tfserving)),
        feedback.feedback_router(is_on=settings.feedback_dir is not None),
        page.page_router(),
    ]


def _route_paths(routers: Iterable[APIRouter]) -> list[str]:
    paths = [getattr(route, "path", "") for router in routers for route in router.routes]
    return [*paths, openapi.PATH]


@asynccontextmanager
async def _serving_grpc(
    settings: Settings,
    context: RequestContext,
    service: Service,
    connections: ConnectionLimits,
    *,
    is_shared: bool,
) -> AsyncIterator[Callable[[], None]]:
    """Serve gRPC if a setting says so; yield the function that begins its shutdown."""
    if not settings.grpc_port:
        yield lambda: None
        return
    from app.protocols.grpc.server import GrpcServer  # an extra, and 14 MB of memory

    server = GrpcServer(
        context,
        service,
        connections,
        max_connections=settings.max_connections,
        max_per_client=settings.max_connections_per_client,
        grace_s=settings.grace_s,
        is_shared=is_shared,
    )
    await server.start(settings.host, settings.grpc_port)
    try:
        yield server.begin_stop
    finally:
        await server.stopped()


def _access(settings: Settings) -> Access:
    """Return the check of keys and rates; the admin token also counts as an API key."""
    keys = split_keys(settings.api_keys or "")
    if keys and settings.admin_token:
        keys.append(settings.admin_token)
    return Access(
        keys=keys,
        per_second=settings.rate_limit_per_s,
        page_is_open=settings.open_page,
        metrics_are_open=settings.open_metrics,
    )


def _create_fastapi(lifespan: Lifespan[FastAPI], *, is_traced: bool) -> FastAPI:
    return FastAPI(
        title="digitscope",
        version=VERSION,
        summary="Handwritten digits, recognised and explained.",
        description=DESCRIPTION,
        lifespan=lifespan,
        # FastAPI's route would write the document at each request; `openapi.install` adds another.
        openapi_url=None,
        docs_url=None,  # the page's router serves /docs, with a content security policy
        redoc_url=None,
        # A redirect would name http:// behind a proxy that speaks TLS; a 404 names the right path.
        redirect_slashes=False,
        # By default FastAPI checks at each request whether traces are wanted: 20 us.
        telemetry=None if is_traced else {"tracing": False, "metrics": False, "logs": False},
        openapi_tags=TAGS,
    )


def _wrap_middleware(
    app: FastAPI, routers: Sequence[APIRouter], context: RequestContext, *, is_traced: bool
) -> None:
    """Put the fast routes in front of FastAPI's stack, and one middleware around both."""
    build = app.build_middleware_stack
    routes = [route for router in routers for route in router.routes]

    def build_wrapped() -> ASGIApp:
        return RequestMiddleware(Dispatcher(build(), routes, traced=is_traced), context)

    app.build_middleware_stack = build_wrapped  # type: ignore[method-assign]


def _create_service(
    settings: Settings,
    registry: Registry,
    metrics: Metrics,
    drain: Drain,
    *,
    is_traced: bool,
) -> Service:
    registry.on_batch = metrics.count_batch
    registry.observe(metrics.note_model)

    def pool(
        lane: Lane, threads: int, max_queue: int, trim_after_s: float | None = TRIM_AFTER_S
    ) -> BoundedThreadPool:
        made = BoundedThreadPool(
            threads=threads,
            max_queue=max_queue,
            on_wait=metrics.wait_observer(lane),
            on_queue=start_queue_span if is_traced else None,
            trim_after_s=trim_after_s,
        )
        metrics.watch_queue(lane, lambda: made.queued)
        return made

    memory = MemoryBudget(settings.memory_budget_mb << 20)
    micro_batcher = MicroBatcher(
        on_wait=metrics.waits_observer("quick"),
        on_run=metrics.count_predictions,
    )
    metrics.watch_queue("quick", lambda: micro_batcher.queued)
    return Service(
        registry=registry,
        prediction_pool=pool("fast", settings.threads, settings.max_queue),
        inspection_pool=pool("slow", settings.slow_threads, settings.slow_max_queue),
        explanation_pool=pool("explanations", settings.slow_threads, settings.slow_max_queue),
        reload_pool=pool("reloads", 1, settings.slow_max_queue),
        body_parser=BodyParser(pool("parsing", 1, settings.max_queue), memory.working),
        metrics_pool=pool("scrapes", 1, settings.slow_max_queue, trim_after_s=None),
        micro_batcher=micro_batcher,
        limits=Limits(
            max_body_bytes=settings.max_body_bytes,
            max_image_bytes=settings.max_image_bytes,
            max_batch_items=settings.max_batch_items,
        ),
        max_pixels=settings.max_pixels,
        memory=memory,
        decoders=DecoderPool(
            size=settings.threads,
            timeout_s=settings.decode_timeout_s,
            memory_bytes=settings.decode_memory_mb << 20,
            working_memory=memory.working,
        ),
        metrics=metrics,
        drain=drain,
        admin=Admin(settings.admin_token),
        quick_below_s=settings.quick_below_s,
        corrections=_corrections(settings, pool),
        stage=stage if is_traced else nullcontext,
    )


def _corrections(
    settings: Settings, pool: Callable[[Lane, int, int], BoundedThreadPool]
) -> CorrectionWriter | None:
    """Return what stores corrections; None if no folder is set for them."""
    if settings.feedback_dir is None:
        return None
    store = CorrectionStore(
        settings.feedback_dir,
        max_items=settings.feedback_max_items,
        max_bytes=settings.feedback_max_mb << 20,
    )
    return CorrectionWriter(store, pool("corrections", 1, settings.slow_max_queue))


async def _warm_up(app: FastAPI) -> threadpool_limits | None:
    """Do after the start what would otherwise delay the first requests; log a failure.

    BLAS gets one thread, because each request has a thread of its own: with more, BLAS threads wait
    for each other (on two cores, integrated gradients took 0.6 s with two and 0.2 s with one).
    FastAPI completes a router at its first use, which takes 0.1 s for all of them.

    Returns:
        The limits of BLAS, to be restored at the end; None if they could not be set.
    """
    limits = None
    try:
        limits = await asyncio.to_thread(threadpool_limits, 1, "blas")
        for route in app.routes:
            route.matches({"type": "http", "method": "GET", "path": "/nowhere", "headers": []})
            await asyncio.sleep(0)
    except Exception:
        log.exception("cannot warm up; the first requests take longer")
    return limits
