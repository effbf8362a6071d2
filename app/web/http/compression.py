"""Compresses responses that clients accept compressed, the large ones in a thread."""

import asyncio
import zlib
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import Message

from app.web.quality_values import WINDOW_BITS

MIN_COMPRESSED_BYTES = 1000  # smaller responses fit into one packet anyway
MAX_INLINE_BYTES = 1 << 14  # bytes; take 0.3 ms, as long as a round trip to a busy thread
LEVEL = 4  # of 9; an inspection shrinks to 31 %, in 14 ms for each MB; 9 gives 30 % in 95 ms
MAP_LEVEL = 1  # of 9; clients request maps many times a second
# zlib's level for each media type that shrinks. Images and arrays of floats hardly do; the octet
# stream is used by the Open Inference Protocol only.
_LEVELS: Mapping[bytes, int] = {
    b"application/json": LEVEL,
    b"application/problem+json": LEVEL,
    b"text/html": LEVEL,
    b"text/plain": LEVEL,
    b"application/octet-stream": LEVEL,
    b"application/vnd.digitscope.map": MAP_LEVEL,
}


def is_compressible(start: Message) -> bool:
    """Return whether the response that starts so is of a type that shrinks."""
    media_type = b""
    for name, value in start.get("headers", ()):
        if name == b"content-type":
            media_type = value
        elif name == b"content-encoding":
            return False
    return _level(media_type) is not None


async def compress(start: Message, body: bytes, coding: str) -> bytes:
    """Return a response's body in a content coding; change the headers of its start in place."""
    headers = MutableHeaders(raw=start["headers"])
    level = _level(headers["Content-Type"].encode("latin-1")) or LEVEL
    if len(body) <= MAX_INLINE_BYTES:
        content = _compress(body, coding, level)
    else:
        content = await asyncio.to_thread(_compress, body, coding, level)
    headers["Content-Encoding"] = coding
    headers["Content-Length"] = str(len(content))
    return content


def _level(media_type: bytes) -> int | None:
    """Return zlib's level for a value of Content-Type; None if the type does not shrink."""
    return _LEVELS.get(media_type.split(b";")[0])


def _compress(body: bytes, coding: str, level: int) -> bytes:
    compressor = zlib.compressobj(level, zlib.DEFLATED, WINDOW_BITS[coding])
    return compressor.compress(body) + compressor.flush()
