"""Fast routes: endpoints that are called without FastAPI's middleware, router and dependencies.

FastAPI resolves a tree of dependencies for each request and validates the response again. On the
hot routes that took longer than the network: docs/performance.md, "Tried, gain, kept".
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

from app.web.http.path_prefix import route_path
from app.web.http.problem_details import exception_response

QUERY_CACHE_SIZE = 256  # query strings; clients repeat a few
MAX_CACHED_QUERY_BYTES = 256  # bytes; a longer query string is parsed each time


class FastRoute(APIRoute):
    """A route whose endpoint takes only `request`, `query` (a frozen pydantic model) and `service`.

    The endpoint is declared and documented like any other, and returns a `Response`.

    Attributes:
        handle_directly: Calls the endpoint; None if it has other parameters.
    """

    handle_directly: Callable[[Request], Awaitable[Response]] | None = None

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Return the function that serves a request."""
        endpoint = self.endpoint
        providers: dict[str, Callable[[Request], Any]] = {
            "request": lambda request: request,
            "service": lambda request: request.state.service,
        }
        types = get_type_hints(endpoint)
        if "query" in types:
            parse = query_parser(types["query"])
            providers["query"] = lambda request: parse(request.scope["query_string"])
        parameters = inspect.signature(endpoint).parameters.keys()
        if not parameters <= providers.keys():
            return super().get_route_handler()
        arguments = [(name, providers[name]) for name in parameters]

        async def handle(request: Request) -> Response:
            response: Response = await endpoint(
                **{name: provide(request) for name, provide in arguments}
            )
            return response

        self.handle_directly = handle
        return handle


def query_parser(model: type[BaseModel]) -> Callable[[bytes], Any]:
    """Return a function that parses a query string to a model, with a cache of short strings.

    The function raises `RequestValidationError`, as FastAPI does.
    """

    def parse(query_string: bytes) -> BaseModel:
        pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
        try:
            return model.model_validate(dict(pairs))
        except ValidationError as error:
            entries = error.errors(include_url=False)
            raise RequestValidationError(
                [{**entry, "loc": ("query", *entry["loc"])} for entry in entries]
            ) from error

    cached_parse = lru_cache(maxsize=QUERY_CACHE_SIZE)(parse)
    return lambda query_string: (
        cached_parse(query_string)
        if len(query_string) <= MAX_CACHED_QUERY_BYTES
        else parse(query_string)
    )


class Dispatcher:
    """Serves fast routes itself and passes all other requests on.

    FastAPI's stack has seven layers of middleware, a search for the route and two exit stacks. The
    fast routes use none of them.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute], *, traced: bool = False) -> None:
        """Wrap `app`.

        Args:
            app: Serves all other requests.
            routes: The fast ones among these, without path parameters, are served here.
            traced: Whether to name OpenTelemetry's spans, which FastAPI does otherwise.
        """
        self.app, self._traced = app, traced
        self._routes = {
            (method, route.path): route
            for route in routes
            if isinstance(route, FastRoute) and route.handle_directly and "{" not in route.path
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
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
        except Exception as error:  # noqa: BLE001 - becomes a problem document, as in FastAPI
            response = exception_response(request, error)
        await response(scope, receive, send)

    def find(self, scope: Scope) -> FastRoute | None:
        """Return the fast route for a request, or None."""
        if scope["type"] != "http":
            return None
        return self._routes.get((scope["method"], route_path(scope)))
