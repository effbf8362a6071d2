"""The status codes of gRPC for the service's errors."""

from collections.abc import Mapping

import grpc

from app.errors import DigitscopeError
from app.web.http.problem_details import protocol_message

# By the HTTP status of the error.
_CODES: Mapping[int, grpc.StatusCode] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
    507: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
# Bytes of a message on the wire. gRPC drops one of more than 4 KiB, so that the client gets none.
MAX_DETAIL_BYTES = 3500
_ESCAPED_BYTES = 3  # that a byte takes which is no printable ASCII


def status_code(error: DigitscopeError) -> grpc.StatusCode:
    """Return the status code of an error."""
    return _CODES.get(error.status, grpc.StatusCode.INTERNAL)


def status_detail(error: DigitscopeError) -> str:
    """Return the message of an error: that of HTTP, shortened."""
    text = protocol_message(error).encode(errors="replace").decode()
    size = 0
    for place, character in enumerate(text):
        is_plain = character.isascii() and character.isprintable() and character != "%"
        size += 1 if is_plain else _ESCAPED_BYTES * len(character.encode())
        if size > MAX_DETAIL_BYTES:
            return f"{text[:place]}..."
    return text


def retry_metadata(error: DigitscopeError) -> list[tuple[str, str]]:
    """Return the metadata that say when to try again, for people and for gRPC's own retries."""
    seconds = error.headers.get("Retry-After")
    if seconds is None:
        return []
    return [("retry-after", seconds), ("grpc-retry-pushback-ms", str(1000 * int(seconds)))]
