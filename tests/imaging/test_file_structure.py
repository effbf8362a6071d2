"""Files with too many parts are refused before a decoder opens them."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from app.errors import TooLargeError, UndecodableError
from app.imaging.file_structure import check_structure, declared_pixels

MAX_PIXELS = 52_000_000


def _file(format_name: str, size: tuple[int, int] = (40, 30), **options: object) -> bytes:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, format_name, **options)
    return stream.getvalue()


def _png_chunks(kind: bytes, content: bytes, count: int) -> bytes:
    chunk = struct.pack(">I", len(content)) + kind + content
    chunk += struct.pack(">I", zlib.crc32(kind + content))
    data = _file("PNG")
    return data[:33] + chunk * count + data[33:]


def _jpeg_segments(segment: bytes, count: int) -> bytes:
    data = _file("JPEG")
    return data[:2] + segment * count + data[2:]


def _tiff(tags: dict[int, tuple[int, int, bytes]], order: str = "<") -> bytes:
    entries = b"".join(
        struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
        for tag, (kind, count, value) in sorted(tags.items())
    )
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(order + "I", 8) + struct.pack(order + "H", len(tags))
    return head + entries + bytes(4)


def _bmp(width: int, height: int, data: bytes) -> bytes:
    head = b"BM" + struct.pack("<IHHI", 1078 + len(data), 0, 0, 1078)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 0, 0, 256, 0)
    return head + info + bytes(1024) + data


def _gif_with(blocks: bytes) -> bytes:
    return _file("GIF")[:-1] + blocks + b";"


ONE = struct.pack("<I", 1)
HOSTILE: dict[str, Callable[[], bytes]] = {
    "png chunks": lambda: _png_chunks(b"tEXt", b"a\0b", 20_000),
    "png empty pixels": lambda: _png_chunks(b"IDAT", b"", 20_000),
    "png compressed text": lambda: _png_chunks(b"zTXt", b"a\0\0" + zlib.compress(b"b"), 40),
    "jpeg comments": lambda: _jpeg_segments(b"\xff\xfe\0\x02", 5_000),
    "jpeg tables": lambda: _jpeg_segments(b"\xff\xdb\0\x43\0" + b"\1" * 64, 5_000),
    "jpeg fill bytes": lambda: _jpeg_segments(b"\xff", 50_000),
    "jpeg photoshop": lambda: _jpeg_segments(
        b"\xff\xed" + struct.pack(">H", 60_002) + b"8BIM" * 15_000, 1
    ),
    "jpeg scans": lambda: _file("JPEG") + b"\xff\xda" * 100,
    "gif extensions": lambda: _gif_with(b"\x21\xfe\0" * 5_000),
    "gif stray bytes": lambda: _gif_with(b"\0" * 5_000),
    "gif comment": lambda: _gif_with(b"\x21\xfe" + b"\1x" * 150_000 + b"\0"),
    "webp chunks": lambda: _file("WEBP") + b"ABCD\0\0\0\0" * 20_000,
    "tiff tags": lambda: _tiff(dict.fromkeys(range(1000, 2000), (4, 1, ONE))),
    "tiff strips": lambda: _tiff({273: (4, 50_000, ONE)}),
    "tiff tiles": lambda: _tiff({324: (3, 50_000, ONE)}, ">"),
    "tiff rationals": lambda: _tiff({700: (5, 600_000, ONE)}),
    "tiff text as size": lambda: _tiff({322: (2, 2, b"A\0"), 323: (4, 1, ONE)}),
    "tiff list as size": lambda: _tiff({256: (4, 9, ONE)}),
    "tiff huge tile": lambda: _tiff({322: (4, 1, b"\0\0\1\0"), 323: (4, 1, b"\0\0\1\0")}),
    "bigtiff tags": lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_too_many_parts_are_refused(name: str) -> None:
    """The refusal names the format and what is too much."""
    with pytest.raises(UndecodableError, match=r"(?i)" + name.split()[0].removeprefix("big")):
        check_structure(HOSTILE[name](), max_pixels=MAX_PIXELS)


@pytest.mark.parametrize(
    "data",
    [
        _bmp(100, 100, b"\1\5" * 400_000),
        _bmp(10_000, 2_000, b"\0\0" * 100),
        _gif_with(b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x08\0"),
    ],
)
def test_too_much_work_is_refused(data: bytes) -> None:
    """Run-length data and frames that would take long to decode are too large."""
    with pytest.raises(TooLargeError):
        check_structure(data, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize(
    ("format_name", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("GIF", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
    ],
)
def test_files_as_programs_write_them_pass(format_name: str, options: dict[str, bool]) -> None:
    """A real file is not refused, and its number of pixels is read from the header."""
    data = _file(format_name, **options)
    check_structure(data, max_pixels=MAX_PIXELS)
    assert declared_pixels(data) == 40 * 30


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_tiffs_as_programs_write_them_pass(compression: str) -> None:
    """A TIFF passes in every compression, also with a strip for each row."""
    check_structure(_file("TIFF", compression=compression), max_pixels=MAX_PIXELS)
    check_structure(
        _file("TIFF", (30, 5000), compression=compression, tiffinfo={278: 1}),
        max_pixels=MAX_PIXELS,
    )


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_cut_file_is_left_to_the_decoder(format_name: str) -> None:
    """At whatever byte a file ends, the check ends too, without an error of its own."""
    data = _file(format_name)
    for length in range(0, min(len(data), 600), 7):
        check_structure(data[:length], max_pixels=MAX_PIXELS)
        declared_pixels(data[:length])
