"""The one tree of errors: what can go wrong, and the HTTP status that it maps to.

Errors are raised deep inside the program and rendered once per protocol at its edge. This module
knows status codes but no web framework.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class DigitscopeError(Exception):
    """Base of every error that a client or an operator is told about.

    Attributes:
        status: The HTTP status that the error is answered with.
        title: A short summary, the same for every occurrence of the class.
        slug: The last part of the problem `type` URI.
        headers: HTTP headers that belong to the answer, such as Retry-After.
        fields: Extra members of the problem document, such as `valid` or `errors`.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    slug: ClassVar[str] = "internal-error"
    headers: Mapping[str, str] = {}

    def __init__(self, detail: str, **fields: Any) -> None:
        """Keep what happened in words (`detail`) and as structured members (`fields`)."""
        super().__init__(detail)
        self.detail = detail
        self.fields = fields


class UndecodableError(DigitscopeError):
    """The body cannot be decoded: not an image, truncated, not JSON."""

    status = 400
    title = "The body cannot be decoded"
    slug = "undecodable"


class UnauthorisedError(DigitscopeError):
    """A key is needed, and none or a wrong one came."""

    status = 401
    title = "API key needed"
    slug = "unauthorised"
    headers: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}


class NotFoundError(DigitscopeError):
    """An unknown model, layer or unit; `valid` lists the names that exist."""

    status = 404
    title = "Not found"
    slug = "not-found"


class MethodError(DigitscopeError):
    """A path that exists, asked for by a method that it does not take."""

    status = 405
    title = "Method not allowed"
    slug = "method-not-allowed"


class TooLargeError(DigitscopeError):
    """A body over the limit, an image with too many pixels, or too many items."""

    status = 413
    title = "Too large"
    slug = "too-large"


class UnsupportedMediaTypeError(DigitscopeError):
    """A media type that the route does not read; `valid` lists those it does."""

    status = 415
    title = "Unsupported media type"
    slug = "unsupported-media-type"


class InvalidInputError(DigitscopeError):
    """Decoded but wrong: shape, range, missing field or bad parameter."""

    status = 422
    title = "Invalid input"
    slug = "invalid-input"


class BlankImageError(InvalidInputError):
    """An image without ink: blank, or with too little contrast to find any."""

    title = "No ink found"
    slug = "blank-image"


class UnsupportedLayerError(DigitscopeError):
    """A layer whose arithmetic the service does not know, where an answer needs it."""

    status = 501
    title = "Layer not supported"
    slug = "unsupported-layer"


class NotReadyError(DigitscopeError):
    """The model is not loaded yet, or the service is shutting down."""

    status = 503
    title = "Not ready"
    slug = "not-ready"
    headers: Mapping[str, str] = {"Retry-After": "1"}


class StalledError(DigitscopeError):
    """Work that was accepted does not come out: the process should be restarted."""

    status = 503
    title = "Stalled"
    slug = "stalled"


class QueueFullError(DigitscopeError):
    """Too many requests wait already."""

    status = 503
    title = "Too busy"
    slug = "queue-full"
    headers: Mapping[str, str] = {"Retry-After": "1"}


class RateLimitError(DigitscopeError):
    """More requests of one client than are answered."""

    status = 429
    title = "Too many requests"
    slug = "rate-limited"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        """Say what happened, and after how many seconds to try again."""
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after)}


class DeadlineError(DigitscopeError):
    """The answer was not ready in time."""

    status = 504
    title = "Deadline passed"
    slug = "deadline-passed"


class BundleError(DigitscopeError):
    """A model bundle that is missing, damaged or of another schema.

    It stops the start; asked for by a reload, it is refused and the old one stays.
    """

    status = 409
    title = "Damaged model bundle"
    slug = "damaged-bundle"
