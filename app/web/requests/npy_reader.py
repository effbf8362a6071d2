"""Reads `.npy` files of uint8 without trusting their headers.

Knows NumPy's file format; knows nothing of HTTP.
"""

import io
import math
import re
import tokenize
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInputError, UndecodableError

MAX_CACHED_HEADER_BYTES = 256  # bytes; NumPy's own headers of small arrays have 128
HEADER_CACHE_SIZE = 64  # headers; evaluating one takes as long as decoding an image
MAX_SIZE_BITS = 63  # bits of one size in a shape; larger ones are no array
_VERSION_1 = b"\x01\x00"
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# What NumPy's header readers raise on damaged files.
_HEADER_ERRORS = (
    ValueError,
    OSError,
    EOFError,
    SyntaxError,
    TypeError,
    RecursionError,
    tokenize.TokenError,
    MemoryError,
)


class _Header(NamedTuple):
    """The header of an npy file.

    Attributes:
        shape: Shape of the array; may be impossible, such as negative.
        is_fortran: Whether the values are in Fortran's order.
        dtype: Type of the values.
        start: Offset of the first value, in bytes.
    """

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]
    start: int


def read_npy(
    content: bytes, expected: str, accepts: Callable[[tuple[int, ...]], bool]
) -> NDArray[np.uint8]:
    """Read an npy file of uint8.

    Args:
        content: The file.
        expected: The expected shape in words, for the error message.
        accepts: Returns whether a shape is accepted.

    Returns:
        The array, uint8, C-contiguous.

    Raises:
        UndecodableError: The content is no npy file, or does not have the length that its header
            gives.
        InvalidInputError: The array has another dtype or shape.
    """
    header = _read_header(content)
    if header.dtype != np.uint8 or not accepts(header.shape):
        raise InvalidInputError(
            f"Expected a uint8 array {expected}, got {header.dtype} {list(header.shape)}."
        )
    values = np.frombuffer(content, np.uint8, offset=header.start)
    check_length(values.size, math.prod(header.shape))
    array = values.reshape(header.shape, order="F" if header.is_fortran else "C")
    return np.ascontiguousarray(array)


def check_length(values: int, expected: int) -> None:
    """Raise if a file does not have as many values as its header gives.

    Raises:
        UndecodableError: It has more or fewer.
    """
    if values != expected:
        raise UndecodableError(
            f"The npy file has {values} values, but its header gives {expected}; send the whole"
            " file."
        )


def begins_images(content: bytes, length: int | None) -> tuple[int, int] | None:
    """Return the layout of a file of images whose pixels can be copied as they arrive.

    Args:
        content: The beginning of the file.
        length: Length of the whole file in bytes, if known.

    Returns:
        The number of images, and the offset of the first. None if the header is incomplete or must
        be checked by `read_npy`: another version, dtype, order, shape or length.
    """
    if content[6:8] != _VERSION_1 or len(content) < _header_length(content):
        return None
    try:
        header = _read_header(content)
    except UndecodableError:
        return None
    is_plain = header.dtype == np.uint8 and not header.is_fortran and are_images(header.shape)
    if not is_plain or length not in (None, header.start + math.prod(header.shape)):
        return None
    return header.shape[0], header.start


def are_images(shape: tuple[int, ...]) -> bool:
    """Return whether a shape is `[N, 28, 28]` with N of at least 0."""
    return len(shape) == 3 and shape[0] >= 0 and shape[1:] == (28, 28)


def _header_length(content: bytes) -> int:
    """Return where the header of a file of version 1.0 ends; bytes 8 and 9 hold its length."""
    return 10 + int.from_bytes(content[8:10], "little")


def _read_header(content: bytes) -> _Header:
    if content[6:8] != _VERSION_1:
        return _parse_header(content)
    length = _header_length(content)
    read = _cached_parse_header if length <= MAX_CACHED_HEADER_BYTES else _parse_header
    return read(content[:length])


def _parse_header(content: bytes) -> _Header:
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADER_READERS:
            raise UndecodableError(
                f"The npy file has version {version}; versions 1.0 and 2.0 are supported."
            )
        shape, is_fortran, dtype = _HEADER_READERS[version](stream)
    except _HEADER_ERRORS as error:
        # Python's messages about code in a header contain memory addresses.
        reason = re.sub(r"<\S+ object at 0x[0-9a-f]+>", "an expression", str(error))
        raise UndecodableError(f"The body is no .npy file: {reason}") from error
    # NumPy accepts booleans as sizes, and integers too long for a message.
    if not all(type(size) is int and size.bit_length() <= MAX_SIZE_BITS for size in shape):
        raise UndecodableError("The body is no .npy file: its shape has an invalid size.")
    return _Header(shape, is_fortran, dtype, stream.tell())


_cached_parse_header = lru_cache(maxsize=HEADER_CACHE_SIZE)(_parse_header)
