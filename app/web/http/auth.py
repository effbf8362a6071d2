"""Authentication and rate limits: API keys, the admin token, one token bucket per client address.

All of them are off unless a setting turns them on.
"""

import hmac
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from app.errors import NotFoundError, RateLimitError, UnauthorisedError
from app.web.http.client_address import client_group

# Probes need no key and no token of a bucket. The last two are the Open Inference Protocol's.
OPEN_PATHS = frozenset({"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
# The page, Swagger UI and their files hold no data: a browser can open them and then send a key.
PAGE_PATHS = frozenset({"/", "/docs", "/docs/", "/openapi.json"})
PAGE_FOLDERS = ("/page/", "/static-offline-docs/")
METRICS_PATHS = frozenset({"/metrics"})
MAX_CLIENTS = 10_000  # buckets kept in memory; the least recently used one is dropped
BURST_S = 2.0  # seconds of requests that a client may save up


class Admin:
    """Checks the admin token on routes for operators."""

    def __init__(self, token: str | None) -> None:
        """Accept `token`; None disables the routes."""
        self._token = token

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise unless a request with these headers carries the admin token.

        Raises:
            NotFoundError: The service has no admin token.
            UnauthorisedError: The request has no token, or a wrong one.
        """
        if self._token is None:
            raise NotFoundError("Reloading is disabled: set DIGITSCOPE_ADMIN_TOKEN to enable it.")
        if not _any_equal(given_keys(headers), [self._token.encode()]):
            raise UnauthorisedError(
                "This route needs the admin token: send 'Authorization: Bearer TOKEN'."
            )


def given_keys(headers: Mapping[str, str]) -> list[str]:
    """Return the keys in the headers `Authorization: Bearer` and `X-API-Key`, if any."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    keys = [value.strip()] if kind.lower() == "bearer" else []
    if "x-api-key" in headers:
        keys.append(headers["x-api-key"])
    return keys


def _any_equal(given: Sequence[str], known: Sequence[bytes]) -> bool:
    """Return whether a given key is known; compare all pairs, each in constant time."""
    return sum(hmac.compare_digest(key.encode(), other) for key in given for other in known) > 0


class Access:
    """Checks a request's API key and its client's rate.

    Attributes:
        has_keys: Whether any route needs a key.
        is_unrestricted: Whether neither keys nor rates are checked.
    """

    def __init__(
        self,
        *,
        keys: Sequence[str],
        per_second: float,
        page_is_open: bool = True,
        metrics_are_open: bool = False,
    ) -> None:
        """Set the accepted keys (none: no key is needed) and the rate (0: no limit).

        A client may save up `BURST_S` seconds' worth of requests, at least one. The page with
        Swagger UI, and the metrics, may be open to clients without a key.
        """
        self.has_keys = bool(keys)
        self._open_paths = OPEN_PATHS.union(
            PAGE_PATHS if page_is_open else (), METRICS_PATHS if metrics_are_open else ()
        )
        self._open_folders = PAGE_FOLDERS if page_is_open else ()
        self._keys = [key.encode() for key in keys]
        self._rate, self._burst = per_second, max(1.0, BURST_S * per_second)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.is_unrestricted = not keys and not per_second

    def needs_key(self, path: str) -> bool:
        """Return whether requests for a path need an API key."""
        return (
            self.has_keys
            and path not in self._open_paths
            and not path.startswith(self._open_folders)
        )

    def check(self, path: str, given: Sequence[str], client: str) -> None:
        """Raise unless the request may go on.

        Args:
            path: Path of the request.
            given: The keys that the request carries.
            client: Address of the client, not of a proxy in front of the service.

        Raises:
            UnauthorisedError: A key is needed, and the request has none that is accepted.
            RateLimitError: The client has sent too many requests.
        """
        if path in OPEN_PATHS:
            return
        # First, so that wrong keys count, too: a key cannot be guessed faster than the rate.
        if self._rate:
            self._take_token(client_group(client))
        if self.needs_key(path) and not _any_equal(given, self._keys):
            raise UnauthorisedError(
                "This service needs an API key: send 'Authorization: Bearer KEY' or 'X-API-Key:"
                " KEY'."
            )

    def _take_token(self, client: str) -> None:
        """Take one token from the bucket of a client, which refills at the rate."""
        now = time.monotonic()
        tokens, refilled_at = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - refilled_at) * self._rate)
        self._buckets[client] = (tokens - 1 if tokens >= 1 else tokens, now)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        if tokens < 1:
            wait_s = (1 - tokens) / self._rate
            raise RateLimitError(
                f"The limit is {self._rate:g} requests per second; try again in {wait_s:.2f} s.",
                retry_after=max(1, round(wait_s + 0.5)),
            )
