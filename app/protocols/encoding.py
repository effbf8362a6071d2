"""Bodies of the protocols: read within the limit, uncompressed within it, compressed if asked."""

import gzip
import reprlib
import zlib
from typing import Any

import pydantic_core
from starlette.requests import Request
from starlette.responses import Response

from app.errors import TooLargeError, UndecodableError, UnsupportedMediaTypeError
from app.web.requests.body import Limits, read_body

_GZIP, _DEFLATE = 31, 15  # zlib's window bits for the two formats
MAX_LISTS = 1000  # besides two for each comma: tensors of images hold one for each at most
MIN_COMPRESSED_BYTES = 500  # bytes of an answer that are worth compressing


async def read_content(request: Request, limits: Limits) -> bytes:
    """Return the whole body, uncompressed.

    Raises:
        TooLargeError: It is over the limit, compressed or not.
        UnsupportedMediaTypeError: It is compressed in another way than gzip or deflate.
        UndecodableError: It is not compressed as its header says.
    """
    body = await read_body(request, limits)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise UnsupportedMediaTypeError(
            f"The Content-Encoding {encoding!r} is not read here; gzip and deflate are."
        )
    unpacker = zlib.decompressobj(_GZIP if encoding == "gzip" else _DEFLATE)
    try:
        content = unpacker.decompress(body, limits.max_body_bytes + 1)
    except zlib.error as error:
        raise UndecodableError(f"The body is no valid {encoding}: {error}.") from error
    if len(content) > limits.max_body_bytes:
        raise TooLargeError(
            f"The body has more than {limits.max_body_bytes} bytes once it is uncompressed."
        )
    if not unpacker.eof:
        raise UndecodableError(f"The body is no valid {encoding}: it ends too early.")
    return content


def read_json(content: bytes) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        UndecodableError: It is no JSON, or no object, or far more lists than values, which would
            take a second of the event loop to build.
    """
    lists, commas = content.count(b"["), content.count(b",")
    if lists > 2 * commas + MAX_LISTS:
        raise UndecodableError(
            f"The body was not read: it holds {lists} lists and {commas} commas: no tensor does."
        )
    try:
        found = pydantic_core.from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise UndecodableError(f"The body is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise UndecodableError("The body is no JSON object.")
    return found


def shown(value: Any) -> str:
    """Return what a client sent, for a message, in a few letters however long it is."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return reprlib.repr(value)


def answer(request: Request, content: bytes, headers: dict[str, str]) -> Response:
    """Return a response, compressed if the client takes that and it is worth it."""
    accepted = request.headers.get("accept-encoding", "")
    if len(content) >= MIN_COMPRESSED_BYTES:
        if "gzip" in accepted:
            content, headers = gzip.compress(content, 1), {**headers, "Content-Encoding": "gzip"}
        elif "deflate" in accepted:
            content, headers = zlib.compress(content, 1), {**headers, "Content-Encoding": "deflate"}
    return Response(content, headers={**headers, "Vary": "Accept-Encoding"})


def json_answer(request: Request, said: Any) -> Response:
    """Return JSON."""
    return answer(request, to_json(said), {"Content-Type": "application/json"})


def to_json(said: Any) -> bytes:
    """Return a value of plain types as JSON."""
    return pydantic_core.to_json(said)
