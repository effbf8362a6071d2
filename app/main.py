"""The application, wired in one place: settings in, ASGI app out."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.responses import RedirectResponse
from threadpoolctl import threadpool_limits

from app.inference.registry import Registry
from app.routes import explain, inspect, layers, models, operate, predict, preprocess, read
from app.settings import Settings
from app.version import VERSION
from app.web import openapi, problems
from app.web.body import Limits
from app.web.deps import Service
from app.web.middleware import RequestMiddleware
from app.web.work import Workers

DESCRIPTION = """
Recognises handwritten digits and shows, layer by layer, how the network saw them.

Send an image as a form's file, as the body itself, as JSON or as a NumPy array; photos and scans
of any size are prepared as MNIST was made. Try it: open **Read one digit**, choose *Try it out*,
pick a file, *Execute*.
"""


class State(TypedDict):
    """What the lifespan gives to every request."""

    service: Service


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the ASGI application.

    Args:
        settings: The settings, or None to read them from the environment.

    Returns:
        The application. Its start raises `BundleError` when a model bundle is missing or damaged.
    """
    settings = settings or Settings()
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    running: list[Service] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        registry = Registry(
            settings.model_dir, settings.default_model, interpreters=settings.threads
        )
        registry.load()
        workers = Workers(threads=settings.threads, max_queue=settings.max_queue)
        limits = Limits(settings.max_body_bytes, settings.max_batch_items)
        slow = Workers(threads=1, max_queue=settings.max_queue)
        running.append(Service(registry, workers, slow, limits, settings.max_pixels))
        # Each request has a thread of its own; NumPy's BLAS with more of them waits for the others:
        # on two cores, integrated gradients took 0.6 s with two threads and 0.2 s with one.
        with threadpool_limits(1, "blas"):
            yield {"service": running[0]}
        running.clear()
        workers.close()
        slow.close()
        registry.close()

    app: FastAPI = FastAPIOffline(
        title="digitscope",
        version=VERSION,
        summary="Handwritten digits, recognised and explained.",
        description=DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        openapi_tags=[
            {"name": "Recognise", "description": "Which digit an image shows."},
            {"name": "Inspect", "description": "How the network saw an image, layer by layer."},
            {"name": "Models", "description": "What is served, and how good it is."},
            {"name": "Operate", "description": "For those who run the service."},
        ],
    )
    for routes in (predict, read, preprocess, inspect, explain, models, layers, operate):
        app.include_router(routes.router)
    app.add_api_route("/", _home, include_in_schema=False)
    problems.install(app)
    openapi.install(app, lambda: running[0] if running else None)
    app.add_middleware(RequestMiddleware, deadline_s=settings.deadline_s)
    return app


async def _home() -> RedirectResponse:
    return RedirectResponse("docs")
