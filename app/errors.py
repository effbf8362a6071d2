"""The tree of errors that clients and operators see, each with its HTTP status.

Errors are raised deep inside the program and become responses once, in
`app.web.http.problem_details`. Knows status codes; knows no web framework.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class DigitscopeError(Exception):
    """Base of all errors that are reported to a client or an operator.

    Attributes:
        status: HTTP status of the response.
        title: Short summary, the same for every error of the class.
        slug: Last part of the problem's `type` URI.
        headers: HTTP headers of the response, such as Retry-After.
        fields: Extra members of the problem document, such as `valid` or `errors`.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    slug: ClassVar[str] = "internal-error"
    headers: Mapping[str, str] = {}

    def __init__(self, detail: str, **fields: Any) -> None:
        """Create the error.

        Args:
            detail: What was expected, what came, and what to do.
            **fields: Extra members of the problem document.
        """
        super().__init__(detail)
        self.detail = detail
        self.fields = fields


class UndecodableError(DigitscopeError):
    """The body cannot be decoded: not an image, truncated, not JSON."""

    status = 400
    title = "The body cannot be decoded"
    slug = "undecodable"


class UnauthorisedError(DigitscopeError):
    """A key is needed, and the request has none or a wrong one."""

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
    """The path exists but does not support the request's method."""

    status = 405
    title = "Method not allowed"
    slug = "method-not-allowed"


class BodyTimeoutError(DigitscopeError):
    """The body did not arrive in time, or arrives too slowly."""

    status = 408
    title = "Body too slow"
    slug = "slow-body"
    headers: Mapping[str, str] = {"Connection": "close"}


class TooLargeError(DigitscopeError):
    """A body over the limit, an image with too many pixels, or too many items."""

    status = 413
    title = "Too large"
    slug = "too-large"


class UnsupportedMediaTypeError(DigitscopeError):
    """A media type that the route does not accept; `valid` lists those it accepts."""

    status = 415
    title = "Unsupported media type"
    slug = "unsupported-media-type"


class InvalidInputError(DigitscopeError):
    """Valid in form but not in content: shape, range, missing field or invalid parameter."""

    status = 422
    title = "Invalid input"
    slug = "invalid-input"


class BlankImageError(InvalidInputError):
    """An image without ink: blank, or with too little contrast to find any."""

    title = "No ink found"
    slug = "blank-image"


class UnsupportedLayerError(DigitscopeError):
    """A layer whose arithmetic the service does not know but needs for the response."""

    status = 501
    title = "Layer not supported"
    slug = "unsupported-layer"


class OutOfMemoryError(DigitscopeError):
    """The machine has no memory left for this request."""

    status = 503
    title = "Out of memory"
    slug = "out-of-memory"
    headers: Mapping[str, str] = {"Retry-After": "5"}


class MemoryBudgetError(DigitscopeError):
    """The memory that requests share is in use."""

    status = 503
    title = "Too busy"
    slug = "memory-budget"
    headers: Mapping[str, str] = {"Retry-After": "1"}


class NotReadyError(DigitscopeError):
    """The model is not loaded yet, or the service is shutting down."""

    status = 503
    title = "Not ready"
    slug = "not-ready"
    headers: Mapping[str, str] = {"Retry-After": "1"}


class StalledError(DigitscopeError):
    """Predictions have been waiting for too long: the process should be restarted."""

    status = 503
    title = "Stalled"
    slug = "stalled"


class QueueFullError(DigitscopeError):
    """Too many requests are waiting already."""

    status = 503
    title = "Too busy"
    slug = "queue-full"

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        """Create the error with the seconds after which the client may try again."""
        super().__init__(f"{detail} Try again in {retry_after} s.")
        self.headers = {"Retry-After": str(retry_after)}


class ExpectedWaitError(QueueFullError):
    """The requests that are waiting already take so long that this one would miss its deadline."""


class TooManyConnectionsError(QueueFullError):
    """Too many connections are open."""


class StorageError(DigitscopeError):
    """A correction cannot be stored or deleted: a full disk, a folder that is gone or read-only."""

    status = 503
    title = "Corrections cannot be changed"
    slug = "storage"
    headers: Mapping[str, str] = {"Retry-After": "60"}


class StorageFullError(DigitscopeError):
    """The folder of corrections holds as much as its settings allow."""

    status = 507
    title = "No room for corrections"
    slug = "storage-full"


class RateLimitError(DigitscopeError):
    """A client has sent more requests than its rate allows."""

    status = 429
    title = "Too many requests"
    slug = "rate-limited"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        """Create the error with the seconds after which the client may try again."""
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after)}


class DeadlineError(DigitscopeError):
    """The response was not ready before the deadline."""

    status = 504
    title = "Deadline passed"
    slug = "deadline-passed"


class BundleError(DigitscopeError):
    """A model bundle that is missing, damaged or of another schema.

    At start it ends the process. At a reload it is refused, and the old model stays.
    """

    status = 409
    title = "Damaged model bundle"
    slug = "damaged-bundle"
