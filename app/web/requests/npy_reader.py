"""`.npy` files of uint8, read without trusting what their headers promise.

Knows NumPy's file format; knows nothing of HTTP or of images.
"""

import io
import math
import re
import tokenize
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInputError, UndecodableError

MAX_CACHED_HEADER_BYTES = 256  # bytes of a header that is remembered
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# What NumPy's header readers raise on damaged files.
_DAMAGED = (
    ValueError,
    OSError,
    EOFError,
    SyntaxError,
    TypeError,
    RecursionError,
    tokenize.TokenError,
    MemoryError,
)


def read_npy(
    content: bytes, wanted: str, fits: Callable[[tuple[int, ...]], bool]
) -> NDArray[np.uint8]:
    """Read a `.npy` file of uint8 without trusting its header's promises.

    Args:
        content: The file.
        wanted: The wanted shape in words, for the message.
        fits: Tells whether a shape is wanted.

    Returns:
        The array, uint8, contiguous.

    Raises:
        UndecodableError: Not an npy file, or cut off.
        InvalidInputError: Another dtype or shape.
    """
    shape, fortran, dtype, start = _read_header(content)
    if dtype != np.uint8 or not fits(shape):
        raise InvalidInputError(f"Expected a uint8 array {wanted}, got {dtype} {list(shape)}.")
    values = np.frombuffer(content, np.uint8, offset=start)
    size = math.prod(shape)
    if values.size != size:
        raise UndecodableError(f"The npy file promises {size} values and holds {values.size}.")
    return np.ascontiguousarray(values.reshape(shape, order="F" if fortran else "C"))


def begins_images(content: bytes, length: int | None) -> tuple[int, int] | None:
    """Tell whether a file that has begun is one of many images that can be read as they come.

    Args:
        content: As much as has come.
        length: Bytes of the whole file, if that is known.

    Returns:
        How many images there will be, and where the first begins; None where the header has not
        come whole, or the file must be looked at as a whole.
    """
    if content[6:8] != b"\x01\x00" or len(content) < 10 + int.from_bytes(content[8:10], "little"):
        return None
    try:
        shape, fortran, dtype, start = _read_header(content)
    except UndecodableError:
        return None
    plain = dtype == np.uint8 and not fortran and are_images(shape)
    fits = length is None or length == start + math.prod(shape)
    return (shape[0], start) if plain and fits else None


def are_images(shape: tuple[int, ...]) -> bool:
    """Tell whether a shape is that of many images, `[N, 28, 28]`; headers may say what is none."""
    return len(shape) == 3 and shape[0] >= 0 and shape[1:] == (28, 28)


def _read_header(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return the shape, whether it is in Fortran's order, the dtype and where the values begin."""
    # Of version 1.0, which all but the strangest files have, the length stands in two bytes.
    length = 10 + int.from_bytes(content[8:10], "little")
    read = _read_short_header if length <= MAX_CACHED_HEADER_BYTES else _parse_header
    return read(content[:length]) if content[6:8] == b"\x01\x00" else _parse_header(content)


def _parse_header(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _READERS:
            raise UndecodableError(f"The npy file has version {version}; 1.0 and 2.0 are read.")
        shape, fortran, dtype = _READERS[version](stream)
    except _DAMAGED as error:
        # Python's own words for code in a header tell where it lies in memory.
        said = re.sub(r"<\S+ object at 0x[0-9a-f]+>", "an expression", str(error))
        raise UndecodableError(f"The body is no .npy file: {said}") from error
    # NumPy lets truth values pass, and numbers too long to be written in a message.
    if not all(type(size) is int and size.bit_length() < 64 for size in shape):
        raise UndecodableError("The body is no .npy file: its shape holds what is no size.")
    return shape, fortran, dtype, stream.tell()


# The same header comes again and again; to evaluate it takes as long as to decode an image.
_read_short_header = lru_cache(maxsize=64)(_parse_header)
