"""Tensors as protocols carry them: JSON lists or raw bytes, checked before they are believed.

Knows arrays, datatypes and the shapes that digits come in; knows nothing of routes.
"""

import base64
import binascii
import math
import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import TooLargeError, UndecodableError
from app.inference.runtime import Pixels

SIDE = 28
# What images may come in: the names of the Open Inference Protocol and NumPy's, little-endian.
PIXEL_TYPES: Mapping[str, np.dtype[Any]] = {"UINT8": np.dtype("u1"), "FP32": np.dtype("<f4")}
MAX_DIMENSIONS = 4
_LENGTH = struct.Struct("<I")


def to_pixels(values: NDArray[np.generic]) -> Pixels:
    """Return digits `[N, 28, 28]` from `[N, 28, 28, 1]`, `[N, 28, 28]` or `[N, 784]`.

    Args:
        values: Numbers, 0..255, ink high.

    Raises:
        UndecodableError: Another shape, no digits at all, or numbers that are no pixels.
    """
    shape = values.shape
    if len(shape) < 2 or shape[1:] not in ((SIDE, SIDE, 1), (SIDE, SIDE), (SIDE * SIDE,)):
        raise UndecodableError(
            f"Expected the shape [-1, 28, 28, 1], [-1, 28, 28] or [-1, 784], got {list(shape)}."
        )
    if not shape[0]:
        raise UndecodableError("The tensor holds no image: its first dimension is 0.")
    if values.dtype.kind not in "iuf":
        raise UndecodableError("Expected numbers, 0 to 255.")
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 255):  # false for NaN, too
        raise UndecodableError(f"Expected pixel values from 0 to 255, got {low:g} to {high:g}.")
    digits = np.ascontiguousarray(values.reshape(-1, SIDE, SIDE))
    return digits if digits.dtype == np.uint8 else digits.astype(np.float32)


def from_lists(data: Any, shape: Sequence[int] | None = None) -> NDArray[np.generic]:
    """Return an array of nested or flat lists of numbers.

    Args:
        data: The lists.
        shape: What they are said to be, or None to take them as they are nested.

    Raises:
        UndecodableError: They are ragged or too deep, hold something else than numbers, or do not
            fill the shape.
    """
    values, sizes = _flattened(data)
    return reshaped(values, sizes if shape is None else shape)


def _flattened(data: Any) -> tuple[NDArray[np.generic], list[int]]:
    """Return the numbers of nested lists, and the shape in which they are nested."""
    sizes: list[int] = []
    data, kinds = [data], {type(data)}
    while kinds == {list}:
        lengths = set(map(len, data))
        if len(lengths) > 1:
            raise UndecodableError("The data is ragged: its lists differ in length.")
        if len(sizes) == MAX_DIMENSIONS:
            raise UndecodableError(
                f"The data is nested in more than the {MAX_DIMENSIONS} lists that are expected."
            )
        sizes.append(lengths.pop())
        data = list(chain.from_iterable(data))
        kinds = set(map(type, data))
    # NumPy would give each number as much room as the longest text among them needs.
    if not sizes or not kinds <= {int, float}:
        raise UndecodableError("The data must be numbers in lists of the same lengths.")
    values = np.array(data)
    if values.dtype.kind == "O":
        raise UndecodableError("The data holds integers of more than 64 bits.")
    return values, sizes


def from_bytes(content: bytes, kind: str, shape: Sequence[int]) -> NDArray[np.generic]:
    """Return an array of raw little-endian bytes, row-major.

    Raises:
        UndecodableError: The bytes do not fill the shape.
    """
    dtype = PIXEL_TYPES[kind]
    if len(content) % dtype.itemsize:
        raise UndecodableError(
            f"{len(content)} bytes are no whole number of {kind} values ({dtype.itemsize} bytes"
            " each)."
        )
    return reshaped(np.frombuffer(content, dtype), shape)


def reshaped(values: NDArray[np.generic], shape: Sequence[int]) -> NDArray[np.generic]:
    """Return values in a shape that a client names.

    Raises:
        UndecodableError: They do not fill it.
    """
    count = math.prod(shape)
    if any(size < 0 for size in shape) or count != values.size:
        raise UndecodableError(f"The shape {list(shape)} does not hold the {values.size} values.")
    return values.reshape(tuple(shape))


def count_files(shape: Sequence[int], most: int) -> int:
    """Return how many files a `BYTES` tensor of this shape holds.

    Raises:
        UndecodableError: It is no shape of files, or of none.
        TooLargeError: It holds more than `most`.
    """
    if len(shape) not in (1, 2) or shape[0] < 1 or shape[1:] not in ([], [1]):
        raise UndecodableError(f"Expected the shape [N] or [N, 1] of BYTES, got {list(shape)}.")
    check_files(shape[0], most)
    return shape[0]


def check_files(count: int, most: int) -> None:
    """Raise `TooLargeError` if these are more files than `most`, before any is decoded."""
    if count > most:
        raise TooLargeError(f"The tensor holds {count} images; at most {most} are taken at once.")


def unpack_strings(content: bytes, count: int) -> list[bytes]:
    """Return the elements of a `BYTES` tensor: each is its length, 4 bytes, and its bytes.

    Raises:
        UndecodableError: An element reaches over the end, or they are more than `count`.
    """
    found, at = [], 0
    for _ in range(count):
        stop = at + _LENGTH.size
        if stop > len(content):
            raise UndecodableError("A BYTES tensor ends within the length of an element.")
        (length,) = _LENGTH.unpack(content[at:stop])
        if stop + length > len(content):
            raise UndecodableError(
                f"A BYTES element of {length} bytes reaches over the end of the tensor."
            )
        found.append(content[stop : stop + length])
        at = stop + length
    if at < len(content):
        raise UndecodableError(f"The tensor holds more than the {count} elements of its shape.")
    return found


def pack_strings(values: Sequence[bytes]) -> bytes:
    """Return a `BYTES` tensor's raw form."""
    return b"".join(_LENGTH.pack(len(value)) + value for value in values)


def decode_base64(text: Any) -> bytes:
    """Return what base64 stands for.

    Raises:
        UndecodableError: It is none.
    """
    if not isinstance(text, str):
        raise UndecodableError("An element is no string; expected base64.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UndecodableError(f"An element is no valid base64: {error}.") from error
