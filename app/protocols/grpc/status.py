"""The status codes of gRPC for the service's errors."""

from collections.abc import Mapping

import grpc

from app.errors import DigitscopeError

# By the HTTP status of the error.
_CODES: Mapping[int, grpc.StatusCode] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
# Characters of a message. It travels in the metadata, of which clients accept 8 KiB; a character
# takes up to 12 bytes there.
MAX_DETAIL_CHARS = 500


def status_code(error: DigitscopeError) -> grpc.StatusCode:
    """Return the status code of an error."""
    return _CODES.get(error.status, grpc.StatusCode.INTERNAL)


def status_detail(error: DigitscopeError) -> str:
    """Return the message of an error: the `detail` of its problem document, shortened."""
    text = error.detail.encode(errors="replace").decode()
    return text if len(text) <= MAX_DETAIL_CHARS else f"{text[: MAX_DETAIL_CHARS - 3]}..."


def retry_metadata(error: DigitscopeError) -> list[tuple[str, str]]:
    """Return the metadata that say when to try again, for people and for gRPC's own retries."""
    seconds = error.headers.get("Retry-After")
    if seconds is None:
        return []
    return [("retry-after", seconds), ("grpc-retry-pushback-ms", str(1000 * int(seconds)))]
