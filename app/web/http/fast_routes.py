"""Fast routes: endpoints that are called without FastAPI's middleware, router and dependencies.

FastAPI resolves a tree of dependencies for each request and validates the response again. On the
hot routes that took longer than the network: docs/performance.md, "Tried, gain, kept".
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple, get_type_hints
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from opentelemetry import trace
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from app.web.http.path_prefix import route_path
from app.web.http.problem_details import exception_response

QUERY_CACHE_SIZE = 256  # query strings; clients repeat a few
MAX_CACHED_QUERY_BYTES = 256  # bytes; a longer query string is parsed each time
PATH_CACHE_SIZE = 256  # paths with parameters; clients repeat a few
MAX_CACHED_PATH_CHARS = 256  # characters; a longer path is left to FastAPI
PATH_PARAMETERS = ("model", "version")  # None in a path that lacks it


class FastRoute(APIRoute):
    """A route whose endpoint takes only what a fast route knows, and returns a `Response`.

    It may take `request`, `query` (a frozen pydantic model), `service` and `PATH_PARAMETERS`. It is
    declared and documented like any other.

    Attributes:
        handle_directly: Calls the endpoint; None if it takes or returns something else.
    """

    handle_directly: Callable[[Request], Awaitable[Response]] | None = None

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Return the function that serves a request."""
        endpoint = self.endpoint
        providers: dict[str, Callable[[Request], Any]] = {
            "request": lambda request: request,
            "service": lambda request: request.scope["state"]["service"],
            **{name: _path_parameter(name) for name in PATH_PARAMETERS},
        }
        types = get_type_hints(endpoint)
        if "query" in types:
            parse = query_parser(types["query"])
            providers["query"] = lambda request: parse(request.scope["query_string"])
        parameters = inspect.signature(endpoint).parameters.keys()
        if types.get("return") is not Response or not parameters <= providers.keys():
            return super().get_route_handler()
        arguments = [(name, providers[name]) for name in parameters]

        async def handle(request: Request) -> Response:
            response: Response = await endpoint(
                **{name: provide(request) for name, provide in arguments}
            )
            return response

        self.handle_directly = handle
        return handle


def _path_parameter(name: str) -> Callable[[Request], str | None]:
    return lambda request: request.scope["path_params"].get(name)


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


class _Found(NamedTuple):
    """The fast route for a request, its endpoint, and the parameters of the path."""

    route: FastRoute
    handle: Callable[[Request], Awaitable[Response]]
    path_parameters: dict[str, str]


class Dispatcher:
    """Serves fast routes itself and passes all other requests on.

    FastAPI's stack has seven layers of middleware, a search for the route and two exit stacks. The
    fast routes use none of them.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute], *, traced: bool = False) -> None:
        """Wrap `app`.

        Args:
            app: Serves all other requests.
            routes: All routes, in the order in which they are tried; the fast ones are served here.
            traced: Whether to name OpenTelemetry's spans, which FastAPI does otherwise.
        """
        self.app, self._traced = app, traced
        self._routes = list(routes)
        fast = [found for route in self._routes if (found := _as_fast(route, {}))]
        self._by_path = {
            (method, found.route.path): found
            for found in fast
            if "{" not in found.route.path
            for method in found.route.methods or ()
        }
        self._methods_with_parameters = {
            method
            for found in fast
            if "{" in found.route.path
            for method in found.route.methods or ()
        }
        self._match = lru_cache(maxsize=PATH_CACHE_SIZE)(self._find_match)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        found = self._find(scope)
        if found is None:
            await self.app(scope, receive, send)
            return
        route = scope["route"] = found.route
        scope["path_params"] = found.path_parameters
        if self._traced:
            span = trace.get_current_span()
            span.update_name(f"{scope['method']} {route.path}")
            span.set_attribute("http.route", route.path)
        request = Request(scope, receive, send)
        try:
            response = await found.handle(request)
        except Exception as error:  # noqa: BLE001 - becomes a problem document, as in FastAPI
            response = exception_response(request, error)
        await response(scope, receive, send)

    def find(self, scope: Scope) -> FastRoute | None:
        """Return the fast route for a request, or None."""
        found = self._find(scope)
        return found and found.route

    def _find(self, scope: Scope) -> _Found | None:
        if scope["type"] != "http":
            return None
        method, path = scope["method"], route_path(scope)
        if found := self._by_path.get((method, path)):
            return found
        if method not in self._methods_with_parameters or len(path) > MAX_CACHED_PATH_CHARS:
            return None
        return self._match(method, path)

    def _find_match(self, method: str, path: str) -> _Found | None:
        """Return the first route that matches, as Starlette does, if it is a fast one."""
        scope = {"type": "http", "method": method, "path": path, "headers": []}
        for route in self._routes:
            match, found = route.matches(scope)
            if match == Match.FULL:
                return _as_fast(route, found["path_params"])
        return None


def _as_fast(route: BaseRoute, path_parameters: dict[str, str]) -> _Found | None:
    """Return a route that was found if it is a fast one, else None."""
    if isinstance(route, FastRoute) and route.handle_directly:
        return _Found(route, route.handle_directly, path_parameters)
    return None
