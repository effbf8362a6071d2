"""The bytes of a request's body: size limits, the media type, reading in chunks.

Knows HTTP; knows nothing of what the bytes mean.
"""

from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from app.errors import (
    InvalidInputError,
    TooLargeError,
    UndecodableError,
    UnsupportedMediaTypeError,
)
from app.imaging.formats import MEDIA_TYPE_ALIASES
from app.web.execution.thread_pool import BoundedThreadPool
from app.web.requests.content_decoding import HELD_PER_BYTE, UNHELD_BYTES, content_coding, expand

_URL_ENCODED_TYPE = "application/x-www-form-urlencoded"  # sent by curl's --data-binary


@dataclass(frozen=True)
class Limits:
    """What one request may bring.

    Attributes:
        max_body_bytes: Largest body of JSON or arrays, in bytes.
        max_image_bytes: Largest body of image files, in bytes.
        max_batch_items: Most images in one body.
    """

    max_body_bytes: int
    max_image_bytes: int
    max_batch_items: int

    def check_count(self, count: int) -> None:
        """Raise if a batch is empty or has too many images.

        Raises:
            InvalidInputError: `count` is 0.
            TooLargeError: `count` is above `max_batch_items`.
        """
        if count == 0:
            raise InvalidInputError(
                "The batch is empty: expected form fields named 'files', a JSON list of images, or"
                " an npy array [N, 28, 28]."
            )
        if count > self.max_batch_items:
            raise TooLargeError(
                f"The batch has {count} images; at most {self.max_batch_items} are accepted. Send"
                " them in several requests."
            )


def header(request: Request, name: bytes) -> str:
    """Return the first header `name` (lower case), or "" if there is none.

    Reads the scope, because Starlette's `Headers` costs more than the rest of a small request.
    """
    for key, value in request.scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return ""


def content_length(request: Request) -> int | None:
    """Return the header Content-Length, or None if it is missing or no number."""
    value = header(request, b"content-length")
    return int(value) if value.isdecimal() else None


def expanded_length(request: Request) -> int | None:
    """Return the length of the body that is read, or None if it is compressed or not known."""
    return None if _content_encoding(request) else content_length(request)


def _content_encoding(request: Request) -> str:
    """Return the list of codings in all headers Content-Encoding, or "" if there is none."""
    values = [value for key, value in request.scope["headers"] if key == b"content-encoding"]
    return str(b", ".join(values), "latin-1")


def media_type(request: Request, accepted: Collection[str]) -> str:
    """Return the media type of the body, without parameters, in lower case.

    Raises:
        UnsupportedMediaTypeError: It is none of `accepted`.
    """
    value = header(request, b"content-type") or "application/octet-stream"
    kind = value.partition(";")[0].strip().lower()
    kind = MEDIA_TYPE_ALIASES.get(kind, kind)
    if kind not in accepted:
        hint = ""
        if kind == _URL_ENCODED_TYPE:
            hint = (
                " curl's --data-binary sends this type by default: add -H 'Content-Type:"
                " image/png', or use -F file=@digit.png."
            )
        raise UnsupportedMediaTypeError(
            f"The Content-Type {kind!r} is not supported here; expected one of"
            f" {', '.join(accepted)}.{hint}",
            valid=list(accepted),
        )
    return kind


def check_wait(request: Request, pool: BoundedThreadPool) -> None:
    """Refuse a large body before it is read, if the work on it would have to wait too long.

    To read the body of every photo that is refused under overload takes time from the others.

    Raises:
        ExpectedWaitError: The threads of `pool` are busy for too long.
    """
    if pool.has_queue and (content_length(request) or 0) > UNHELD_BYTES:
        pool.check_wait()


def read_chunks(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Return the chunks of the body up to the limit, expanded if the body is compressed.

    The memory budget counts a body of more than `UNHELD_BYTES` as it arrives: what a slow client
    has not sent takes no memory.

    Raises:
        TooLargeError: The body is over the limit; the rest of it is not read.
        UnsupportedMediaTypeError: The Content-Encoding is neither gzip nor deflate.
        UndecodableError: The body is not compressed as its header says.
        MemoryBudgetError: The service holds too many bodies at present; the rest is not read.
        ClientDisconnect: The client disconnected before the end of the body.
    """
    chunks = _received_chunks(request, max_bytes)
    if value := _content_encoding(request):
        coding = content_coding(value)
        return expand(request, chunks, coding, max_bytes) if coding else chunks
    return chunks


class _ArrivingBody:
    """The body of a request as it arrives, up to a limit.

    Attributes:
        has_more: Whether there is another chunk.
    """

    def __init__(self, request: Request, max_bytes: int) -> None:
        """Refuse a body whose header says that it is over the limit, with `TooLargeError`."""
        self.has_more = True
        self._request, self._max_bytes, self._received = request, max_bytes, 0
        self._length = content_length(request)
        if self._length is not None and self._length > max_bytes:
            raise TooLargeError(
                f"The body has {self._length} bytes; at most {max_bytes} are accepted."
            )

    async def next_chunk(self) -> bytes:
        """Return the next chunk; raise what `read_chunks` raises."""
        message = await self._request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        self.has_more = message.get("more_body", False)
        self._received += len(chunk)
        if self._received > self._max_bytes:
            raise TooLargeError(
                f"The body is too large: at most {self._max_bytes} bytes are accepted."
            )
        if self._received > UNHELD_BYTES:
            expected = HELD_PER_BYTE * (self._length or 0)
            self._request.state.body_hold.grow(HELD_PER_BYTE * self._received, expected=expected)
        return chunk


async def _received_chunks(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    body = _ArrivingBody(request, max_bytes)
    while body.has_more:
        yield await body.next_chunk()


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the whole body.

    Raises:
        DigitscopeError: As in `read_chunks`.
        ClientDisconnect: The client disconnected before the end of the body.
    """
    if _content_encoding(request):
        return b"".join([chunk async for chunk in read_chunks(request, max_bytes)])
    # Not by a generator: asyncio keeps account of each of them (docs/performance.md).
    body, chunks = _ArrivingBody(request, max_bytes), list[bytes]()
    while body.has_more:
        chunks.append(await body.next_chunk())
    return b"".join(chunks)


def require_content(content: bytes) -> bytes:
    """Return the bytes of an image file.

    Raises:
        UndecodableError: There are none.
    """
    if not content:
        raise UndecodableError("The image is empty: got 0 bytes; expected an image file.")
    return content
