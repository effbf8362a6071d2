"""Tensors as protocols carry them: JSON lists or raw bytes, checked before they are believed.

Knows arrays, datatypes and the shapes that digits come in; knows nothing of routes.
"""

import base64
import binascii
import math
import reprlib
import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import UndecodableError
from app.inference.runtime import Pixels

SIDE, MOST_DIMENSIONS = 28, 4
# What images may come in: the names of the Open Inference Protocol and NumPy's, little-endian.
PIXEL_TYPES: Mapping[str, np.dtype[Any]] = {"UINT8": np.dtype("u1"), "FP32": np.dtype("<f4")}
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
        UndecodableError: They are ragged or deeper than `MOST_DIMENSIONS`, hold something else than
            numbers, or do not fill the shape.
    """
    if not isinstance(data, list):
        raise UndecodableError("The data must be a list.")
    # NumPy asks nothing: of one long text among many short ones it makes as many long ones.
    level, sizes = data, [len(data)]
    while (kinds := set(map(type, level))) == {list}:
        lengths = set(map(len, level))
        if len(lengths) > 1 or len(sizes) == MOST_DIMENSIONS:
            raise UndecodableError("The data is ragged: its lists differ in length, or nest deep.")
        sizes += lengths
        level = list(chain.from_iterable(level))
    if not kinds <= {int, float}:
        raise UndecodableError("The data must be numbers in lists of the same lengths.")
    try:
        values = np.array(level, np.float64 if float in kinds else np.int64).reshape(sizes)
    except OverflowError as error:
        raise UndecodableError("The data holds numbers far beyond 0 to 255.") from error
    return values if shape is None else reshaped(values, shape)


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
        named = reprlib.repr(list(shape))
        raise UndecodableError(f"The shape {named} does not hold the {values.size} values.")
    return values.reshape(tuple(shape))


def unpack_strings(content: bytes, count: int) -> list[bytes]:
    """Return the elements of a `BYTES` tensor: each is its length, 4 bytes, and its bytes.

    Raises:
        UndecodableError: An element reaches over the end, or there are more or fewer than `count`.
    """
    found, at = list[bytes](), 0
    while at < len(content) and len(found) < count:
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
    if at < len(content) or len(found) < count:
        raise UndecodableError(f"A BYTES tensor does not hold the {count} elements of its shape.")
    return found


def pack_strings(values: Sequence[bytes]) -> bytes:
    """Return a `BYTES` tensor's raw form."""
    return b"".join(_LENGTH.pack(len(value)) + value for value in values)


def decode_base64(text: str) -> bytes:
    """Return what base64 stands for.

    Raises:
        UndecodableError: It is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UndecodableError(f"An element is no valid base64: {error}.") from error
