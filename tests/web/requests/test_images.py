"""Batches as npy arrays: images that arrive in pieces, and invalid bodies."""

import asyncio

import numpy as np
import pytest
from starlette.requests import ClientDisconnect

from app.errors import DigitscopeError, TooLargeError, UndecodableError
from app.web.requests.images import begin_many
from tests.forms import npy
from tests.web.requests.bodies import IMAGES, LIMITS, cut, read_all, request_in_pieces


@pytest.mark.parametrize("chunked", [False, True])
def test_array_is_given_as_it_arrives(chunked: bool) -> None:
    """After each piece of the body, the number of complete images is known."""
    body = npy(IMAGES)
    start = len(body) - IMAGES.size
    for places, counts in (
        ((start + 784,), [1, 9]),
        ((5, 60, start + 100, start + 100, start + 3 * 784 - 1), [0, 2, 9]),
        ((start,), [0, 9]),
        ((), [9]),
    ):
        request = request_in_pieces(cut(body, *places), chunked=chunked)
        arrivals, images = asyncio.run(read_all(request))
        assert list(dict.fromkeys(arrivals)) == counts
        np.testing.assert_array_equal(images, IMAGES)


def test_arrived_images_can_be_read_before_the_rest_is_sent() -> None:
    """The images that have been counted are in their places."""
    body = npy(IMAGES)
    start = len(body) - IMAGES.size

    async def read() -> None:
        request = request_in_pieces(cut(body, start + 2000, start + 4000))
        images, arrivals = await begin_many(request, LIMITS)
        assert isinstance(images, np.ndarray)
        assert await anext(arrivals) == 2
        np.testing.assert_array_equal(images[:2], IMAGES[:2])
        assert await anext(arrivals) == 5
        np.testing.assert_array_equal(images[:5], IMAGES[:5])

    asyncio.run(read())


def test_array_in_fortran_order_is_read_whole() -> None:
    """In Fortran's order the pixels of one image lie all over the file, so it is not streamed."""
    body = npy(np.asfortranarray(IMAGES))
    arrivals, images = asyncio.run(read_all(request_in_pieces(cut(body, 1000, 3000))))
    assert arrivals == [9]
    np.testing.assert_array_equal(images, IMAGES)


@pytest.mark.parametrize(
    ("pieces", "length", "disconnects", "error"),
    [
        (cut(npy(IMAGES), 1000), len(npy(IMAGES)) + 1, False, None),
        (cut(npy(IMAGES)[:-1], 1000), len(npy(IMAGES)), False, UndecodableError),
        (cut(npy(IMAGES)[:-1], 1000), len(npy(IMAGES)), True, ClientDisconnect),
        (cut(npy(IMAGES)[:-1], 1000), None, False, UndecodableError),
        (cut(npy(np.zeros((101, 28, 28), np.uint8)), 1000), None, False, TooLargeError),
        (cut(npy(np.zeros((0, 28, 28), np.uint8)), 20), None, False, DigitscopeError),
        (cut(npy(IMAGES.astype(np.float32)), 1000), None, False, DigitscopeError),
        ([b"\x93NUMPY\x01\x00\xff\xff" + b" " * 5000, b"x"], None, False, UndecodableError),
        ([b"", b"no", b"", b"npy"], None, False, UndecodableError),
    ],
)
def test_body_that_contradicts_its_length(
    pieces: list[bytes], length: int | None, disconnects: bool, error: type[Exception] | None
) -> None:
    """A body that does not fit its Content-Length or its header is read, or gives an error."""
    request = request_in_pieces(pieces, length, disconnects=disconnects)
    if error:
        with pytest.raises(error):
            asyncio.run(read_all(request))
    else:
        np.testing.assert_array_equal(asyncio.run(read_all(request))[1], IMAGES)


@pytest.mark.parametrize(
    ("body", "places", "error"),
    [
        (npy(IMAGES) + b"x", [1000], "has 7057 values, but its header gives 7056"),
        (npy(IMAGES) + b"x" * 2000, [1000, 7184, 8000], "has 9056 values"),
        (npy(IMAGES) + b"x", [], "has 7057 values"),
        (npy(IMAGES)[:-1], [1000], "has 7055 values"),
        (npy(np.zeros((101, 28, 28), np.uint8)), [1000], "at most 100"),
        (npy(IMAGES)[:60], [], "no .npy file"),
        (npy(IMAGES).replace(b"(9, 28, 28), } ", b"(-9, 28, 28), }"), [1000], "got uint8 .-9, 28"),
    ],
)
def test_chunked_array_must_fit_its_header(body: bytes, places: list[int], error: str) -> None:
    """Without a Content-Length, the array must have the shape that its header gives."""
    pieces = [*cut(body, *places), b""]
    with pytest.raises(DigitscopeError, match=error):
        asyncio.run(read_all(request_in_pieces(pieces, chunked=True)))
