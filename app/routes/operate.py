"""Routes for operators: probes, metrics and the version."""

import platform
from functools import cache
from importlib.metadata import version

import numpy as np
from fastapi import APIRouter, Response
from pydantic import BaseModel

from app.errors import StalledError
from app.version import VERSION
from app.web.dependencies import ServiceDep
from app.web.http.fast_routes import FastRoute
from app.web.observability.metrics import MEDIA_TYPE
from app.web.responses.openapi_errors import error_responses
from app.web.schemas.operations import Health, Version

router = APIRouter(tags=["Operate"], route_class=FastRoute)
MAX_STALL_S = 60.0  # without a finished prediction; longer than any sensible deadline
BLANK_IMAGE = np.zeros((1, 28, 28), np.uint8)
_LIBRARIES = ("ai-edge-litert", "fastapi", "numpy", "pillow", "pydantic", "starlette", "uvicorn")


@router.get(
    "/livez",
    operation_id="livez",
    response_model=Health,
    summary="Check that the process is alive",
    responses=error_responses("stalled"),
)
async def livez(service: ServiceDep) -> Response:
    """Return `alive`, or 503 if requests are waiting and none has finished for a minute.

    An idle process runs the network on a blank image first. A process that is busy, or that still
    loads its models, is alive.
    """
    stalled_s = max(service.prediction_pool.stalled_for(), service.micro_batcher.stalled_for())
    if stalled_s > MAX_STALL_S:
        raise StalledError(
            f"No prediction has finished for {stalled_s:.0f} s, although requests are waiting."
        )
    if not stalled_s and service.registry.is_loaded(service.registry.default):
        model = service.registry.get(None)
        await service.prediction_pool.run(model.runtime.predict, BLANK_IMAGE)
    return _json_response(Health(status="alive"))


@router.get(
    "/readyz",
    operation_id="readyz",
    response_model=Health,
    summary="Check that the default model is ready",
    responses=error_responses("not-ready"),
)
async def readyz(service: ServiceDep) -> Response:
    """Return `ready` if the default model is loaded; 503 before that, and during shutdown.

    No other model is needed: each is loaded by its first request, and if it is broken or still
    being compiled, only its own requests fail.
    """
    service.drain.check()
    service.registry.check_ready()
    return _json_response(Health(status="ready"))


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Return metrics for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}},
        **error_responses("busy"),
    },
)
async def metrics(service: ServiceDep) -> Response:
    """Return the metrics of all worker processes in Prometheus's text format."""
    text = await service.metrics_pool.run(service.metrics.text)
    return Response(text, media_type=MEDIA_TYPE)


@router.get("/version", operation_id="version", response_model=Version, summary="Return versions")
async def versions() -> Response:
    """Return the versions of digitscope, of Python and of the most important libraries."""
    python = platform.python_version()
    return _json_response(Version(version=VERSION, python=python, libraries=_library_versions()))


@cache
def _library_versions() -> dict[str, str]:
    """Return the versions of libraries; reads files, once."""
    return {name: version(name) for name in _LIBRARIES}


def _json_response(body: BaseModel) -> Response:
    return Response(body.model_dump_json(), media_type="application/json")
