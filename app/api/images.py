"""The images that the Python API takes: paths, bytes, file objects, Pillow's images and arrays.

Each becomes what `app.recognise` takes. Knows types and shapes; knows nothing of models.
"""

import math
import os
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image as pillow

from app.errors import InvalidInputError, TooLargeError, UndecodableError
from app.image_files import max_file_bytes, read_image_file
from app.imaging.decode import from_image
from app.imaging.file_structure import check_size
from app.imaging.pixel_scale import MAX_SCALED, MIN_WHITE, scale_factor
from app.printable import printable
from app.recognise import ImageInput

SIDE = 28  # pixels
ROUNDING = MAX_SCALED - 1  # share of white by which numbers may be out of range
OVERSHOOT = 0.25  # share of white by which resizing with sharp edges may exceed the range
CHANNELS = (1, 3, 4)  # of an array: grey, RGB, RGB with alpha


class SupportsArray(Protocol):
    """Anything that NumPy makes an array of, such as a tensor of PyTorch, JAX or TensorFlow."""

    def __array__(self) -> NDArray[Any]:
        """Return the values."""
        ...


Image: TypeAlias = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | IO[bytes]
    | pillow.Image
    | NDArray[Any]
    | SupportsArray
)


def name_of(image: object) -> str:
    """Return the file that an image comes from, for messages; "" if it comes from none."""
    if isinstance(image, str | os.PathLike):
        return str(image)
    name = getattr(image, "name", "") or getattr(image, "filename", "")
    return name if isinstance(name, str) else ""


def read(image: Image, *, max_pixels: int) -> ImageInput:
    """Return an image in the form that `app.recognise` takes.

    Args:
        image: See `digitscope.Model.predict`.
        max_pixels: Largest width times height.

    Raises:
        InvalidInputError: It is none of these types, or its file cannot be opened.
        UndecodableError: An array has another shape, type or range of values than an image.
        TooLargeError: It has too many pixels, or its file too many bytes.
    """
    if isinstance(image, str | os.PathLike):
        if not image:
            raise InvalidInputError("The path of the image is empty.")
        return read_image_file(Path(image), max_pixels=max_pixels)
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, pillow.Image):
        return from_image(image, max_pixels=max_pixels)
    if callable(getattr(image, "read", None)):
        return _read_stream(image, max_pixels)
    return from_array(as_pixels(_to_array(image)), max_pixels=max_pixels)


def is_array(images: object) -> TypeGuard[SupportsArray]:
    """Tell whether an object holds numbers: an array, or what NumPy makes one of."""
    return hasattr(images, "__array__") and not isinstance(images, pillow.Image)


def split_array(images: SupportsArray) -> list[Any]:
    """Return the images of an array `[N, ...]`, scaled together, or the paths of a column of paths.

    Raises:
        UndecodableError: It has one axis, is or may be a single image, or holds no pixels.
    """
    values = _to_array(images)
    if values.ndim == 1 and values.dtype.kind in "OU":  # such as a column of paths
        return list(values)
    if values.ndim < 2 or (values.ndim == 2 and values.shape[1] != SIDE * SIDE):
        raise UndecodableError(
            "Expected an array of several images, such as [N, 28, 28] or [N, 784], got"
            f" {list(values.shape)}; 'predict' takes one image."
        )
    if values.ndim == 3 and values.shape[2] in CHANNELS:
        raise UndecodableError(
            f"The shape {list(values.shape)} may be one image with channels or several narrow ones."
            " Give one image to 'predict', or as [1, H, W, C]; give several as [N, H, W, 1]."
        )
    return list(as_pixels(values)) if len(values) else []


def as_pixels(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return numbers as pixels of 0..255.

    Args:
        values: uint8 are 0..255, or 0 and 1; of other integers and of floats the maximum tells
            whether they are 0..255 or 0..1. Both ends may be exceeded by a thousandth of white,
            because of rounding. False is 0 and True 255.

    Returns:
        uint8 of the same shape; fractions are rounded.

    Raises:
        UndecodableError: The numbers have neither range, or there are none.
    """
    if values.dtype.kind not in "biuf":
        raise UndecodableError(f"Expected an array of numbers, got the type {values.dtype}.")
    if not values.size:
        raise UndecodableError(f"The array of the shape {list(values.shape)} holds no pixels.")
    low, high = float(values.min()), float(values.max())  # NaN if there is one
    if values.dtype == bool:
        factor: int | None = 255
    elif values.dtype == np.uint8 and high > 1:
        factor = 1
    else:
        factor = _scale_factor(low, high)
    if factor is None:
        raise UndecodableError(f"Expected pixels from 0 to 255 or from 0 to 1, {_range(low, high)}")
    if factor == 1 and values.dtype == np.uint8:
        return values
    scaled: NDArray[np.float32] = np.multiply(values, factor, dtype=np.float32)
    return np.asarray(np.rint(np.clip(scaled, 0, 255)), np.uint8)


def _scale_factor(low: float, high: float) -> int | None:
    """Return the factor of `scale_factor` for numbers that may be out of range by rounding."""
    white = 1 if high <= MAX_SCALED else 255
    if -ROUNDING * white <= low < 0:
        low = 0
    if white == 255 < high <= 255 * MAX_SCALED:
        high = 255
    return scale_factor(low, high)


def _range(low: float, high: float) -> str:
    """Return which numbers came instead of pixels, and what to do about them."""
    if math.isnan(low):
        return "got NaN; numpy.nan_to_num(array) makes it 0."
    white = 1 if high <= 1 + OVERSHOOT else 255
    resized = -OVERSHOOT * white <= low and MIN_WHITE / 255 < high / white <= 1 + OVERSHOOT
    advice = f" After resizing, use numpy.clip(array, 0, {white})." if resized else ""
    return f"got {low:.7g} to {high:.7g}.{advice}"


def from_array(pixels: NDArray[np.uint8], *, max_pixels: int) -> ImageInput:
    """Return one image whose pixels are given.

    Args:
        pixels: uint8 `[H, W]`, `[H, W, 1]`, `[H, W, 3]` (RGB), `[H, W, 4]` (RGB and alpha, 255 is
            opaque) or `[784]`. An axis of 1 may come first: `[1, H, W]`, `[1, H, W, C]`,
            `[1, 784]`. `[784, 1]` is a 28x28, too.
        max_pixels: Largest width times height.

    Returns:
        A copy if it is a 28x28, because results keep that.

    Raises:
        UndecodableError: It has another shape, or is a single row or column of other pixels.
        TooLargeError: It has too many pixels.
    """
    shape = pixels.shape
    if shape[:1] == (1,) and (len(shape) == 4 or (len(shape) == 3 and shape[2] not in CHANNELS)):
        pixels = pixels[0]
    if max(pixels.shape, default=0) == pixels.size == SIDE * SIDE:  # a row or column of numbers
        pixels = pixels.reshape(SIDE, SIDE)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in CHANNELS):
        raise UndecodableError(
            "Expected one image: the shape [H, W], [H, W, 1], [H, W, 3], [H, W, 4] or [784], got"
            f" {list(shape)}.{_advice(shape)}"
        )
    if min(pixels.shape[:2]) == 1 < max(pixels.shape[:2]):
        raise UndecodableError(
            f"The shape {list(shape)} is a single row or column, which shows no digit. Only 784"
            " numbers are read as 28x28; reshape others to [rows, columns]."
        )
    check_size(pixels.shape[1], pixels.shape[0], max_pixels)
    if pixels.shape == (SIDE, SIDE):
        return pixels.copy(order="C")
    return from_image(pillow.fromarray(np.ascontiguousarray(pixels)), max_pixels=max_pixels)


def _advice(shape: tuple[int, ...]) -> str:
    """Return what to do with an array that is not of the shape of an image; "" if unknown."""
    if len(shape) in (3, 4) and shape[-3] in CHANNELS:
        return " Move its channels to the end: numpy.moveaxis(array, -3, -1)."
    return " 'predict_many' takes several images." if len(shape) in (3, 4) else ""


def _read_stream(stream: Any, max_pixels: int) -> bytes:
    """Return the rest of a file object, up to the size of a file that is read."""
    limit = max_file_bytes(max_pixels)
    parts: list[bytes] = []
    left = limit + 1
    while left > 0 and (part := _read_part(stream, left)):
        parts.append(part)
        left -= len(part)
    content = b"".join(parts)
    if not content:
        raise InvalidInputError(
            "The file object gives no bytes: it is empty, or at its end and needs seek(0)."
        )
    if len(content) > limit:
        raise TooLargeError(f"The file has more than {limit} bytes, the most that are read.")
    return content


def _read_part(stream: Any, size: int) -> bytes:
    """Return what one call of `read` gives: a pipe or a socket gives less than is left.

    Raises:
        InvalidInputError: The file object gives no bytes, or fails.
    """
    try:
        part = stream.read(size)
    except UnicodeDecodeError:
        part = ""  # a file that was opened as text
    except Exception as error:  # such as a closed file, a lost connection, a damaged archive
        reason = printable(str(error)) or type(error).__name__
        raise InvalidInputError(f"The file object cannot be read: {reason}.") from error
    if part is None:
        raise InvalidInputError("The file object does not wait for its bytes; read them first.")
    if not isinstance(part, bytes):
        raise InvalidInputError(
            "Expected a file object that gives bytes; open the file with mode 'rb'."
        )
    return part


def _to_array(image: object) -> NDArray[Any]:
    if not is_array(image):
        raise InvalidInputError(
            "Expected an image: a path, the bytes of a file, a file object, an image of Pillow or"
            f" an array, got {type(image).__name__}; numpy.asarray makes an array of lists."
        )
    try:
        return np.asarray(image)
    except (TypeError, ValueError, RuntimeError) as error:  # such as a tensor on a GPU
        raise InvalidInputError(
            f"NumPy makes no array of this {type(image).__name__}: {error}"
        ) from error
