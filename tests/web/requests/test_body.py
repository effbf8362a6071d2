"""Bodies count in the memory budget as they arrive."""

import gzip
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from starlette.requests import Request

from app.errors import (
    MemoryBudgetError,
    TooLargeError,
    UndecodableError,
    UnsupportedMediaTypeError,
)
from app.web.requests.body import HELD_PER_BYTE, UNHELD_BYTES, Limits, read_body
from app.web.requests.images import read_many, read_one
from tests.forms import npy
from tests.web.requests.bodies import request_in_pieces

LIMITS = Limits(max_body_bytes=1_000_000, max_image_bytes=1_000_000, max_batch_items=1024)
LARGE = 300_000  # bytes
FORM = b"multipart/form-data; boundary=b"


def _used(request: Request) -> int:
    return int(request.state.service.memory.used)


async def _read_body(request: Request, limits: Limits) -> bytes:
    return await read_body(request, limits.max_body_bytes)


def _form(name: str) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="%b"; filename="a"\r\n\r\n' % name.encode()
    return head + bytes(LARGE) + b"\r\n--b--\r\n"


async def test_small_bodies_hold_nothing() -> None:
    """A body of up to 64 KiB does not touch the budget."""
    request = request_in_pieces([bytes(UNHELD_BYTES)])
    await read_body(request, 1_000_000)
    assert _used(request) == 0


@pytest.mark.parametrize("length", [10, 400_000, None], ids=["too short", "too long", "unknown"])
async def test_held_is_what_has_arrived(length: int | None) -> None:
    """What the header says counts neither for more nor for less."""
    pieces = [bytes(50_000)] * 6
    request = request_in_pieces(pieces, length, chunked=length is None)
    await read_body(request, 1_000_000)
    assert _used(request) == HELD_PER_BYTE * 300_000


READERS = [
    (read_one, b"image/png", bytes(LARGE)),
    (read_one, FORM, _form("file")),
    (read_many, FORM, _form("files")),
    (read_many, b"application/x-npy", npy(np.zeros((400, 28, 28), np.uint8))),
    (read_many, b"application/json", b'[{"image": "' + b"A" * LARGE + b'"}]'),
    (_read_body, b"application/json", bytes(LARGE)),
]


@pytest.mark.parametrize(
    ("read", "kind", "body"), READERS, ids=["raw", "form", "forms", "array", "JSON", "protocol"]
)
async def test_every_form_of_body_counts(
    read: Callable[[Request, Limits], Awaitable[object]], kind: bytes, body: bytes
) -> None:
    """However a body is read, it is refused if it does not fit, and counts if it does."""
    request = request_in_pieces([body[:100_000], body[100_000:]], kind=kind)
    memory = request.state.service.memory
    memory.hold_body(memory.share - len(body))
    with pytest.raises(MemoryBudgetError):
        await read(request, LIMITS)
    memory.release_body(memory.used)

    request = request_in_pieces([body[:100_000], body[100_000:]], kind=kind)
    await read(request, LIMITS)
    assert _used(request) == HELD_PER_BYTE * len(body)


@pytest.mark.parametrize("noise", [0, 70_000])
async def test_compressed_body_counts_with_what_it_expands_to(noise: int) -> None:
    """A small body that expands a thousandfold holds as much as a large one."""
    content = bytes(LARGE) + np.random.default_rng(0).bytes(noise)
    compressed = gzip.compress(content)
    request = _compressed(compressed)
    assert await read_body(request, LIMITS.max_body_bytes) == content
    assert _used(request) == HELD_PER_BYTE * (len(compressed) + len(content))


async def test_compressed_body_that_does_not_fit_is_refused() -> None:
    """The budget is asked once the size is known; beyond the limit of a body it is not asked."""
    request = _compressed(gzip.compress(bytes(LARGE)))
    memory = request.state.service.memory
    memory.hold_body(memory.share - LARGE)
    with pytest.raises(MemoryBudgetError):
        await read_body(request, LIMITS.max_body_bytes)
    with pytest.raises(TooLargeError):
        await read_body(_compressed(gzip.compress(bytes(2_000_000))), LIMITS.max_body_bytes)


async def test_small_compressed_body_is_read_at_once() -> None:
    """It holds nothing, and needs no thread."""
    request = _compressed(gzip.compress(b"[1, 2]"))
    request.state.service.body_parser.close()
    assert await read_body(request, LIMITS.max_body_bytes) == b"[1, 2]"
    assert _used(request) == 0


@pytest.mark.parametrize("step", [1, 7, 100_000])
async def test_compressed_body_is_the_same_in_any_pieces(step: int) -> None:
    """Wherever the pieces end, several members of gzip give one body."""
    content = np.random.default_rng(1).bytes(20_000) + bytes(60_000)
    compressed = gzip.compress(content[:100]) + gzip.compress(content[100:])
    if step == 1:
        content, compressed = b"abc", gzip.compress(b"ab") + gzip.compress(b"c")
    pieces = [compressed[at : at + step] for at in range(0, len(compressed), step)]
    request = _compressed(*pieces)
    assert await read_body(request, LIMITS.max_body_bytes) == content


@pytest.mark.parametrize("size", [(1 << 14) - 1, 1 << 14, (1 << 14) + 1, 999_999, 1_000_000])
async def test_limit_of_a_compressed_body_is_exact(size: int) -> None:
    """A body of any size up to the limit is read whole."""
    request = _compressed(gzip.compress(bytes(size)))
    assert len(await read_body(request, LIMITS.max_body_bytes)) == size


@pytest.mark.parametrize("tail", [b"more", b"\x1f\x8b\x08"])
async def test_bytes_after_a_compressed_body_are_refused(tail: bytes) -> None:
    """What follows the end is another member of gzip, and complete, or an error."""
    with pytest.raises(UndecodableError, match="no valid gzip"):
        await read_body(_compressed(gzip.compress(b"[]") + tail), LIMITS.max_body_bytes)


@pytest.mark.parametrize("codings", [[b"gzip", b"gzip"], [b"gzip", b"deflate"], [b"gzip, gzip"]])
async def test_several_codings_are_refused(codings: list[bytes]) -> None:
    """They may come in one header or in several (RFC 9110, 5.3)."""
    request = request_in_pieces([gzip.compress(b"[]")], kind=b"application/json")
    request.scope["headers"] += [(b"content-encoding", coding) for coding in codings]
    with pytest.raises(UnsupportedMediaTypeError, match="gzip or deflate"):
        await read_body(request, LIMITS.max_body_bytes)


def _compressed(*pieces: bytes) -> Request:
    request = request_in_pieces(list(pieces), kind=b"application/json")
    request.scope["headers"].append((b"content-encoding", b"gzip"))
    return request
