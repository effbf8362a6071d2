"""Compresses responses that clients accept compressed, the large ones in a thread."""

import asyncio
import zlib

from starlette.datastructures import MutableHeaders
from starlette.types import Message

from app.web.quality_values import WINDOW_BITS

MIN_COMPRESSED_BYTES = 1000  # smaller responses fit into one packet anyway
MAX_INLINE_BYTES = 1 << 14  # bytes; take 0.3 ms, as long as a round trip to a busy thread
LEVEL = 4  # of 9; an inspection shrinks to 31 %, in 14 ms for each MB; 9 gives 30 % in 95 ms
# Other types hardly shrink: images, and arrays of floats. The last one is used by the Open
# Inference Protocol only.
_TYPES = (
    b"application/json",
    b"application/problem+json",
    b"text/html",
    b"text/plain",
    b"application/octet-stream",
)


def is_compressible(start: Message) -> bool:
    """Return whether the response that starts so is of a type that shrinks."""
    media_type = b""
    for name, value in start.get("headers", ()):
        if name == b"content-type":
            media_type = value
        elif name == b"content-encoding":
            return False
    return media_type.startswith(_TYPES)


async def compress(start: Message, body: bytes, coding: str) -> bytes:
    """Return a response's body in a content coding; change the headers of its start in place."""
    if len(body) <= MAX_INLINE_BYTES:
        content = _compress(body, coding)
    else:
        content = await asyncio.to_thread(_compress, body, coding)
    headers = MutableHeaders(raw=start["headers"])
    headers["Content-Encoding"] = coding
    headers["Content-Length"] = str(len(content))
    return content


def _compress(body: bytes, coding: str) -> bytes:
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW_BITS[coding])
    return compressor.compress(body) + compressor.flush()
