"""FastAPI's dependencies: what an endpoint may declare as a parameter."""

from typing import Annotated, cast

from fastapi import Depends, Query, Request

from app.web.schemas.query import ImageQuery
from app.web.service import Service


async def _service(request: Request) -> Service:
    return cast(Service, request.state.service)


ServiceDep = Annotated[Service, Depends(_service)]
ImageQueryDep = Annotated[ImageQuery, Query()]
