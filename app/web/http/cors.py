"""Cross-origin requests: lets scripts of other web sites call the service, if a setting says so."""

import re
from collections.abc import Mapping, Sequence

from starlette.responses import Response

ANY = "*"
MAX_AGE_S = 600  # seconds for which a browser may remember the answer to a preflight request
_METHODS = "GET, HEAD, POST, DELETE"
_EXPOSED = (
    "Content-Disposition, ETag, Inference-Header-Content-Length, Retry-After, X-Request-ID,"
    " X-Value-Limit, X-Value-Max, X-Value-Min"
)
# Names of headers as a browser lists them in a preflight request; at most some kB arrive.
_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(\s*,\s*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")

Headers = list[tuple[bytes, bytes]]


class CrossOrigin:
    """The origins whose scripts may read responses.

    Attributes:
        is_enabled: Whether there are any.
        depends_on_origin: Whether responses differ by the origin of the request.
    """

    def __init__(self, origins: Sequence[str] = (), *, credentials: bool = False) -> None:
        """Allow these origins, or any with `*`; with `credentials`, cookies of named origins."""
        self.is_enabled = bool(origins)
        self._any = ANY in origins
        self.depends_on_origin = self.is_enabled and not self._any
        self._origins = frozenset(origins)
        self._credentials = credentials and not self._any

    def allows(self, origin: str) -> bool:
        """Return whether scripts of an origin may read responses."""
        return bool(origin) and (self._any or origin in self._origins)

    def headers(self, origin: str) -> Headers:
        """Return the headers that every response to a request from an origin gets.

        Args:
            origin: Value of the header Origin; "" if there is none.
        """
        if not self.allows(origin):
            return []
        allowed = ANY if self._any else origin
        headers = [
            (b"access-control-allow-origin", allowed.encode("latin-1")),
            (b"access-control-expose-headers", _EXPOSED.encode()),
        ]
        if self._credentials:
            headers.append((b"access-control-allow-credentials", b"true"))
        return headers

    def preflight(self, method: str, headers: Mapping[bytes, bytes]) -> Response | None:
        """Return the answer to a preflight request; None for another request, or another origin.

        A browser sends no API key with it, so it needs none.
        """
        if (
            not self.is_enabled
            or method != "OPTIONS"
            or b"access-control-request-method" not in headers
            or not self.allows(headers.get(b"origin", b"").decode("latin-1"))
        ):
            return None
        allowed = {
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Max-Age": str(MAX_AGE_S),
            "Vary": "Access-Control-Request-Headers",
        }
        names = headers.get(b"access-control-request-headers", b"").decode("latin-1").strip()
        if _NAMES.fullmatch(names):
            allowed["Access-Control-Allow-Headers"] = names
        return Response(status_code=204, headers=allowed)
