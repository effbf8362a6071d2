"""Counts the parts of an image file before a decoder opens it.

A few megabytes can hold a million chunks, segments, strips or blocks, each of which costs a decoder
a step in Python. Every walk here stops at its limit, so a check takes milliseconds at most. Knows
the structure of the files; knows nothing of pixels. Damage that a decoder reports by itself is not
reported here: a walk ends where it no longer understands the file.
"""

import struct
from collections.abc import Callable
from contextlib import suppress

from app.errors import TooLargeError, UndecodableError
from app.imaging.decoded_size import (
    HEIC_BYTES_PER_PIXEL,
    JPEG_BYTES_PER_PIXEL,
    WEBP_BYTES_PER_PIXEL,
    check_pixels,
    jpeg_scale,
)
from app.imaging.heif_structure import check_heif, heif_size, is_heif
from app.imaging.jpeg_structure import check_jpeg, jpeg_coefficient_bytes, jpeg_size

# Real files stay far below each limit: a PNG of 20 MB in IDAT chunks of 4 kB has 5,000 chunks.
MAX_PNG_CHUNKS = 10_000
MAX_PNG_COMPRESSED_TEXTS = 16  # zTXt, iTXt and iCCP chunks; each may unpack to a megabyte
MAX_GIF_BLOCKS = 2_000  # extensions and stray bytes up to the second frame
MAX_GIF_DATA_BLOCKS = 100_000  # of up to 255 bytes each
MAX_WEBP_CHUNKS = 10_000  # frames of an animation are chunks
MAX_TIFF_TAGS = 512  # in the directory of the first image
MAX_TIFF_PARTS = 20_000  # strips or tiles; 50 million pixels in strips of one row are about 8,000
MAX_TIFF_VALUES = 100_000  # numbers in any other tag
MAX_TIFF_TILE_PIXELS = 1 << 22  # a tile is decoded as a whole
# Of a run-length encoded BMP, whose codes and rows Pillow reads in Python.
MAX_RLE_BYTES, MAX_RLE_PIXELS = 500_000, 4_000_000

MAX_HEIC_PADDING = 63  # pixels; writers fill blocks of up to 64, and name the crop
BYTES_PER_PIXEL = 6  # that a decoder holds, in most formats; measured

_JPEG, _RIFF = b"\xff\xd8", b"RIFF"
_TIFF_WIDTH, _TIFF_LENGTH, _TIFF_ROWS_PER_STRIP = 256, 257, 278
_TIFF_STRIP_OFFSETS, _TIFF_STRIP_SIZES = 273, 279
_TIFF_TILE_WIDTH, _TIFF_TILE_LENGTH, _TIFF_TILE_OFFSETS, _TIFF_TILE_SIZES = 322, 323, 324, 325
_TIFF_PARTS = frozenset(
    {_TIFF_STRIP_OFFSETS, _TIFF_STRIP_SIZES, _TIFF_TILE_OFFSETS, _TIFF_TILE_SIZES}
)
_TIFF_SIZES = frozenset(
    {_TIFF_WIDTH, _TIFF_LENGTH, _TIFF_ROWS_PER_STRIP, _TIFF_TILE_WIDTH, _TIFF_TILE_LENGTH}
)
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # BYTE, SHORT, LONG, LONG8
_TIFF_BLOBS = frozenset({1, 2, 7})  # BYTE, ASCII, UNDEFINED: read as one piece of bytes


def check_structure(data: bytes, *, max_pixels: int) -> None:
    """Refuse a file with more parts than a decoder should walk through.

    Args:
        data: An image file, or anything else; unknown formats pass.
        max_pixels: Largest width times height of a frame.

    Raises:
        UndecodableError: Too many parts, or a tag of the wrong type.
        TooLargeError: A frame with too many pixels.
    """
    for start, magic, check in _CHECKS:
        if data.startswith(magic, start):
            check(data, max_pixels)
            return


def declared_pixels(data: bytes) -> int | None:
    """Return width times height as the header declares them; None if it cannot be told."""
    try:
        if data.startswith(b"\x89PNG"):
            width, height = struct.unpack_from(">II", data, 16)
        elif data.startswith(b"GIF8"):
            width, height = struct.unpack_from("<HH", data, 6)
        elif data.startswith(b"BM"):
            width, height = struct.unpack_from("<ii", data, 18)
        elif data.startswith(_RIFF):
            width, height = _webp_size(data) or (0, 0)
        elif data.startswith(_JPEG):
            width, height = jpeg_size(data) or (0, 0)
        elif is_heif(data):
            width, height = heif_size(data)
        else:
            return None
    except (struct.error, UndecodableError):
        return None
    return abs(width * height) or None


def decoding_bytes(data: bytes, pixels: int) -> int:
    """Return about how many bytes a decoder holds for a file, as far as its header tells.

    Args:
        data: The file.
        pixels: Width times height of the image, at most.
    """
    if data.startswith(_JPEG):
        with suppress(struct.error, UndecodableError, TooLargeError):
            coefficients = jpeg_coefficient_bytes(data)
            width, height = jpeg_size(data) or (0, 0)
            scale = jpeg_scale(width, height, 3, coefficients)
            return coefficients + JPEG_BYTES_PER_PIXEL * pixels // scale**2
    return pixels * (WEBP_BYTES_PER_PIXEL if data.startswith(_RIFF) else BYTES_PER_PIXEL)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image with too many pixels, or with none.

    Raises:
        TooLargeError: More than `max_pixels`.
        UndecodableError: A side is 0.
    """
    if width * height > max_pixels:
        raise TooLargeError(
            f"The image has {width} x {height} = {width * height} pixels; the limit is"
            f" {max_pixels}. Send a smaller image."
        )
    if width < 1 or height < 1:
        raise UndecodableError(f"The image is {width} x {height} pixels, so it has no content.")


def _refuse(format_name: str, parts: str, limit: int) -> UndecodableError:
    return UndecodableError(
        f"The {format_name} file has more than {limit:,} {parts}; write it again with fewer."
    )


def _check_png(data: bytes, max_pixels: int) -> None:
    at, chunks, compressed = 8, 0, 0
    while at + 8 <= len(data):
        kind = data[at + 4 : at + 8]
        chunks += 1
        compressed += kind in (b"zTXt", b"iTXt", b"iCCP")
        if chunks > MAX_PNG_CHUNKS:
            raise _refuse("PNG", "chunks", MAX_PNG_CHUNKS)
        if compressed > MAX_PNG_COMPRESSED_TEXTS:
            raise _refuse("PNG", "compressed text or profile chunks", MAX_PNG_COMPRESSED_TEXTS)
        if kind == b"IEND":
            return
        at += 12 + int.from_bytes(data[at : at + 4])


def _check_jpeg(data: bytes, max_pixels: int) -> None:
    check_jpeg(data)


def _check_gif(data: bytes, max_pixels: int) -> None:
    """Walk to the second frame: Pillow reads up to there to learn whether there are several."""
    at = 13 + _gif_palette_bytes(data, 10)
    blocks = data_blocks = frames = 0
    while at < len(data) and frames < 2:
        introducer = data[at]
        blocks += 1
        if blocks > MAX_GIF_BLOCKS:
            raise _refuse("GIF", "blocks", MAX_GIF_BLOCKS)
        if introducer == 0x3B:  # trailer
            return
        if introducer == 0x21:  # extension
            at += 2
        elif introducer == 0x2C:  # image descriptor
            frames += 1
            if at + 10 > len(data):
                return
            width, height = struct.unpack_from("<HH", data, at + 5)
            check_size(max(1, width), max(1, height), max_pixels)  # Pillow accepts empty frames
            at += 11 + _gif_palette_bytes(data, at + 9)
        else:
            at += 1
            continue
        while at < len(data) and data[at]:
            at += 1 + data[at]
            data_blocks += 1
            if data_blocks > MAX_GIF_DATA_BLOCKS:
                raise _refuse("GIF", "data blocks", MAX_GIF_DATA_BLOCKS)
        at += 1


def _gif_palette_bytes(data: bytes, at: int) -> int:
    flags = data[at] if at < len(data) else 0
    return 3 << (1 + (flags & 7)) if flags & 0x80 else 0


def _check_webp(data: bytes, max_pixels: int) -> None:
    """Check the size too: Pillow allocates the canvas when it opens the file."""
    if data[8:12] != b"WEBP" or len(data) < 30:
        return
    if canvas := _webp_size(data):
        check_size(*canvas, max_pixels)
        check_pixels(*canvas, WEBP_BYTES_PER_PIXEL, "WebP")
    at, chunks = 12, 0
    while at + 8 <= len(data):
        chunks += 1
        if chunks > MAX_WEBP_CHUNKS:
            raise _refuse("WebP", "chunks", MAX_WEBP_CHUNKS)
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + (size & 1)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if len(data) < 30:
        return None
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8 ":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        return None
    return width, height


def _check_bmp(data: bytes, max_pixels: int) -> None:
    """Bound run-length data, of which two bytes can stand for a step of Pillow's Python decoder."""
    run_length = len(data) > 34 and int.from_bytes(data[30:34], "little") in (1, 2)
    pixels = declared_pixels(data) or 0
    if run_length and (len(data) > MAX_RLE_BYTES or pixels > MAX_RLE_PIXELS):
        raise TooLargeError(
            f"The run-length encoded BMP has {len(data):,} bytes and {pixels:,} pixels; at most"
            f" {MAX_RLE_BYTES:,} and {MAX_RLE_PIXELS:,} are decoded. Write it as PNG."
        )


def _check_tiff(data: bytes, max_pixels: int) -> None:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    entry = struct.Struct(order + ("HHQ" if big else "HHI"))
    offset = struct.Struct(order + ("Q" if big else "I"))
    entries = struct.Struct(order + ("Q" if big else "H"))
    try:
        (directory,) = offset.unpack_from(data, 8 if big else 4)
        (count,) = entries.unpack_from(data, directory)
    except struct.error:
        return
    if count > MAX_TIFF_TAGS:
        raise _refuse("TIFF", "tags", MAX_TIFF_TAGS)
    sizes: dict[int, int] = {}
    for number in range(count):
        at = directory + entries.size + number * (entry.size + offset.size)
        if at + entry.size + offset.size > len(data):
            return
        tag, kind, values = entry.unpack_from(data, at)
        if tag in _TIFF_PARTS and values > MAX_TIFF_PARTS:
            raise _refuse("TIFF", "strips or tiles", MAX_TIFF_PARTS)
        if tag not in _TIFF_PARTS and kind not in _TIFF_BLOBS and values > MAX_TIFF_VALUES:
            raise _refuse("TIFF", f"values in its tag {tag}", MAX_TIFF_VALUES)
        if tag in _TIFF_SIZES:
            code = _TIFF_INTEGERS.get(kind)
            if code is None or values != 1:
                raise UndecodableError(
                    f"The TIFF's tag {tag} is a size: it must hold one whole number."
                )
            (sizes[tag],) = struct.unpack_from(order + code, data, at + entry.size)
    tile = sizes.get(_TIFF_TILE_WIDTH, 0), sizes.get(_TIFF_TILE_LENGTH, 0)
    if tile[0] * tile[1] > MAX_TIFF_TILE_PIXELS:
        raise UndecodableError(
            f"The TIFF's tiles have {tile[0]} x {tile[1]} pixels; at most {MAX_TIFF_TILE_PIXELS}"
            " are decoded. Save it without tiles."
        )


def _check_heif(data: bytes, max_pixels: int) -> None:
    """Check the sizes of all images and tiles: the decoder believes each of them."""
    if not is_heif(data):
        return
    sizes = check_heif(data)
    for width, height in sizes:
        check_pixels(width, height, HEIC_BYTES_PER_PIXEL, "HEIC")
    width, height = sizes[0]
    cropped = max(0, width - MAX_HEIC_PADDING) * max(0, height - MAX_HEIC_PADDING)
    if cropped > max_pixels or not width or not height:
        check_size(width, height, max_pixels)


# Position and value of the bytes that tell a format, and its check.
_CHECKS: tuple[tuple[int, bytes, Callable[[bytes, int], None]], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", _check_png),
    (0, _JPEG, _check_jpeg),
    (0, b"GIF8", _check_gif),
    (0, _RIFF, _check_webp),
    (0, b"BM", _check_bmp),
    (0, b"II*\0", _check_tiff),
    (0, b"MM\0*", _check_tiff),
    (0, b"II+\0", _check_tiff),
    (0, b"MM\0+", _check_tiff),
    (4, b"ftyp", _check_heif),
)
