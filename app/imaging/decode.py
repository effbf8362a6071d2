"""Safe decoding: an upload's bytes to pixels, with every limit checked before memory is spent.

Only the listed formats are opened. Knows files and colour modes; knows nothing of ink.
"""

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from app.errors import TooLargeError, UndecodableError
from app.imaging.formats import FORMAT_NAMES, PILLOW_NAMES

# Longest side that is worked on: at 1600 px the digits of a full page still have the 20 px that a
# network sees, and every later stage costs a fraction of a second.
MAX_WORKING_SIDE = 1600

# Pixels are counted by `decode` before anything is decoded; Pillow's own limit would warn or raise
# on its own terms.
Image.MAX_IMAGE_PIXELS = None

# What Pillow and its plugins raise on garbage, found by fuzzing (tests/imaging/test_decode.py).
_PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    ZeroDivisionError,
    RuntimeError,
    MemoryError,
    struct.error,
)
_KNOWN_OTHERS = (
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"\x93NUMPY", "a NumPy file (send it as application/x-npy)"),
    (b"\x1f\x8b", "a gzip file"),
    (b"{", "JSON (send it as application/json)"),
)
# Bytes of a file that takes microseconds to decode; 28x28 in 8 bits of red, green, blue and opacity
# are 3,136.
SMALL = 4096
# A PNG of nothing but pixels: its IHDR, of which the end says that they are grey, 8 bits deep and
# not interlaced; one IDAT; and its IEND.
_PNG_HEAD, _GREY = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\x08\0\0\0\0"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_WHITES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
_ORIENTATION = 0x0112
_TILE_WIDTH, _TILE_LENGTH = 322, 323
MAX_TILE_PIXELS = 1 << 22  # pixels of a TIFF's tile, which is decoded as a whole
_SCAN = b"\xff\xda"
# Of a JPEG: writers make up to 12, each of which costs 35 ms at 20 million pixels.
MAX_SCANS = 64
_TRANSPOSE: Mapping[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Upload:
    """An image as it came, decoded.

    Attributes:
        pixels: uint8 `[H, W]` (grey) or `[H, W, 3]` (RGB); reduced by `factor` if the image is
            large.
        alpha: uint8 `[H, W]`, 255 opaque, or None where everything is.
        format: `png`, `jpeg`, ... in lower case, or `pixels`.
        width: Of the whole image in pixels, after EXIF orientation.
        height: Likewise.
        factor: Side of the square of the image's pixels that one of `pixels` is the mean of.
        warnings: What was odd but not wrong.
    """

    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None
    format: str
    width: int
    height: int
    factor: int = 1
    warnings: tuple[str, ...] = ()


def from_pixels(pixels: NDArray[np.uint8]) -> Upload:
    """Wrap grey pixels, uint8 `[H, W]`, that came as numbers."""
    height, width = pixels.shape
    return Upload(pixels, None, "pixels", width, height)


def is_small_png(data: bytes) -> bool:
    """Tell whether a file is a PNG of at most 28x28, which takes microseconds to decode.

    One with much else in it does not: 5 MB of empty chunks take a second.
    """
    width, height = (int.from_bytes(data[at : at + 4]) for at in (16, 20))
    png = len(data) <= SMALL and data.startswith(b"\x89PNG\r\n\x1a\n")
    return png and 0 < width <= 28 and 0 < height <= 28


def decode(data: bytes, *, max_pixels: int) -> Upload:
    """Decode an image file.

    Args:
        data: A file in one of `app.imaging.formats`; of a GIF or TIFF the first image is read.
        max_pixels: Largest width times height.

    Returns:
        Its pixels, upright, as grey or RGB.

    Raises:
        UndecodableError: Not such a file, or a damaged one.
        TooLargeError: Too many pixels; found out from the header, before anything is decoded.
    """
    if is_small_png(data) and (upload := _decode_plain_png(data)):
        _check_size(upload.width, upload.height, max_pixels)
        return upload
    _check_webp_size(data, max_pixels)
    try:
        with Image.open(io.BytesIO(data), formats=PILLOW_NAMES) as image:
            _check_size(image.width, image.height, max_pixels)
            _check_tiles(image)
            _check_scans(image, data)
            return _read(image, data)
    except _PILLOW_ERRORS as error:
        raise UndecodableError(_explain(data, error)) from error


def _decode_plain_png(data: bytes) -> Upload | None:
    """Decode a grey PNG of nothing but pixels, in half of the time that any PNG takes.

    Returns:
        What `decode` returns; None for all other files, damaged ones too.
    """
    size = len(data) - 57  # of the pixels' data
    plain = data.startswith(_PNG_HEAD) and data[24:29] == _GREY and data.endswith(_PNG_END)
    if not plain or size < 1 or data[33:41] != size.to_bytes(4) + b"IDAT":
        return None
    for start, stop in ((12, 29), (37, 41 + size)):
        if zlib.crc32(data[start:stop]) != int.from_bytes(data[stop : stop + 4]):
            return None
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    try:
        image = Image.frombytes("L", (width, height), data[41:-16], "zip", "L")
    except _PILLOW_ERRORS:
        return None
    pixels = np.frombuffer(image.tobytes(), np.uint8).reshape(height, width)
    return Upload(pixels, None, "png", width, height)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooLargeError(
            f"The image has {width} x {height} = {width * height} pixels; at most {max_pixels} are"
            " decoded."
        )
    if width < 1 or height < 1:
        raise UndecodableError(f"The image is {width} x {height} pixels: there is nothing to see.")


def _check_tiles(image: Image.Image) -> None:
    """Refuse a small TIFF that is cut out of a huge tile."""
    if isinstance(image, TiffImageFile):
        tile = image.tag_v2.get(_TILE_WIDTH, 0), image.tag_v2.get(_TILE_LENGTH, 0)
        if tile[0] * tile[1] > MAX_TILE_PIXELS:
            raise UndecodableError(
                f"The TIFF's tiles have {tile[0]} x {tile[1]} pixels; at most {MAX_TILE_PIXELS} are"
                " decoded at once."
            )


def _check_scans(image: Image.Image, data: bytes) -> None:
    """Refuse a JPEG that goes over the whole image again and again, for a few bytes each time."""
    if image.format in ("JPEG", "MPO") and (scans := data.count(_SCAN)) > MAX_SCANS:
        raise UndecodableError(f"The JPEG has {scans} scans; at most {MAX_SCANS} are decoded.")


def _check_webp_size(data: bytes, max_pixels: int) -> None:
    """Check a WebP's size in its header: Pillow allocates the canvas when it opens the file."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8 ":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        return
    _check_size(width, height, max_pixels)


def _read(image: Image.Image, data: bytes) -> Upload:
    name = (image.format or "").lower()
    # Phones write several JPEGs in one file (MPO); the first is the picture.
    name = "jpeg" if name == "mpo" else name
    if name == "png" and b"IEND" not in data:
        raise OSError("its end is missing (no IEND chunk)")  # Pillow lets that pass
    warnings: list[str] = []
    # Not `n_frames`, which reads through all: 30 s for a TIFF of 5 MB.
    if getattr(image, "is_animated", False):
        warnings.append("The file holds several images; the first was read.")
    if name == "png":
        image.load()  # EXIF may stand behind the pixels
    known = name != "png" or "exif" in image.info or "Raw profile type exif" in image.info
    orientation = _orientation(image, warnings) if known else 1
    full_width, full_height = image.size
    if name == "jpeg":
        image.draft(
            None, (MAX_WORKING_SIDE, MAX_WORKING_SIDE)
        )  # decodes large JPEGs at a half, quarter or eighth
    if name != "png":
        image.load()
    image = _to_plain_mode(image, warnings)
    drafted = max(1, round(full_width / image.width))
    factor = max(1, -(-max(image.size) // MAX_WORKING_SIDE))
    if factor > 1:
        image = image.reduce(factor)
    if orientation in _TRANSPOSE:
        image = image.transpose(_TRANSPOSE[orientation])
    if orientation in (5, 6, 7, 8):
        full_width, full_height = full_height, full_width
    pixels, alpha = np.asarray(image), None
    if image.mode in ("LA", "RGBA"):
        pixels, alpha = pixels[..., :-1], np.ascontiguousarray(pixels[..., -1])
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        alpha = None if alpha.min() == 255 else alpha
    if pixels.ndim == 3 and _is_grey(pixels):
        pixels = pixels[..., 0]
    return Upload(
        np.ascontiguousarray(pixels),
        alpha,
        name,
        full_width,
        full_height,
        factor * drafted,
        tuple(warnings),
    )


def _orientation(image: Image.Image, warnings: list[str]) -> int:
    """Return how the camera was held, 1 to 8; upright where that cannot be read."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except _PILLOW_ERRORS as error:
        warnings.append(f"The EXIF data cannot be read ({error}); the image is taken as upright.")
        return 1
    return found if found in _TRANSPOSE else 1


def _is_grey(pixels: NDArray[np.uint8]) -> bool:
    """Tell whether the three channels are the same, as formats without grey store it."""
    first = pixels[..., 0]
    return np.array_equal(first, pixels[..., 1]) and np.array_equal(first, pixels[..., 2])


def _to_plain_mode(image: Image.Image, warnings: list[str]) -> Image.Image:
    """Bring every colour mode to L, LA, RGB or RGBA."""
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        if "transparency" not in image.info:
            return image
        return image.convert("RGBA")
    if image.mode in ("1", "La"):
        return image.convert("L" if image.mode == "1" else "LA")
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_bytes(np.asarray(image), warnings))
    if image.mode in ("P", "PA"):
        return image.convert(
            "RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB"
        )
    return image.convert("RGBA" if image.mode == "RGBa" else "RGB")  # CMYK, YCbCr, LAB, HSV, RGBX


def _to_bytes(values: NDArray[np.generic], warnings: list[str]) -> NDArray[np.uint8]:
    """Scale deep grey values to 0..255.

    White is taken to be the largest value that 8, 10, 12, 14 or 16 bits hold (for floats 1 too) and
    the image reaches, so that the same picture gives the same bytes at every depth. Values outside
    of that are stretched.
    """
    whole = np.issubdtype(values.dtype, np.integer)
    if not whole:
        values = np.nan_to_num(values, nan=0.0, posinf=65535.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > _WHITES[-1]:
        warnings.append(f"Deep grey values {low:g} to {high:g} were stretched over 0 to 255.")
    else:
        low, high = 0.0, next(white for white in _WHITES[whole:] if high <= white)
    # Row by row in blocks: a whole copy in floats would be the largest thing in memory.
    scaled = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), 256):
        block = values[start : start + 256].astype(np.float64)
        scaled[start : start + 256] = 255 * (block - low) / max(high - low, 1e-12) + 0.5
    return scaled


def _explain(data: bytes, error: BaseException) -> str:
    expected = f"expected {FORMAT_NAMES}"
    head = data[:512].lstrip()
    for magic, what in _KNOWN_OTHERS:
        if head.startswith(magic):
            return f"The image cannot be read: {expected}, got {what}."
    if b"<svg" in head.lower():
        return f"The image cannot be read: {expected}, got an SVG drawing."
    if data[4:8] == b"ftyp":
        return (
            f"The image cannot be read: {expected}, got HEIC, AVIF or a video; export it as JPEG."
        )
    if isinstance(error, UnidentifiedImageError):
        return (
            f"The image cannot be read: {expected}, got {len(data)} bytes that are none of these."
        )
    return f"The image is damaged: it begins as a picture, but {error}."
