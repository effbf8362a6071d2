"""Who may ask, and how often: API keys and a rate limit, both off unless set."""

import hmac
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from starlette.requests import Request

from app.errors import NotFoundError, RateLimitError, UnauthorisedError

# Probes carry no keys; the latter two are those of the Open Inference Protocol.
OPEN_PATHS = frozenset({"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
MAX_CLIENTS = 10_000  # buckets that are remembered, the least recently used goes first


class Admin:
    """Guards what only the operator may do."""

    def __init__(self, token: str | None) -> None:
        """Accept `token`; None: nobody may."""
        self._token = token

    def check(self, request: Request) -> None:
        """Do nothing if the request has the token.

        Raises:
            NotFoundError: No token is set, so there is nothing here.
            UnauthorisedError: The request has another token or none.
        """
        if self._token is None:
            raise NotFoundError(
                "Nothing can be reloaded here: set DIGITSCOPE_ADMIN_TOKEN to allow it."
            )
        if not _is_among(given_keys(request.headers), [self._token.encode()]):
            raise UnauthorisedError(
                "This route needs the admin token: send 'Authorization: Bearer TOKEN'."
            )


def given_keys(headers: Mapping[str, str]) -> list[str]:
    """Return the keys that a request's headers carry: of `Authorization` and of `X-API-Key`."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    keys = [value.strip()] if kind.lower() == "bearer" else []
    if "x-api-key" in headers:
        keys.append(headers["x-api-key"])
    return keys


def _is_among(given: Sequence[str], known: Sequence[bytes]) -> bool:
    """Compare all, in constant time, so that time tells nothing about any of them."""
    return sum(hmac.compare_digest(one.encode(), key) for one in given for key in known) > 0


class Access:
    """Checks a request's key and counts it against its client's rate."""

    def __init__(self, *, keys: Sequence[str], per_second: float) -> None:
        """Set the accepted keys (none: everybody may ask) and the rate (0: no limit).

        A client may save up two seconds' worth of requests, at least one.
        """
        self._keys = [key.encode() for key in keys]
        self._rate, self._burst = per_second, max(1.0, 2 * per_second)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.free = not keys and not per_second

    def check(self, path: str, given: Sequence[str], client: str) -> None:
        """Do nothing if the request may go on.

        Args:
            path: What is asked for.
            given: What the client gave as keys.
            client: Its address.

        Raises:
            UnauthorisedError: A key is needed and this is none.
            RateLimitError: Too many requests of this client.
        """
        if path in OPEN_PATHS:
            return
        if self._keys and not _is_among(given, self._keys):
            raise UnauthorisedError(
                "This service needs an API key: send 'Authorization: Bearer KEY' or 'X-API-Key:"
                " KEY'."
            )
        if self._rate:
            self._count(client)

    def _count(self, client: str) -> None:
        """Take one from the client's bucket, which fills at the rate."""
        now = time.monotonic()
        left, then = self._buckets.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        self._buckets[client] = (max(left - 1, 0) if left >= 1 else left, now)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        if left < 1:
            wait = (1 - left) / self._rate
            raise RateLimitError(
                f"At most {self._rate:g} requests a second are answered; try again in"
                f" {wait:.2f} s.",
                retry_after=max(1, round(wait + 0.5)),
            )
