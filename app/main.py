"""The application, wired in one place: settings in, ASGI app out."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp
from threadpoolctl import threadpool_limits

from app.errors import DigitscopeError
from app.inference.registry import Registry
from app.models import load_models
from app.protocols import oip, tfserving
from app.routes import (
    explain,
    inspect,
    layers,
    models,
    operate,
    page,
    predict,
    preprocess,
    read,
    snapshots,
)
from app.settings import Settings
from app.version import VERSION
from app.web.execution.micro_batcher import MicroBatcher
from app.web.execution.thread_pool import BoundedThreadPool
from app.web.http import problem_details
from app.web.http.auth import Access, Admin
from app.web.http.fast_routes import Dispatcher
from app.web.http.http_protocol import ConnectionLimits
from app.web.http.middleware import RequestContext, RequestMiddleware
from app.web.http.shutdown import Drain, end_with_supervisor
from app.web.observability import logs
from app.web.observability.metrics import Metrics
from app.web.requests.body import Limits
from app.web.responses import openapi
from app.web.responses.predictions import prediction_texts
from app.web.service import Service

log = logging.getLogger(__name__)
FOLLOW_S = 1.0  # between looks at the folder of models
REST_S = 2.0  # after work, in which a lane gives back what it took

DESCRIPTION = """
Recognises handwritten digits and shows, layer by layer, how the network saw them.

Send an image as a form's file, as the body itself, as JSON or as a NumPy array; photos and scans
of any size are prepared as MNIST was made. Try it: open **Read one digit**, choose *Try it out*,
pick a file, *Execute*.
"""


class State(TypedDict):
    """What the lifespan gives to every request."""

    service: Service
    connections: ConnectionLimits


def create_app(settings: Settings | None = None, registry: Registry | None = None) -> FastAPI:
    """Build the ASGI application.

    Args:
        settings: The settings, or None to read them from the environment.
        registry: The models of these settings, loaded, or None to load them at the start.

    Returns:
        The application. Its start raises `BundleError` when a model bundle is missing or damaged.
    """
    settings = settings or Settings()
    logs.configure(settings.log_level, settings.log_format)
    metrics, drain = Metrics(), Drain(delay_s=settings.drain_delay_s)
    keys = [key.strip() for key in settings.api_keys.split(",") if key.strip()]
    if keys and settings.admin_token:
        keys.append(settings.admin_token)  # who may do more may do this
    around = RequestContext(
        Access(keys=keys, per_second=settings.rate_limit_per_s),
        metrics,
        drain,
        settings.deadline_s,
        settings.access_log,
    )
    connections = ConnectionLimits(
        settings.client_timeout_s, settings.max_connections, around.note_no_request
    )
    running: list[Service] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        service = _open(settings, registry or load_models(settings), metrics, drain)
        running.append(service)
        drain.install(asyncio.get_running_loop())
        end_with_supervisor()
        watching = asyncio.create_task(_follow(service)) if settings.admin_token else None
        completing = asyncio.create_task(_complete(app))
        yield {"service": service, "connections": connections}
        (await completing).restore_original_limits()
        if watching:
            watching.cancel()
        running.clear()
        for pool in (
            service.prediction_pool,
            service.inspection_pool,
            service.reload_pool,
            service.metrics_pool,
        ):
            pool.close()
        service.micro_batcher.close()
        service.registry.close()

    traced = os.environ.get("FASTAPI_OTEL_AUTO_CONFIGURE", "").lower() == "true"
    app: FastAPI = FastAPIOffline(
        title="digitscope",
        version=VERSION,
        summary="Handwritten digits, recognised and explained.",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # the page's router has it, with a policy
        redoc_url=None,
        # Asking at each request whether traces are wanted takes 20 us.
        telemetry=None if traced else {"tracing": False, "metrics": False, "logs": False},
        openapi_tags=[
            {"name": "Recognise", "description": "Which digit an image shows."},
            {"name": "Inspect", "description": "How the network saw an image, layer by layer."},
            {"name": "Models", "description": "What is served, and how good it is."},
            {
                "name": "Open Inference Protocol",
                "description": "For clients of KServe, Triton and MLServer.",
            },
            {"name": "TensorFlow Serving", "description": "For clients of TensorFlow Serving."},
            {"name": "Operate", "description": "For those who run the service."},
        ],
    )
    modules = (predict, read, preprocess, inspect, explain, snapshots, models, layers, operate)
    routers = [
        *(module.router for module in (*modules, oip, tfserving)),
        page.page_router(),
    ]
    for router in routers:
        app.include_router(router)
    problem_details.install(app)
    openapi.install(app, lambda: running[0].registry if running else None)
    _surround(app, routers, around, traced)
    return app


def _surround(
    app: FastAPI, routers: Sequence[APIRouter], around: RequestContext, traced: bool
) -> None:
    """Put the quick routes before FastAPI's stack, and one middleware around both."""
    build = app.build_middleware_stack
    routes = [route for router in routers for route in router.routes]

    def build_surrounded() -> ASGIApp:
        return RequestMiddleware(Dispatcher(build(), routes, traced=traced), around)

    app.build_middleware_stack = build_surrounded  # type: ignore[method-assign]


def _open(settings: Settings, registry: Registry, metrics: Metrics, drain: Drain) -> Service:
    """Make what requests need."""
    registry.on_load, registry.on_batch = metrics.serves, metrics.on_run
    for name, bundle in registry.bundles.items():
        metrics.serves(name, bundle.metadata.version)

    def pool(
        name: str, threads: int, max_queue: int, rest_s: float | None = REST_S
    ) -> BoundedThreadPool:
        on_wait = metrics.wait_observer(name)
        return BoundedThreadPool(
            threads=threads, max_queue=max_queue, on_wait=on_wait, rest_s=rest_s
        )

    return Service(
        registry=registry,
        prediction_pool=pool("fast", settings.threads, settings.max_queue),
        inspection_pool=pool("slow", settings.slow_threads, settings.slow_max_queue),
        reload_pool=pool("reloads", 1, settings.slow_max_queue),
        metrics_pool=pool("scrapes", 1, settings.slow_max_queue, None),
        micro_batcher=MicroBatcher(
            prediction_texts, on_wait=metrics.on_wait_of_all("quick"), on_run=metrics.read
        ),
        limits=Limits(settings.max_body_bytes, settings.max_batch_items),
        max_pixels=settings.max_pixels,
        metrics=metrics,
        drain=drain,
        admin=Admin(settings.admin_token),
        quick_below_s=settings.quick_below_s,
    )


async def _complete(app: FastAPI) -> threadpool_limits:
    """Do what a ready service need not have done, before the first inspection would wait for it.

    Returns:
        How many threads BLAS had. Each request has a thread of its own, and with more of them BLAS
        waits for the others: on two cores, integrated gradients took 0.6 s with two and 0.2 s with
        one.
    """
    limits = await asyncio.to_thread(threadpool_limits, 1, "blas")
    # FastAPI completes a router when it first looks for a route there: 0.1 s for all of them.
    for route in app.routes:
        nowhere = {"type": "http", "method": "GET", "path": "/nowhere", "headers": []}
        route.matches(nowhere)
        await asyncio.sleep(0)
    return limits


async def _follow(service: Service) -> None:
    """Reload what another process's operator has put in place; say once why it cannot be."""
    said: dict[str, str] = {}
    while True:
        await asyncio.sleep(FOLLOW_S)
        for name in service.registry.changed():
            try:
                await service.reload_pool.run(service.registry.reload, name)
            except DigitscopeError as error:
                if said.get(name) != error.detail:
                    log.error("the new bundle of %s is refused: %s", name, error.detail)
                said[name] = error.detail
