"""Reads and writes the bodies of the inference protocols: JSON, compression and their limits."""

import gzip
import reprlib
import zlib
from typing import Any

import pydantic_core
from starlette.requests import Request
from starlette.responses import Response

from app.errors import TooLargeError, UndecodableError, UnsupportedMediaTypeError
from app.web.requests.body import HELD_PER_BYTE, Limits, read_body
from app.web.requests.parsing import MAX_INLINE_BYTES

_GZIP, _DEFLATE = 31, 15  # window bits that select the format in zlib
# Lists allowed in JSON besides two for each comma. A tensor of images has about one list for each
# comma at most, when there is a list around each value.
MAX_EXTRA_LISTS = 1000
# Names allowed in JSON for each image, as in `{"image": {"b64": ...}}`, and besides.
MAX_NAMES_PER_IMAGE, MAX_EXTRA_NAMES = 2, 1000
MIN_COMPRESSED_BYTES = 500  # smaller responses are not compressed: they would hardly shrink


async def read_content(request: Request, limits: Limits) -> bytes:
    """Return the whole body, decompressed.

    Raises:
        TooLargeError: The body is over the limit, before or after decompression.
        MemoryBudgetError: The service holds too many bodies at present.
        UnsupportedMediaTypeError: The Content-Encoding is neither gzip nor deflate.
        UndecodableError: The body is not compressed as its header says.
    """
    body = await read_body(request, limits.max_body_bytes)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise UnsupportedMediaTypeError(
            f"The Content-Encoding {encoding!r} is not supported here; expected gzip or deflate."
        )
    decompressor = zlib.decompressobj(_GZIP if encoding == "gzip" else _DEFLATE)
    content = _decompress(decompressor, body, MAX_INLINE_BYTES, encoding)
    if not decompressor.eof:  # it expands to more, perhaps a thousandfold

        def expand() -> bytes:
            size = limits.max_body_bytes + 1 - len(content)
            rest = _decompress(decompressor, decompressor.unconsumed_tail, size, encoding)
            return content + rest

        content = await request.state.service.body_parser.run(2 * limits.max_body_bytes, expand)
        request.state.body_hold.grow(HELD_PER_BYTE * (len(body) + len(content)))
    if len(content) > limits.max_body_bytes:
        raise TooLargeError(
            f"The decompressed body has more than {limits.max_body_bytes} bytes, the limit."
        )
    if not decompressor.eof:
        raise UndecodableError(f"The body is no valid {encoding}: it ends too early.")
    return content


def _decompress(
    decompressor: "zlib._Decompress", body: bytes, max_bytes: int, encoding: str
) -> bytes:
    try:
        return decompressor.decompress(body, max_bytes)
    except zlib.error as error:
        raise UndecodableError(f"The body is no valid {encoding}: {error}.") from error


def read_json(content: bytes, max_images: int) -> dict[str, Any]:
    """Parse a JSON object, unless it has far more lists or names than any request for digits.

    The parser holds Python's global lock, so the event loop would stop for up to a second.

    Args:
        content: The JSON.
        max_images: Most images in one request, of which each may have names.

    Raises:
        UndecodableError: The content is no JSON object, or it has too many lists.
        TooLargeError: It has too many names.
    """
    lists, commas = content.count(b"["), content.count(b",")
    if lists > 2 * commas + MAX_EXTRA_LISTS:
        raise UndecodableError(
            f"The body was not parsed: it has {lists} lists but only {commas} commas, which no"
            " tensor has."
        )
    names, max_names = content.count(b":"), MAX_NAMES_PER_IMAGE * max_images + MAX_EXTRA_NAMES
    if names > max_names or (names := content.count(b"{")) > max_names:
        raise TooLargeError(
            f"The body was not parsed: it has {names} names or objects; a request with at most"
            f" {max_images} images has at most {max_names}."
        )
    try:
        parsed = pydantic_core.from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise UndecodableError(f"The body is no valid JSON: {error}.") from error
    if not isinstance(parsed, dict):
        raise UndecodableError("The body is no JSON object.")
    return parsed


def shorten(value: Any) -> str:
    """Return a value of a client's JSON for a message: short, however long the value is."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return reprlib.repr(value)


def compressed_response(request: Request, content: bytes, headers: dict[str, str]) -> Response:
    """Return a response, compressed if the client accepts that and the content is large enough."""
    accepted = request.headers.get("accept-encoding", "")
    if len(content) >= MIN_COMPRESSED_BYTES:
        if "gzip" in accepted:
            content, headers = gzip.compress(content, 1), {**headers, "Content-Encoding": "gzip"}
        elif "deflate" in accepted:
            content, headers = zlib.compress(content, 1), {**headers, "Content-Encoding": "deflate"}
    return Response(content, headers={**headers, "Vary": "Accept-Encoding"})


def json_response(request: Request, value: Any) -> Response:
    """Return a JSON response, compressed if the client accepts that."""
    return compressed_response(request, to_json(value), {"Content-Type": "application/json"})


def to_json(value: Any) -> bytes:
    """Return a value of plain types as JSON."""
    return pydantic_core.to_json(value)
