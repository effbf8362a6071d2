"""Requests whose bodies arrive in pieces that a test chooses."""

import json
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from starlette.requests import Request
from starlette.types import Message, Receive

from app.memory_budget import BodyHold, MemoryBudget
from app.web.execution.thread_pool import BoundedThreadPool
from app.web.requests.body import Limits
from app.web.requests.images import begin_many
from app.web.requests.parsing import BodyParser

LIMITS = Limits(max_body_bytes=1_000_000, max_image_bytes=1_000_000, max_batch_items=100)
LARGE_BODIES = Limits(max_body_bytes=10_000_000, max_image_bytes=1, max_batch_items=1)
IMAGES = np.random.default_rng(3).integers(0, 256, (9, 28, 28), np.uint8)


def request_in_pieces(
    pieces: list[bytes],
    length: int | None = None,
    *,
    disconnects: bool = False,
    chunked: bool = False,
    kind: bytes = b"application/x-npy",
) -> Request:
    """Return a request whose body arrives in these pieces.

    Args:
        pieces: The body. Behind the last piece an empty message ends it.
        length: The Content-Length; that of the pieces if None.
        disconnects: Whether the client disconnects behind the last piece instead.
        chunked: Whether there is no Content-Length.
        kind: The Content-Type.
    """
    length = sum(map(len, pieces)) if length is None else length
    headers = [(b"content-type", kind)]
    if not chunked:
        headers.append((b"content-length", b"%d" % length))
    messages = iter(pieces)

    async def receive() -> Message:
        body = next(messages, None)
        if body is None:
            return {"type": "http.disconnect"} if disconnects else {"type": "http.request"}
        return {"type": "http.request", "body": body, "more_body": True}

    return _request(headers, receive)


def request_with_json(content: object) -> Request:
    """Return a request whose JSON body arrives at once."""
    body = json.dumps(content).encode()

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return _request([(b"content-type", b"application/json")], receive)


class Service(NamedTuple):
    """What a request needs of the service while its body is read."""

    memory: MemoryBudget
    body_parser: BodyParser


def _request(headers: list[tuple[bytes, bytes]], receive: Receive) -> Request:
    memory, pool = MemoryBudget(400 << 20), BoundedThreadPool(threads=1, max_queue=1)
    service = Service(memory, BodyParser(pool, memory.working))
    state = {"service": service, "body_hold": BodyHold(memory)}
    return Request({"type": "http", "headers": headers, "state": state}, receive)


def cut(body: bytes, *places: int) -> list[bytes]:
    """Cut a body at these places."""
    ends = [0, *places, len(body)]
    return [body[start:end] for start, end in pairwise(ends)]


async def read_all(request: Request) -> tuple[list[int], np.ndarray]:
    """Return the counts of arrived images, and the images once all have arrived."""
    images, arrivals = await begin_many(request, LIMITS)
    if arrivals is None:
        return [len(images)], np.asarray(images)
    return [count async for count in arrivals], np.asarray(images)
