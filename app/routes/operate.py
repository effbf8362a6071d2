"""Probes and the version, for those who run the service."""

import platform
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
from app.web.schemas.predictions import Health, Version

router = APIRouter(tags=["Operate"], route_class=FastRoute)
STALLED_S = 60.0  # longer than any deadline that makes sense
BLANK = np.zeros((1, 28, 28), np.uint8)
_LIBRARIES = ("ai-edge-litert", "fastapi", "numpy", "pillow", "pydantic", "starlette", "uvicorn")


@router.get(
    "/livez",
    operation_id="livez",
    response_model=Health,
    summary="Is the process alive?",
    responses=error_responses("stalled"),
)
async def livez(service: ServiceDep) -> Response:
    """Answer 200 while predictions come out; 503 if those that wait have been stuck for long.

    An idle process proves it by reading a blank image through the same lane. While models are being
    loaded, and under load, it is alive.
    """
    stalled = max(service.prediction_pool.stalled_for(), service.micro_batcher.stalled_for())
    if stalled > STALLED_S:
        raise StalledError(f"No prediction came out for {stalled:.0f} s, and some wait.")
    if not stalled and service.registry.is_loaded(service.registry.default):
        model = service.registry.get(None)
        await service.prediction_pool.run(model.runtime.predict, BLANK)
    return _written(Health(status="alive"))


@router.get(
    "/readyz",
    operation_id="readyz",
    response_model=Health,
    summary="Are the models ready?",
    responses=error_responses("not-ready"),
)
async def readyz(service: ServiceDep) -> Response:
    """Answer 200 once every model can be asked; 503 before, and when the process is about to stop.

    The default model is loaded by then, the others when they are asked for.
    """
    service.drain.check()
    service.registry.check_ready()
    return _written(Health(status="ready"))


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Count everything, for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}},
        **error_responses("busy"),
    },
)
async def metrics(service: ServiceDep) -> Response:
    """Give all counts of all worker processes in Prometheus's text format."""
    text = await service.metrics_pool.run(service.metrics.text)
    return Response(text, media_type=MEDIA_TYPE)


@router.get("/version", operation_id="version", response_model=Version, summary="What is running?")
async def versions() -> Response:
    """Give the version of digitscope, of Python and of the libraries that matter."""
    libraries = {name: version(name) for name in _LIBRARIES}
    return _written(Version(version=VERSION, python=platform.python_version(), libraries=libraries))


def _written(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")
