"""Errors as `application/problem+json` (RFC 9457), each with the id of its request."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app import errors

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What went wrong, in the form of RFC 9457."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        description="Identifies the kind of problem.",
        examples=["urn:digitscope:problem:blank-image"],
    )
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was expected and what came.")
    instance: str = Field(description="The path that was asked for.")
    request_id: str = Field(
        description="The id of the request, also in the header X-Request-ID and in the log."
    )


def problem(request: Request, error: errors.DigitscopeError) -> dict[str, Any]:
    """Return the members of the problem document for an error."""
    return {
        "type": f"urn:digitscope:problem:{error.slug}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": request.url.path,
        "request_id": request.state.request_id,
        **error.fields,
    }


def answer(
    request: Request, error: errors.DigitscopeError, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the response for an error."""
    more = {"Retry-After": "1"} if error.status == errors.NotReadyError.status else {}
    return JSONResponse(
        problem(request, error),
        error.status,
        headers={**more, **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def install(app: FastAPI) -> None:
    """Make an app answer every error with a problem document."""
    # Starlette calls each handler with the class it is registered for; its types do not say so.
    handlers: dict[type[Exception], Any] = {
        errors.DigitscopeError: _expected,
        RequestValidationError: _invalid_parameters,
        HTTPException: _http,
        ClientDisconnect: _gone,
        Exception: _unexpected,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _expected(request: Request, error: errors.DigitscopeError) -> Response:
    return answer(request, error)


def _invalid_parameters(request: Request, error: RequestValidationError) -> Response:
    found = [{"loc": list(entry["loc"]), "msg": entry["msg"]} for entry in error.errors()[:20]]
    said = "; ".join(f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in found)
    return answer(request, errors.InvalidInputError(f"Bad parameters: {said}.", errors=found))


def _http(request: Request, error: HTTPException) -> Response:
    """Answer what the framework itself refuses: unknown paths and methods."""
    path, headers = request.url.path, error.headers
    if error.status_code == 404:
        return answer(
            request,
            errors.NotFoundError(f"There is nothing at {path}; see /docs for the routes."),
            headers,
        )
    if error.status_code == 405:
        allowed = (headers or {}).get("Allow", "another method")
        return answer(
            request, errors.MethodError(f"{path} takes {allowed}, not {request.method}."), headers
        )
    body = {
        "type": "about:blank",
        "title": str(error.detail),
        "status": error.status_code,
        "detail": str(error.detail),
        "instance": path,
        "request_id": request.state.request_id,
    }
    return JSONResponse(body, error.status_code, headers=headers, media_type=MEDIA_TYPE)


def _gone(request: Request, error: Exception) -> Response:
    """Give a status to the log (nginx's 499) where nobody is left to answer."""
    return Response(status_code=499)


def _unexpected(request: Request, error: Exception) -> Response:
    log.error("request %s failed", request.state.request_id, exc_info=error)
    return answer(
        request,
        errors.DigitscopeError(
            "This is our fault, not yours; the log has more under the request id."
        ),
    )
