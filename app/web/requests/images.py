"""The images of a request, in any accepted form: a raw file, a form, JSON or an npy array.

Knows the media types; leaves the decoding of image files to `app.imaging`.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from app.errors import DigitscopeError
from app.imaging.formats import MEDIA_TYPES
from app.recognise import ImageInput
from app.web.requests.body import (
    Limits,
    expanded_length,
    media_type,
    read_body,
    read_chunks,
    require_content,
)
from app.web.requests.json_images import JSON_TYPE, parse_image, parse_images
from app.web.requests.multipart import FORM_TYPE, read_file, stream_files
from app.web.requests.npy_reader import are_images, begins_images, check_length, read_npy
from app.web.requests.parsing import parse

IMAGE_TYPES = (*MEDIA_TYPES, "application/octet-stream")
NPY_TYPE = "application/x-npy"
ONE_IMAGE_TYPES = (FORM_TYPE, *IMAGE_TYPES, JSON_TYPE, NPY_TYPE)
MANY_IMAGES_TYPES = (FORM_TYPE, JSON_TYPE, NPY_TYPE)
MAX_NPY_HEADER_BYTES = 4096  # bytes; an array whose header is longer is read whole, not streamed


class ArrivingImages(NamedTuple):
    """The images of a request, some of which may still be on their way.

    Attributes:
        images: As in `read_many`. A list grows as images arrive; the pixels of an array are
            undefined until they arrive.
        arrivals: Yields how many images have arrived, until all have; None if all are there.
    """

    images: list[ImageInput | DigitscopeError] | NDArray[np.uint8]
    arrivals: AsyncGenerator[int, None] | None


async def read_one(request: Request, limits: Limits) -> ImageInput:
    """Read the one image of a request.

    Returns:
        The bytes of an image file, or pixels, uint8 `[28, 28]`, ink high.

    Raises:
        TooLargeError: The body is over the limit; the rest of it is not read.
        UnsupportedMediaTypeError: The Content-Type is none of `ONE_IMAGE_TYPES`.
        UndecodableError: The body is not what its Content-Type says.
        InvalidInputError: The body has no image of the right shape.
        ClientDisconnect: The client disconnected before the end of the body.
    """
    kind = media_type(request, ONE_IMAGE_TYPES)
    if kind == FORM_TYPE:
        return await read_file(request, limits)
    if kind == JSON_TYPE:
        return await parse(request, parse_image, await read_body(request, limits.max_body_bytes))
    if kind == NPY_TYPE:
        body = await read_body(request, limits.max_body_bytes)
        return read_npy(body, "[28, 28]", lambda shape: shape == (28, 28))
    return require_content(await read_body(request, limits.max_image_bytes))


async def read_many(
    request: Request, limits: Limits
) -> list[ImageInput | DigitscopeError] | NDArray[np.uint8]:
    """Read all images of a batch.

    Returns:
        The images in order, with an error in the place of each invalid one; for an npy file the
        pixels of all, uint8 `[N, 28, 28]`.

    Raises:
        DigitscopeError: The body as a whole cannot be read, or has no or too many images.
        ClientDisconnect: The client disconnected before the end of the body.
    """
    images, arrivals = await begin_many(request, limits)
    if arrivals is not None:
        async for _ in arrivals:
            pass
    return images


async def begin_many(request: Request, limits: Limits) -> ArrivingImages:
    """Begin to read the images of a batch; return while files and arrays still arrive.

    JSON is read whole.

    Raises:
        DigitscopeError: As in `read_many`. `arrivals` raises the errors of what arrives later.
        ClientDisconnect: The client disconnected; later, `arrivals` raises it.
    """
    kind = media_type(request, MANY_IMAGES_TYPES)
    if kind == FORM_TYPE:
        files = list[ImageInput | DigitscopeError]()
        return ArrivingImages(files, stream_files(files, request, limits))
    if kind == NPY_TYPE:
        return await _begin_array(request, limits)
    images = await parse(
        request, parse_images, await read_body(request, limits.max_body_bytes), limits
    )
    limits.check_count(len(images))
    return ArrivingImages(images, None)


async def _begin_array(request: Request, limits: Limits) -> ArrivingImages:
    """Read the header of an npy file; read the pixels as they arrive if its layout allows that."""
    chunks, length = read_chunks(request, limits.max_body_bytes), expanded_length(request)
    head, layout = b"", None
    async for chunk in chunks:
        head += chunk
        if (layout := begins_images(head, length)) or len(head) > MAX_NPY_HEADER_BYTES:
            break
    if not layout or len(head) == length:
        body = b"".join([head, *[chunk async for chunk in chunks]])
        images = read_npy(body, "[N, 28, 28]", are_images)
        limits.check_count(len(images))
        return ArrivingImages(images, None)
    count, start = layout
    limits.check_count(count)
    images = np.empty((count, 28, 28), np.uint8)
    return ArrivingImages(images, _fill(images.reshape(-1), head[start:], chunks))


async def _fill(
    pixels: NDArray[np.uint8], head: bytes, chunks: AsyncIterator[bytes]
) -> AsyncGenerator[int, None]:
    """Copy pixels into their places as they arrive; yield the number of complete images."""
    filled = 0
    async for chunk in _prepend(head, chunks):
        start, filled = filled, filled + len(chunk)
        pixels[start:filled] = np.frombuffer(chunk[: max(0, len(pixels) - start)], np.uint8)
        yield min(filled, len(pixels)) // (28 * 28)
    check_length(filled, len(pixels))


async def _prepend(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    yield head
    async for chunk in chunks:
        yield chunk
