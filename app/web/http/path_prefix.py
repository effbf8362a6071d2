"""Tells a request's route from the prefix under which a reverse proxy publishes the service.

Some proxies strip the prefix from the path, others pass it on. Both kinds give the same scope here:
`root_path` is the prefix, and `path` starts with it (ASGI).
"""

import logging
from collections.abc import Iterable, Sequence
from functools import lru_cache

from starlette.types import Scope

from app.path_prefix import parse_prefix
from app.web.http.client_address import header_values

log = logging.getLogger(__name__)
PREFIX_CACHE_SIZE = 64  # values of the header


def route_path(scope: Scope) -> str:
    """Return the path of a request without the prefix."""
    path: str = scope["path"]
    root = scope.get("root_path")
    return path.removeprefix(root) if root else path


class PathPrefix:
    """The prefix of a setting, or the one that a trusted proxy writes into X-Forwarded-Prefix."""

    def __init__(self, configured: str = "", routes: Iterable[str] = ()) -> None:
        """Take the setting, and the paths of all routes.

        A path that starts with the prefix usually holds it. If a route starts with the same
        segments, such as `/v1`, it is ambiguous; then the proxy must strip the prefix.
        """
        self.configured = configured
        self._routes = [route.split("/")[1:] for route in routes]
        self._begins_route = lru_cache(maxsize=PREFIX_CACHE_SIZE)(self._find_route)
        self._has_warned = False

    def apply(self, scope: Scope, *, is_trusted: bool) -> None:
        """Set `root_path` and `path` of an ASGI scope.

        Args:
            scope: The scope, changed in place.
            is_trusted: Whether the peer is a trusted proxy, so that its header counts.
        """
        prefix = (self._forwarded(scope) if is_trusted else None) or self.configured
        if not prefix:
            return
        root = prefix + scope.get("root_path", "")
        path: str = scope["path"]
        holds_prefix = path == root or path.startswith(f"{root}/")
        if not holds_prefix or self._begins_route(prefix):
            path = prefix + path
        scope["root_path"] = root
        scope["path"] = f"{root}/" if path == root else path

    def _forwarded(self, scope: Scope) -> str | None:
        """Return the last prefix of the header, or None without a valid one."""
        values = header_values(scope, b"x-forwarded-prefix")
        if not values:
            return None
        try:
            return parse_prefix(values[-1])
        except ValueError as error:
            if not self._has_warned:
                self._has_warned = True
                log.warning("a proxy sends a wrong X-Forwarded-Prefix: %s", error)
            return None

    def _find_route(self, prefix: str) -> bool:
        """Return whether a route starts with the segments of a prefix."""
        segments = prefix.split("/")[1:]
        return any(_starts_with(route, segments) for route in self._routes)


def _starts_with(route: Sequence[str], segments: Sequence[str]) -> bool:
    for place, segment in enumerate(segments):
        if place == len(route):
            return False
        if ":path}" in route[place]:
            return True
        if not route[place].startswith("{") and route[place] != segment:
            return False
    return True
