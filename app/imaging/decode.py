"""Decode image files safely: every limit is checked before memory or time is spent.

Opens only the formats of `app.imaging.formats`. Knows files and colour modes; knows nothing of ink.
"""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from app.errors import UndecodableError
from app.imaging.colour_modes import has_equal_channels, to_8_bit
from app.imaging.decoded_size import MAX_WORKING_SIDE, check_decoded_size, jpeg_scale
from app.imaging.file_structure import check_size, check_structure
from app.imaging.formats import FORMAT_NAMES, PILLOW_NAMES
from app.imaging.heif import decode_heif
from app.imaging.heif_structure import is_heif
from app.imaging.jpeg_structure import jpeg_coefficient_bytes
from app.imaging.pillow import PILLOW_ERRORS
from app.imaging.png_reader import is_small_png, read_grey_png

# First bytes of files that are often sent by mistake, and what they are.
_OTHER_FILES = (
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"\x93NUMPY", "a NumPy file (send it as application/x-npy)"),
    (b"\x1f\x8b", "a gzip file"),
    (b"{", "JSON (send it as application/json)"),
)
_SEVERAL_IMAGES = "The file contains several images; only the first was read."
_STRETCHED = (
    "The file says that its pixels are not square, as in a fax; the image was stretched until they"
    " are. Positions count the pixels of the stretched image."
)
_EXIF_ORIENTATION = 0x0112
# How to turn an image upright, by its EXIF orientation.
_TO_UPRIGHT: Mapping[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
# Ratios of the resolutions of both axes at which an image is stretched. Faxes have 204 x 98 pixels
# an inch; a ratio that is hardly different from 1 changes nothing, a larger one is an error.
MIN_STRETCH, MAX_STRETCH = 1.2, 3.0


@dataclass(frozen=True)
class Upload:
    """A decoded upload.

    Attributes:
        pixels: uint8 `[H, W]` (grey) or `[H, W, 3]` (RGB), upright. A large image is reduced by
            `factor`.
        alpha: uint8 `[H, W]`, 255 is opaque; None if every pixel is opaque.
        format: Format in lower case (`png`, `jpeg`, ...), or `pixels` for numbers.
        width: Width of the whole image after EXIF orientation, in pixels. If the file says that
            its pixels are not square, the image is stretched until they are.
        height: Height of the whole image in the same way, in pixels.
        factor: Reduction: each of `pixels` is the mean of `factor` x `factor` pixels of the file.
        warnings: Sentences about oddities that do not prevent decoding.
    """

    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None
    format: str
    width: int
    height: int
    factor: int = 1
    warnings: tuple[str, ...] = ()


def from_pixels(pixels: NDArray[np.uint8]) -> Upload:
    """Wrap grey pixels, uint8 `[H, W]`, that were sent as numbers."""
    height, width = pixels.shape
    return Upload(pixels, None, "pixels", width, height)


def decode(data: bytes, *, max_pixels: int) -> Upload:
    """Decode an image file.

    Args:
        data: A file in one of `app.imaging.formats`; of several images the first, or the
            HEIC file's primary one, is read.
        max_pixels: Largest width times height.

    Returns:
        The pixels, upright, as grey or RGB.

    Raises:
        UndecodableError: The data is not an image in one of the formats, or it is damaged.
        TooLargeError: The image has too many pixels, or takes too much memory to decode; its header
            shows that before it is decoded.
    """
    if is_small_png(data) and (pixels := read_grey_png(data)) is not None:
        height, width = pixels.shape
        check_size(width, height, max_pixels)
        return Upload(pixels, None, "png", width, height)
    check_structure(data, max_pixels=max_pixels)
    try:
        if is_heif(data):
            return _read_heif(data, max_pixels)
        with Image.open(io.BytesIO(data), formats=PILLOW_NAMES) as image:
            check_size(image.width, image.height, max_pixels)
            return _read(image, data)
    except PILLOW_ERRORS as error:
        raise UndecodableError(_explain(data, error)) from error


def from_image(image: Image.Image, *, max_pixels: int) -> Upload:
    """Take an image that Pillow has opened or made, as `decode` takes a file with its pixels.

    Args:
        image: An image in any mode, turned upright by its EXIF orientation if it has one. It is
            loaded if it is not yet, and not changed.
        max_pixels: Largest width times height.

    Raises:
        UndecodableError: Its file is damaged or closed, or it has no pixels.
        TooLargeError: The image has too many pixels.
    """
    check_size(image.width, image.height, max_pixels)
    warnings = _warn_of_others(image) if image.tell() == 0 else []
    size = image.size
    try:
        image.load()
        orientation = _exif_orientation(image, warnings)
        return _upright(image, _format_name(image) or "pixels", size, orientation, warnings)
    except PILLOW_ERRORS as error:
        raise UndecodableError(f"The image cannot be read: {error}.") from error


def _read(image: Image.Image, data: bytes) -> Upload:
    """Decode an opened file whose header has been checked."""
    name = _format_name(image)
    if name == "png" and data.rfind(b"IEND") < 0:
        raise OSError("its end is missing (no IEND chunk)")  # Pillow accepts such a file
    warnings, size = _warn_of_others(image), image.size
    orientation = _load(image, name, data, warnings)
    return _upright(image, name, size, orientation, warnings)


def _format_name(image: Image.Image) -> str:
    """Return the format of an image in lower case, or "" for one that comes from no file."""
    # Phones write several JPEGs into one file (MPO); the first one is the photo.
    return (image.format or "").lower().replace("mpo", "jpeg")


def _warn_of_others(image: Image.Image) -> list[str]:
    """Return a warning if a file has further images."""
    # `n_frames` would read the whole file: 30 s for a TIFF of 5 MB.
    return [_SEVERAL_IMAGES] if getattr(image, "is_animated", False) else []


def _upright(
    image: Image.Image, name: str, full_size: tuple[int, int], orientation: int, warnings: list[str]
) -> Upload:
    """Bring a loaded image to 8 bits, square pixels, the working size and upright.

    Args:
        image: The image; a JPEG may have been reduced while it was decoded.
        name: Its format.
        full_size: Width and height of the file's image.
        orientation: Its EXIF orientation, 1..8.
        warnings: Those until now.
    """
    wider, higher = _stretch(image.info.get("dpi"))
    image = to_8_bit(image, warnings)
    draft_factor = max(1, round(full_size[0] / image.width))
    longer = max(full_size[0] * wider, full_size[1] * higher)
    factor = max(draft_factor, math.ceil(longer / MAX_WORKING_SIDE))
    image = _reduce(image, factor, draft_factor)
    if wider > 1 or higher > 1:
        image = image.resize(
            (round(image.width * wider), round(image.height * higher)), Image.Resampling.BILINEAR
        )
        warnings.append(_STRETCHED)
    width, height = round(full_size[0] * wider), round(full_size[1] * higher)
    if orientation in _TO_UPRIGHT:
        image = image.transpose(_TO_UPRIGHT[orientation])
    if orientation in _SWAPS_SIDES:
        width, height = height, width
    pixels, alpha = split_alpha(image)
    return Upload(pixels, alpha, name, width, height, factor, tuple(warnings))


def _reduce(image: Image.Image, factor: int, draft_factor: int) -> Image.Image:
    """Average blocks of pixels of an image until it is reduced by `factor` in all.

    Args:
        image: The image.
        factor: Pixels of the file that become one, along each axis.
        draft_factor: How many of them have become one while the file was decoded.
    """
    if factor % draft_factor == 0:
        return image.reduce(factor // draft_factor) if factor > draft_factor else image
    ratio = factor / draft_factor
    size = max(1, int(image.width / ratio)), max(1, int(image.height / ratio))
    box = (0, 0, min(image.width, size[0] * ratio), min(image.height, size[1] * ratio))
    return image.resize(size, Image.Resampling.BOX, box)


def _stretch(resolution: Any) -> tuple[float, float]:
    """Return the factors for width and height that make pixels square, one of them 1.

    Args:
        resolution: Pixels an inch along x and y, as Pillow found them in the file, if at all.
    """
    try:
        x, y = resolution
        wider, higher = float(y) / float(x), float(x) / float(y)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return 1.0, 1.0
    if MIN_STRETCH <= wider <= MAX_STRETCH:
        return wider, 1.0
    return 1.0, higher if MIN_STRETCH <= higher <= MAX_STRETCH else 1.0


def _read_heif(data: bytes, max_pixels: int) -> Upload:
    """Decode a HEIC file whose structure has been checked."""
    decoded = decode_heif(data, MAX_WORKING_SIDE)
    check_size(*decoded.size, max_pixels)
    warnings = [_SEVERAL_IMAGES.replace("first", "primary")] if decoded.images > 1 else []
    pixels, alpha = split_alpha(to_8_bit(decoded.image, warnings))
    return Upload(pixels, alpha, "heic", *decoded.size, decoded.factor, tuple(warnings))


def _load(image: Image.Image, name: str, data: bytes, warnings: list[str]) -> int:
    """Decode the pixels in place and return the EXIF orientation, 1..8.

    A JPEG larger than `MAX_WORKING_SIDE` is decoded at a half, a quarter or an eighth of its size.

    Raises:
        TooLargeError: The image takes too much memory.
    """
    if name == "jpeg":
        orientation = _exif_orientation(image, warnings)
        width, height = image.size
        coefficients, channels = jpeg_coefficient_bytes(data), len(image.getbands())
        scale = jpeg_scale(width, height, channels, coefficients)
        if scale > 1:
            image.draft(None, (width // scale, height // scale))
        image.load()
        return orientation
    check_decoded_size(image, image.format or "")
    # Pillow itself turns a TIFF upright, but leaves its resolutions as they were.
    is_swapped = name == "tiff" and _exif_orientation(image, []) in _SWAPS_SIDES
    image.load()  # before the EXIF chunk of a PNG is read, which may follow its pixels
    if is_swapped and "dpi" in image.info:
        image.info["dpi"] = image.info["dpi"][::-1]
    if name == "png" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return 1
    return _exif_orientation(image, warnings)


def _exif_orientation(image: Image.Image, warnings: list[str]) -> int:
    """Return the EXIF orientation, 1..8; 1 (upright) if it is missing or cannot be read."""
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except PILLOW_ERRORS as error:
        warnings.append(f"The EXIF data is damaged ({error}); the image is assumed to be upright.")
        return 1
    return orientation if orientation in _TO_UPRIGHT else 1


def split_alpha(image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Return the pixels, as grey if possible, and the alpha channel, None if all is opaque.

    Args:
        image: An image in mode L, LA, RGB or RGBA.
    """
    pixels, alpha = np.asarray(image), None
    if image.mode in ("LA", "RGBA"):
        pixels, alpha = pixels[..., :-1], np.ascontiguousarray(pixels[..., -1])
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        alpha = None if alpha.min() == 255 else alpha
    if pixels.ndim == 3 and has_equal_channels(pixels):
        pixels = pixels[..., 0]
    return np.ascontiguousarray(pixels), alpha


def _explain(data: bytes, error: BaseException) -> str:
    """Return a sentence that says what was expected and what the file seems to be."""
    kind = _other_kind(data)
    if kind is None and isinstance(error, UnidentifiedImageError):
        kind = f"{len(data)} bytes in none of these formats"
    if kind is None:
        return f"The image is damaged: it starts like an image file, but {error}."
    return f"The image cannot be read: expected {FORMAT_NAMES}, got {kind}."


def _other_kind(data: bytes) -> str | None:
    """Return what a file is if it is a common kind other than an image that can be read."""
    head = data[:512].lstrip()
    for magic, kind in _OTHER_FILES:
        if head.startswith(magic):
            return kind
    if b"<svg" in head.lower():
        return "an SVG drawing"
    if data[4:8] == b"ftyp":
        return "AVIF or a video (export it as JPEG)"
    return None
