"""Reads the tensors of the inference protocols, from JSON lists or raw bytes, into arrays.

Every size is checked before memory is allocated for it. Knows arrays, datatypes and the shapes of
a batch of digits; knows nothing of routes.
"""

import base64
import binascii
import math
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import TooLargeError, UndecodableError
from app.imaging.pixel_scale import scale_factor
from app.inference.runtime import Pixels
from app.protocols.input_options import Scale

SIDE = 28
# Datatypes of pixels: names of the Open Inference Protocol, and NumPy's dtypes, little-endian.
# The network computes in float32: other types than the first two are converted.
PIXEL_TYPES: Mapping[str, np.dtype[Any]] = {
    "UINT8": np.dtype("u1"),
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
    "FP64": np.dtype("<f8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
}
RAW_TYPES = ("UINT8", "FP32")  # of a body that is one tensor without a description
MAX_EXACT_INTEGER = 1 << 24  # float32 holds every integer up to this one
MAX_DIMENSIONS = 4  # [N, 28, 28, 1], the deepest shape of a batch of digits
_LENGTH = struct.Struct("<I")  # length of an element of a BYTES tensor, before its bytes


def to_pixels(values: NDArray[np.generic], scale: Scale = "auto") -> Pixels:
    """Return pixels `[N, 28, 28]` from `[N, 28, 28, 1]`, `[N, 28, 28]` or `[N, 784]`.

    Args:
        values: Numbers, ink high. With the scale `auto`, their maximum tells whether they are
            0..255 or 0..1; the result is 0..255.
        scale: With `model`, the numbers stay as they are.

    Raises:
        UndecodableError: The shape is another, N is 0, the numbers have neither scale, or float32
            does not hold them.
    """
    shape = values.shape
    if len(shape) < 2 or shape[1:] not in ((SIDE, SIDE, 1), (SIDE, SIDE), (SIDE * SIDE,)):
        raise UndecodableError(
            f"Expected the shape [-1, 28, 28, 1], [-1, 28, 28] or [-1, 784], got {list(shape)}."
        )
    if not shape[0]:
        raise UndecodableError("The tensor holds no image: its first dimension is 0.")
    if values.dtype.kind not in "iuf":
        raise UndecodableError("Expected numbers from 0 to 255, or from 0 to 1.")
    pixels = np.ascontiguousarray(values.reshape(-1, SIDE, SIDE))
    pixels = pixels if pixels.dtype == np.uint8 else _to_float32(pixels)
    factor = _factor(pixels, scale)
    # At most 1 but for rounding before: clipped, the result is at most 255.
    return pixels if factor == 1 else np.minimum(pixels, 1) * pixels.dtype.type(factor)


def _to_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return numbers in float32; fractions are rounded, and too large ones become infinite.

    Raises:
        UndecodableError: An integer is too large to be exact.
    """
    if values.dtype.kind in "iu" and values.dtype.itemsize > 2:
        low, high = int(values.min()), int(values.max())
        if not -MAX_EXACT_INTEGER <= low <= high <= MAX_EXACT_INTEGER:
            raise UndecodableError(
                f"The network computes in float32, which does not hold all integers from {low} to"
                f" {high}; at most {MAX_EXACT_INTEGER} is exact."
            )
    with np.errstate(over="ignore"):  # `_factor` refuses infinite numbers
        return values.astype(np.float32)


def _factor(pixels: Pixels, scale: Scale) -> int:
    """Return the factor that brings pixels to the scale of the network: 1 or 255.

    Raises:
        UndecodableError: With the scale `auto`, the pixels are neither 0..255 nor 0..1. With
            `model`, one is no finite number.
    """
    low, high = float(pixels.min()), float(pixels.max())  # NaN if there is one
    if scale == "model":
        if not (math.isfinite(low) and math.isfinite(high)):
            raise UndecodableError("Expected finite numbers, got NaN, infinity or too large ones.")
        return 1
    factor = scale_factor(low, high)
    if factor is not None:
        return factor
    raise UndecodableError(
        f"Expected pixel values from 0 to 255 or from 0 to 1, ink high, got {low:g} to {high:g}. If"
        ' the network expects these numbers, send the parameter "scale": "model".'
    )


def from_lists(data: Any, shape: Sequence[int] | None = None) -> NDArray[np.generic]:
    """Return an array from nested or flat lists of numbers; of uint8 if it holds all of them.

    Args:
        data: The lists.
        shape: Shape of the array, or None for the shape in which the lists are nested.

    Raises:
        UndecodableError: The lists are ragged or nested too deeply, contain something else than
            numbers, or do not fill the shape.
    """
    values, nested_shape = _flatten(data)
    return reshape(values, nested_shape if shape is None else shape)


def _flatten(data: Any) -> tuple[NDArray[np.generic], list[int]]:
    """Return the numbers in nested lists, and the shape in which the lists are nested."""
    shape: list[int] = []
    level, types = [data], {type(data)}
    while types == {list}:
        lengths = set(map(len, level))
        if len(lengths) > 1:
            raise UndecodableError("The data is ragged: its lists differ in length.")
        if len(shape) == MAX_DIMENSIONS:
            raise UndecodableError(
                f"The data is nested more deeply than {MAX_DIMENSIONS} lists, the most expected."
            )
        shape.append(lengths.pop())
        level = list(chain.from_iterable(level))
        types = set(map(type, level))
    # Checked before np.array, which would give every number the size of the longest string.
    if not shape or not types <= {int, float}:
        raise UndecodableError("The data must be numbers in lists of equal length.")
    if types == {int}:
        with suppress(ValueError, OverflowError):  # one is not in 0..255
            return np.frombuffer(bytes(level), np.uint8), shape
    values = np.array(level)
    if values.dtype.kind == "O":
        raise UndecodableError("The data contains integers of more than 64 bits.")
    return values, shape


def check_integers(values: NDArray[np.generic], datatype: str) -> NDArray[np.generic]:
    """Return numbers from JSON as integers of a datatype.

    Raises:
        UndecodableError: They are no integers, or one is out of the range of the datatype.
    """
    dtype = PIXEL_TYPES[datatype]
    if values.dtype == dtype:
        return values
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    is_empty = not values.size
    if values.dtype.kind == "f" or not (
        is_empty or low <= int(values.min()) <= int(values.max()) <= high
    ):
        raise UndecodableError(f"{datatype} data must be integers from {low} to {high}.")
    return values.astype(dtype)


def from_bytes(content: bytes, datatype: str, shape: Sequence[int]) -> NDArray[np.generic]:
    """Return an array from raw little-endian bytes in row-major order.

    Args:
        content: The bytes.
        datatype: A key of `PIXEL_TYPES`.
        shape: Shape of the array.

    Raises:
        UndecodableError: The bytes do not fill the shape.
    """
    dtype = PIXEL_TYPES[datatype]
    if len(content) % dtype.itemsize:
        raise UndecodableError(
            f"{len(content)} bytes are no whole number of {datatype} values"
            f" ({dtype.itemsize} bytes each)."
        )
    return reshape(np.frombuffer(content, dtype), shape)


def reshape(values: NDArray[np.generic], shape: Sequence[int]) -> NDArray[np.generic]:
    """Return values in the shape that a client gives.

    Raises:
        UndecodableError: The values do not fill the shape.
    """
    count = math.prod(shape)
    if any(size < 0 for size in shape) or count != values.size:
        raise UndecodableError(
            f"The shape {list(shape)} does not fit the {values.size} values of the tensor."
        )
    return values.reshape(tuple(shape))


def count_files(shape: Sequence[int], max_files: int) -> int:
    """Return the number of files in a `BYTES` tensor of this shape.

    Raises:
        UndecodableError: The shape is neither `[N]` nor `[N, 1]`, or N is 0.
        TooLargeError: N is more than `max_files`.
    """
    if len(shape) not in (1, 2) or shape[0] < 1 or shape[1:] not in ([], [1]):
        raise UndecodableError(f"Expected the shape [N] or [N, 1] of BYTES, got {list(shape)}.")
    check_file_count(shape[0], max_files)
    return shape[0]


def check_file_count(count: int, max_files: int) -> None:
    """Raise `TooLargeError` if there are more than `max_files` files, before any is decoded."""
    if count > max_files:
        raise TooLargeError(
            f"The tensor has {count} images; at most {max_files} are accepted. Send them in several"
            " requests."
        )


def unpack_strings(content: bytes, count: int) -> list[bytes]:
    """Return the elements of a `BYTES` tensor: each is a length of 4 bytes, then its bytes.

    Raises:
        UndecodableError: An element ends after the tensor, or there are more than `count`.
    """
    elements, start = [], 0
    for _ in range(count):
        stop = start + _LENGTH.size
        if stop > len(content):
            raise UndecodableError("A BYTES tensor ends within the length of an element.")
        (length,) = _LENGTH.unpack(content[start:stop])
        if stop + length > len(content):
            raise UndecodableError(
                f"A BYTES element of {length} bytes ends after the end of the tensor."
            )
        elements.append(content[stop : stop + length])
        start = stop + length
    if start < len(content):
        raise UndecodableError(f"The tensor has more than the {count} elements of its shape.")
    return elements


def pack_strings(values: Sequence[bytes]) -> bytes:
    """Return the raw bytes of a `BYTES` tensor."""
    return b"".join(_LENGTH.pack(len(value)) + value for value in values)


def decode_base64(text: Any) -> bytes:
    """Return the bytes of a base64 string.

    Raises:
        UndecodableError: The value is no string, or no valid base64.
    """
    if not isinstance(text, str):
        raise UndecodableError("An element is no string; expected base64.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UndecodableError(f"An element is no valid base64: {error}.") from error
