"""Error responses: `application/problem+json` (RFC 9457), or the error form of a protocol.

This is the one place where exceptions become HTTP responses.
"""

import json
import logging
import re
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from app import errors
from app.cancellation import WorkCancelled
from app.web.http.path_prefix import route_path

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
PROTOCOLS = re.compile(r"/v[12](/|$)")  # paths of the protocols, which have their own error form
CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that left before its response
MAX_NAMED = 20  # names that a protocol's message lists
MAX_ERRORS = 20  # invalid parameters that a problem document lists


class ErrorDocument(JSONResponse):
    """An error in JSON that can always be encoded, whatever text of files or clients it quotes."""

    def render(self, content: Any) -> bytes:
        """Return the document in UTF-8, with `?` for each character that is no text."""
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return text.encode(errors="replace")


def problem_members(request: Request, error: errors.DigitscopeError) -> dict[str, Any]:
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


def error_response(request: Request, error: errors.DigitscopeError) -> Response:
    """Return the response for an error, in the form of the protocol that the path belongs to.

    Stores the class of the error as `refused` in the request's state, for the metrics.
    """
    request.state.refused = type(error)
    if PROTOCOLS.match(route_path(request.scope)):
        message = {"error": protocol_message(error)}
        return ErrorDocument(message, error.status, headers=dict(error.headers))
    return ErrorDocument(
        problem_members(request, error),
        error.status,
        headers=dict(error.headers),
        media_type=MEDIA_TYPE,
    )


def protocol_message(error: errors.DigitscopeError) -> str:
    """Return the message of an error for a protocol without further members: with what exists."""
    valid = error.fields.get("valid")
    if not valid or not isinstance(error, errors.NotFoundError):
        return error.detail
    more = f" and {len(valid) - MAX_NAMED} more" if len(valid) > MAX_NAMED else ""
    return f"{error.detail} Expected one of {', '.join(map(str, valid[:MAX_NAMED]))}{more}."


def exception_response(request: Request, error: Exception) -> Response:
    """Return the response for any exception; an unexpected one is logged and becomes a 500."""
    if isinstance(error, errors.DigitscopeError):
        return error_response(request, error)
    if isinstance(error, RequestValidationError):
        return _invalid_parameters(request, error)
    if isinstance(error, HTTPException):
        return _framework_error(request, error)
    if isinstance(error, (ClientDisconnect, WorkCancelled)):
        # Nobody receives this response; its status goes to the log and the metrics.
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    return error_response(request, unexpected(error, request.state.request_id))


def unexpected(error: Exception, request_id: str) -> errors.DigitscopeError:
    """Log an error that no request should cause, and return what its client may know of it."""
    if isinstance(error, MemoryError):
        log.error("request %s ran out of memory", request_id, exc_info=error)
        return errors.OutOfMemoryError("The service has no memory left; try again later.")
    log.error("request %s failed", request_id, exc_info=error)
    return errors.DigitscopeError(
        "The service failed on a valid request. Report the request id; the log has the details."
    )


def install(app: FastAPI) -> None:
    """Make an application use `exception_response` for every exception."""
    for kind in (
        errors.DigitscopeError,
        RequestValidationError,
        HTTPException,
        ClientDisconnect,
        WorkCancelled,
        Exception,
    ):
        app.add_exception_handler(kind, exception_response)


def _invalid_parameters(request: Request, error: RequestValidationError) -> Response:
    entries = [
        {"loc": list(entry["loc"]), "msg": entry["msg"]} for entry in error.errors()[:MAX_ERRORS]
    ]
    reasons = "; ".join(f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in entries)
    return error_response(
        request, errors.InvalidInputError(f"Invalid parameters: {reasons}.", errors=entries)
    )


def _framework_error(request: Request, error: HTTPException) -> Response:
    """Return the response for an error that Starlette raises: an unknown path or method."""
    path = request.url.path
    if error.status_code == 404:
        return error_response(request, errors.NotFoundError(_unknown_path(request)))
    if error.status_code == 405:
        headers = dict(error.headers or {})
        allowed = headers.get("Allow", "another method")
        if "GET" in allowed and "HEAD" not in allowed:
            allowed = headers["Allow"] = allowed.replace("GET", "GET, HEAD")
        method = "HEAD" if getattr(request.state, "is_head", False) else request.method
        method_error = errors.MethodError(f"{path} accepts {allowed}, not {method}.")
        method_error.headers = headers
        return error_response(request, method_error)
    if PROTOCOLS.match(route_path(request.scope)):
        return ErrorDocument({"error": str(error.detail)}, error.status_code, headers=error.headers)
    body = {
        "type": "about:blank",
        "title": str(error.detail),
        "status": error.status_code,
        "detail": str(error.detail),
        "instance": path,
        "request_id": request.state.request_id,
    }
    return ErrorDocument(body, error.status_code, headers=error.headers, media_type=MEDIA_TYPE)


def _unknown_path(request: Request) -> str:
    """Return the message for a path without a route; name the route if only a slash is wrong."""
    path = request.url.path
    scope = {**request.scope, "path": request.scope["path"].rstrip("/")}
    if scope["path"] and any(_matches(route, scope) for route in request.app.router.routes):
        return f"There is no route {path}; send the request to {path.rstrip('/')} instead."
    docs = f"{request.scope.get('root_path', '')}/docs"
    return f"There is no route {path}; see {docs} for all routes."


def _matches(route: BaseRoute, scope: Scope) -> bool:
    """Return whether a route has a path, with its method or another."""
    return route.matches(scope)[0] != Match.NONE
