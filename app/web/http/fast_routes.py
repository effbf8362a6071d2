"""Routes that cost little: parameters read and answers written without FastAPI's general way.

FastAPI fills parameters by walking a tree of dependencies and checks answers against their schema
once more; on this service's hot routes that took longer than the network (docs/performance.md).
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from typing import Any, get_type_hints
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from opentelemetry import trace
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.web.http.problem_details import respond

QUERY_CACHE_SIZE, MAX_CACHED_QUERY_BYTES = (
    256,
    256,
)  # query strings that are remembered, and bytes of the longest


class FastRoute(APIRoute):
    """A route whose endpoint takes of `request`, `query` (a frozen pydantic model), `service`.

    The endpoint's signature is declared as for any other route, and documented from it. It returns
    a response.

    Attributes:
        handle_quickly: What serves a request; None where the endpoint has other parameters.
    """

    handle_directly: Callable[[Request], Awaitable[Response]] | None = None

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Return what serves a request."""
        endpoint = self.endpoint
        givers: dict[str, Callable[[Request], Any]] = {
            "request": lambda request: request,
            "service": lambda request: request.state.service,
        }
        types = get_type_hints(endpoint)
        if "query" in types:
            read = query_reader(types["query"])
            givers["query"] = lambda request: read(request.scope["query_string"])
        taken = inspect.signature(endpoint).parameters.keys()
        if not taken <= givers.keys():
            return super().get_route_handler()
        wanted = [(name, givers[name]) for name in taken]

        async def handle(request: Request) -> Response:
            answer: Response = await endpoint(**{name: give(request) for name, give in wanted})
            return answer

        self.handle_directly = handle
        return handle


def query_reader(model: type[BaseModel]) -> Callable[[bytes], Any]:
    """Return a function from a query string to a model; the same string gives the same object.

    The function raises `RequestValidationError`, as FastAPI does.
    """

    def read(query_string: bytes) -> BaseModel:
        pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
        try:
            return model.model_validate(dict(pairs))
        except ValidationError as error:
            found = error.errors(include_url=False)
            raise RequestValidationError(
                [{**entry, "loc": ("query", *entry["loc"])} for entry in found]
            ) from error

    kept = lru_cache(maxsize=QUERY_CACHE_SIZE)(read)
    return lambda query_string: (
        kept(query_string) if len(query_string) <= MAX_CACHED_QUERY_BYTES else read(query_string)
    )


class Dispatcher:
    """Serves quick routes itself and hands everything else on.

    On the way through FastAPI lie seven layers of middleware, a search for the route and two exit
    stacks, none of which these routes use.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute], *, traced: bool = False) -> None:
        """Take from `routes` the quick ones without path parameters; name spans if `traced`."""
        self.app, self._traced = app, traced
        self._handlers = {
            (method, route.path): route
            for route in routes
            if isinstance(route, FastRoute) and route.handle_directly and "{" not in route.path
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        route = self.find(scope)
        if route is None or route.handle_directly is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route
        if self._traced:
            span = trace.get_current_span()
            span.update_name(f"{scope['method']} {route.path}")
            span.set_attribute("http.route", route.path)
        request = Request(scope, receive, send)
        try:
            response = await route.handle_directly(request)
        except Exception as error:  # noqa: BLE001 - it becomes a problem, as in FastAPI's stack
            response = respond(request, error)
        await response(scope, receive, send)

    def find(self, scope: Scope) -> FastRoute | None:
        """Return the quick route that is asked for, if one is."""
        if scope["type"] != "http":
            return None
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return self._handlers.get((scope["method"], path))
