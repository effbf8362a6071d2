"""Expands the compressed body of a request as it arrives, up to a limit.

Small parts are expanded on the event loop, large ones in the thread that parses bodies.
"""

import zlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.requests import Request

from app.errors import TooLargeError, UndecodableError, UnsupportedMediaTypeError
from app.web.quality_values import WINDOW_BITS
from app.web.requests.parsing import MAX_INLINE_BYTES

UNHELD_BYTES = 1 << 16  # bytes of a body that the memory budget does not count
# Bytes held for each byte of a body: the body itself, and what is read from it.
HELD_PER_BYTE = 2


def content_coding(value: str) -> str:
    """Return the coding in a Content-Encoding: `gzip`, `deflate`, or "" for none.

    Raises:
        UnsupportedMediaTypeError: It is another one, or there are several.
    """
    coding = value.strip().lower().removeprefix("x-")
    if coding in ("", "identity"):
        return ""
    if coding not in WINDOW_BITS:
        raise UnsupportedMediaTypeError(
            f"The Content-Encoding {value[:40]!r} is not supported here; expected gzip or deflate.",
            valid=list(WINDOW_BITS),
        )
    return coding


async def expand(
    request: Request, chunks: AsyncGenerator[bytes, None], coding: str, max_bytes: int
) -> AsyncGenerator[bytes, None]:
    """Yield what the chunks of a compressed body expand to; the memory budget counts both.

    Raises:
        TooLargeError: The body expands to more than `max_bytes`.
        UndecodableError: The body is not compressed as its header says.
        MemoryBudgetError: The service holds too many bodies at present.
    """
    stream = _Stream(coding)
    received = total = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            received += len(chunk)
            while chunk:
                part, chunk = stream.expand(chunk, MAX_INLINE_BYTES)
                if len(part) == MAX_INLINE_BYTES and not stream.is_complete:
                    # There is more, perhaps a thousandfold.
                    size = max_bytes + 1 - total - len(part)
                    more, chunk = await request.state.service.body_parser.run(
                        2 * max(size, 0), lambda rest=chunk, size=size: stream.expand(rest, size)
                    )
                    part += more
                total += len(part)
                if total > max_bytes:
                    raise TooLargeError(
                        f"The decompressed body has more than {max_bytes} bytes, the limit."
                    )
                if total > UNHELD_BYTES:
                    request.state.body_hold.grow(HELD_PER_BYTE * (received + total))
                yield part
    if not stream.is_complete:
        raise UndecodableError(f"The body is no valid {coding}: it ends too early.")


class _Stream:
    """A compressed body; one in gzip may consist of several members."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._decompressor = zlib.decompressobj(WINDOW_BITS[coding])

    @property
    def is_complete(self) -> bool:
        return self._decompressor.eof

    def expand(self, data: bytes, max_bytes: int) -> tuple[bytes, bytes]:
        """Return at most `max_bytes` of what the data expand to, and the data that are left.

        Raises:
            UndecodableError: The data are not compressed as announced.
        """
        if self._decompressor.eof:
            if self._coding == "deflate":
                raise UndecodableError("The body is no valid deflate: data follow its end.")
            self._decompressor = zlib.decompressobj(WINDOW_BITS[self._coding])
        try:
            part = self._decompressor.decompress(data, max(max_bytes, 1))
        except zlib.error as error:
            raise UndecodableError(f"The body is no valid {self._coding}: {error}.") from error
        return part, self._decompressor.unconsumed_tail or self._decompressor.unused_data
