"""Errors as `application/problem+json` (RFC 9457), each with the id of its request."""

import logging
import re
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app import errors
from app.cancellation import WorkCancelled

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
PROTOCOLS = re.compile(r"/v[12](/|$)")  # industry protocols have an error form of their own
GONE = 499  # nginx's status for a client that went away before its answer


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


def answer(request: Request, error: errors.DigitscopeError) -> Response:
    """Return the response for an error, in the form of the protocol whose path was asked for.

    The request's state keeps the kind of error as `refused`.
    """
    request.state.refused = type(error)
    if PROTOCOLS.match(request.url.path):
        return JSONResponse({"error": error.detail}, error.status, headers=dict(error.headers))
    return JSONResponse(
        problem(request, error), error.status, headers=dict(error.headers), media_type=MEDIA_TYPE
    )


def respond(request: Request, error: Exception) -> Response:
    """Return the response for whatever was raised while a request was served."""
    if isinstance(error, errors.DigitscopeError):
        return answer(request, error)
    if isinstance(error, RequestValidationError):
        return _invalid_parameters(request, error)
    if isinstance(error, HTTPException):
        return _http(request, error)
    if isinstance(error, (ClientDisconnect, WorkCancelled)):
        # Nobody receives this response; its status goes to the log and the metrics.
        return Response(status_code=GONE)
    log.error("request %s failed", request.state.request_id, exc_info=error)
    return answer(
        request,
        errors.DigitscopeError(
            "This is our fault, not yours; the log has more under the request id."
        ),
    )


def install(app: FastAPI) -> None:
    """Make an app answer every error with a problem document."""
    for kind in (
        errors.DigitscopeError,
        RequestValidationError,
        HTTPException,
        ClientDisconnect,
        WorkCancelled,
        Exception,
    ):
        app.add_exception_handler(kind, respond)


def _invalid_parameters(request: Request, error: RequestValidationError) -> Response:
    found = [{"loc": list(entry["loc"]), "msg": entry["msg"]} for entry in error.errors()[:20]]
    said = "; ".join(f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in found)
    return answer(request, errors.InvalidInputError(f"Bad parameters: {said}.", errors=found))


def _http(request: Request, error: HTTPException) -> Response:
    """Answer what the framework itself refuses: unknown paths and methods."""
    path = request.url.path
    if error.status_code == 404:
        return answer(
            request, errors.NotFoundError(f"There is nothing at {path}; see /docs for the routes.")
        )
    if error.status_code == 405:
        headers = dict(error.headers or {})
        allowed = headers.get("Allow", "another method")
        refused = errors.MethodError(f"{path} takes {allowed}, not {request.method}.")
        refused.headers = headers
        return answer(request, refused)
    if PROTOCOLS.match(path):
        return JSONResponse({"error": str(error.detail)}, error.status_code, headers=error.headers)
    body = {
        "type": "about:blank",
        "title": str(error.detail),
        "status": error.status_code,
        "detail": str(error.detail),
        "instance": path,
        "request_id": request.state.request_id,
    }
    return JSONResponse(body, error.status_code, headers=error.headers, media_type=MEDIA_TYPE)
