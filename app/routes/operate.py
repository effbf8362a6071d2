"""Probes and the version, for those who run the service."""

import platform
from importlib.metadata import version

from fastapi import APIRouter

from app.version import VERSION
from app.web import openapi
from app.web.deps import ServiceDep
from app.web.schemas import Health, Version

router = APIRouter(tags=["Operate"])
_LIBRARIES = ("ai-edge-litert", "fastapi", "numpy", "pillow", "pydantic", "starlette", "uvicorn")


@router.get("/livez", operation_id="livez", summary="Is the process alive?")
async def livez() -> Health:
    """Answer as long as the process serves requests at all."""
    return Health(status="alive")


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Are the models loaded?",
    responses=openapi.errors("not-ready"),
)
async def readyz(service: ServiceDep) -> Health:
    """Answer 200 once every model is loaded, 503 before."""
    service.registry.check_ready()
    return Health(status="ready")


@router.get("/version", operation_id="version", summary="What is running?")
async def versions() -> Version:
    """Give the version of digitscope, of Python and of the libraries that matter."""
    return Version(
        version=VERSION,
        python=platform.python_version(),
        libraries={name: version(name) for name in _LIBRARIES},
    )
