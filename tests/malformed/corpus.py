"""Bad and odd images, each with the statuses that the HTTP contract allows for it.

Everything is made here, from one drawing: nothing is downloaded, and a case found by fuzzing is
kept in `FOUND` as its bytes.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from tests.imaging.files import CASES, HEIGHT, WIDTH, drawing, saved

READ, DAMAGED, TOO_LARGE, BLANK = 200, 400, 413, 422
# Of a file in which something was changed at random: it is read, or refused for a reason of its
# own, never anything else.
ANY_OF_AN_IMAGE = (READ, DAMAGED, TOO_LARGE, BLANK)


@dataclass(frozen=True)
class Picture:
    """A file, and what may be answered where an image is asked for."""

    name: str
    content: bytes = field(repr=False)
    statuses: tuple[int, ...]


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG."""
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def png_of(
    width: int, height: int, pixels: bytes = b"x", *chunks: bytes, depth: int = 8, kind: int = 0
) -> bytes:
    """Return a PNG whose header says what it likes."""
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = (chunk(b"IHDR", head), *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _resized(file_format: str, width: int, height: int) -> bytes:
    """Return a file of the drawing whose header says another size."""
    data = bytearray(saved(drawing("RGB"), file_format))
    if file_format == "PNG":
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif file_format == "JPEG":
        frame = data.index(b"\xff\xc0") + 5
        data[frame : frame + 4] = struct.pack(">HH", height, width)
    elif file_format == "BMP":
        data[18:26] = struct.pack("<ii", width, height)
    elif file_format == "GIF":
        picture = data.index(b"\x2c\0\0\0\0")
        for at in (6, picture + 5):
            data[at : at + 4] = struct.pack("<HH", width, height)
    else:
        for tag, value in ((256, width), (257, height)):
            at = _entry(data, tag)
            data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, value)
    return bytes(data)


def _entry(data: bytes, tag: int) -> int:
    """Return where a tag of one number stands in a TIFF."""
    kinds = (struct.pack("<HHI", tag, kind, 1) for kind in (3, 4))
    return next(at for kind in kinds if (at := data.find(kind)) > 0)


def truncated() -> Iterator[Picture]:
    """Give a noisy picture in every format and mode, cut off at every tenth of its length."""
    noise = np.random.default_rng(1).integers(0, 255, (50, 50, 3), np.uint8)
    for (file_format, mode), tenth in product(CASES, range(10)):
        if mode in ("I;16", "I", "F"):
            values = noise[..., 0].astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode])
            picture = Image.fromarray(values * 257)
        else:
            picture = Image.fromarray(noise).convert(mode)
        data = saved(picture, file_format)
        cut = data[: len(data) * tenth // 10]
        yield Picture(f"{file_format} {mode}, {tenth} tenths", cut, (DAMAGED,))


def flipped(each: int, seed: int) -> Iterator[Picture]:
    """Give every format and mode with a few bits turned over, so many times each."""
    rng = np.random.default_rng(seed)
    for (file_format, mode), turn in product(CASES, range(each)):
        data = np.frombuffer(saved(drawing(mode), file_format), np.uint8).copy()
        reach = min(len(data), 200) if turn % 2 else len(data)  # headers are worth more
        for _ in range(rng.integers(1, 8)):
            data[rng.integers(reach)] ^= 1 << rng.integers(8)
        name = f"{file_format} {mode}, bits of turn {turn} of seed {seed}"
        yield Picture(name, data.tobytes(), ANY_OF_AN_IMAGE)


def bombs() -> Iterator[Picture]:
    """Give small files that promise, or are, more than is read."""
    for file_format, side in (
        ("PNG", 2**31 - 1),
        ("PNG", 100_000),
        ("JPEG", 65_500),
        ("BMP", 100_000),
        ("GIF", 65_535),
        ("TIFF", 100_000),
        ("TIFF", 2**32 - 1),
    ):
        yield Picture(f"{file_format} of {side} square", _resized(file_format, side, side), (413,))
    wide = b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + b"\xff\x3f\0" * 2 + b"\0" * 20
    yield Picture("WebP of 16384 square", wide, (TOO_LARGE,))
    rows = zlib.compress(bytes(52_001 * 1_000), 9)
    yield Picture("52 million pixels of one colour", png_of(52_000, 1_000, rows), (BLANK,))
    yield Picture("one row more", png_of(52_000, 1_001, rows), (TOO_LARGE,))
    colour = png_of(10_000, 4_001, rows, kind=2)
    yield Picture("more pixels in colour than are decoded whole", colour, (TOO_LARGE,))
    yield Picture("a progressive JPEG of 50 million pixels in 4:4:4", _progressive(), (TOO_LARGE,))
    yield from _heic_bombs()
    yield Picture("more pixels than it says", png_of(28, 28, rows), (DAMAGED, BLANK))
    swollen = zlib.compress(bytes(50_000_000), 9)
    pixels = zlib.compress(bytes(29 * 28))
    text = chunk(b"zTXt", b"Comment\0\0" + swollen)
    yield Picture("50 MB of compressed text", png_of(28, 28, pixels, text), (DAMAGED,))
    profile = chunk(b"iCCP", b"icc\0\0" + swollen)
    yield Picture("50 MB of colour profile", png_of(28, 28, pixels, profile), (DAMAGED, BLANK))
    yield Picture("a JPEG of 10,000 scans", _of_many_scans(10_000), (DAMAGED,))
    yield Picture("a TIFF of 20,000 pages", _of_many_pages(20_000), (READ,))
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\0"
    pages = saved(drawing(), "GIF")[:-1] + image * 100_000 + b";"
    yield Picture("a GIF of 100,000 images", pages, (READ,))
    tile = bytearray(saved(drawing("L"), "TIFF"))
    yield Picture("a TIFF of one huge tile", _tiled(tile), (DAMAGED,))


def _progressive() -> bytes:
    """Return a small progressive JPEG whose header says 8,192 x 6,144."""
    data = bytearray(saved(drawing("RGB"), "JPEG", progressive=True, subsampling=0))
    frame = data.index(b"\xff\xc2") + 5
    data[frame : frame + 4] = struct.pack(">HH", 6144, 8192)
    return bytes(data)


def _heic_bombs() -> Iterator[Picture]:
    """Give HEIC files that declare more pixels, items or bytes than they should."""
    data = saved(drawing("RGB"), "HEIC")
    size = data.index(b"ispe") + 8
    for side in (30_000, 2**32 - 1):
        wide = data[:size] + struct.pack(">II", side, side) + data[size + 8 :]
        yield Picture(f"HEIC of {side} square", wide, (TOO_LARGE,))
    flat = data[:size] + bytes(8) + data[size + 8 :]
    yield Picture("HEIC of 0 x 0", flat, (DAMAGED,))
    items = data.index(b"iinf") + 8
    many = data[:items] + struct.pack(">H", 60_000) + data[items + 2 :]
    yield Picture("HEIC of 60,000 items", many, (DAMAGED,))
    boxes = data + struct.pack(">I4s", 8, b"free") * 100_000
    yield Picture("HEIC of 100,000 boxes", boxes, (DAMAGED,))
    nested = struct.pack(">I4s", 0, b"meta") * 50_000
    yield Picture("HEIC of nested boxes", data[: data.index(b"meta") - 4] + nested, (DAMAGED,))
    sequence = struct.pack(">I4s4sI4s", 20, b"ftyp", b"hevc", 0, b"hevc")
    sequence += struct.pack(">I4s", 16, b"moov") + bytes(8)
    yield Picture("HEIC sequence", sequence, (DAMAGED,))


def _of_many_scans(count: int) -> bytes:
    """Return a JPEG of 20 million pixels whose last scan comes so often."""
    data = saved(Image.new("L", (4000, 5000), 255), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + data[-2:]


def _of_many_pages(count: int) -> bytes:
    """Return a TIFF with so many small pages behind the drawing."""
    data = bytearray(saved(drawing(), "TIFF"))
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    tags = ((256, 1), (257, 1), (262, 1), (273, 8))
    page = struct.pack("<H", len(tags))
    page += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    data += bytes(len(data) % 2)
    struct.pack_into("<I", data, first + 2 + 12 * entries, len(data))
    for left in range(count, 0, -1):
        data += page + struct.pack("<I", len(data) + len(page) + 4 if left > 1 else 0)
    return bytes(data)


def _tiled(data: bytearray) -> bytes:
    """Turn a TIFF's strip into a tile of 60000 square."""
    for tag, other, value in ((278, 322, 60_000), (273, 324, None), (279, 325, None)):
        at = _entry(data, tag)
        data[at : at + 2] = struct.pack("<H", other)
        if value:
            data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, value)
    return bytes(data)


def empty() -> Iterator[Picture]:
    """Give files of no width, no height, or neither, and of nothing at all."""
    for file_format in ("PNG", "JPEG", "BMP", "GIF", "TIFF"):
        for width, height in ((0, HEIGHT), (WIDTH, 0), (0, 0)):
            data = _resized(file_format, width, height)
            yield Picture(f"{file_format} of {width} x {height}", data, (DAMAGED,))
    backwards = _resized("BMP", -WIDTH, HEIGHT)  # a huge one, if the sign is not seen
    yield Picture("BMP of negative width", backwards, (DAMAGED, TOO_LARGE))
    yield Picture("no bytes", b"", (DAMAGED,))
    for side in (1, 2, 3):
        tiny = saved(Image.new("L", (side, side), 255), "PNG")
        yield Picture(f"{side} x {side} pixels", tiny, (BLANK,))


def foreign() -> Iterator[Picture]:
    """Give files that are no image of the seven formats, some of them images of other formats."""
    png = saved(drawing(), "PNG")
    heads = {
        "SVG": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
        "SVG that refers to files": b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><svg>",
        "PDF": b"%PDF-1.7\n1 0 obj <<>> endobj\n",
        "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64),
        "AVIF": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + bytes(64),
        "MP4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(64),
        "ZIP": b"PK\x03\x04" + bytes(64),
        "gzip": b"\x1f\x8b\x08\0" + bytes(64),
        "NumPy": b"\x93NUMPY\x01\0\x10\0{'descr': '|u1'}",
        "ELF": b"\x7fELF\x02\x01\x01" + bytes(64),
        "HTML": b"<!doctype html><img src=x onerror=alert(1)>",
        "EPS, a program": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
        "PSD": b"8BPS\0\1" + bytes(64),
        "TGA": bytes([0, 0, 2]) + bytes(9) + struct.pack("<HH", 1, 1) + b"\x18\0abc",
        "text": b"seven",
        "zeros": bytes(5000),
        "noise": np.random.default_rng(2).bytes(5000),
        "a PNG's magic alone": png[:8],
        "a PNG of a wrong magic": b"\x89PMG" + png[4:],
        "a PNG behind something else": b"x" + png,
        "a PNG with line feeds changed": png.replace(b"\r\n", b"\n"),
        "a JPEG's magic alone": b"\xff\xd8\xff\xe0",
        "a GIF of another version": b"GIF88a" + saved(drawing(), "GIF")[6:],
        "RIFF, but sound": b"RIFF\x24\0\0\0WAVEfmt " + bytes(32),
    }
    for name, data in heads.items():
        yield Picture(name, data, (DAMAGED,))
    for file_format in ("PPM", "PCX", "TGA", "ICO", "JPEG2000", "SGI", "DDS"):
        data = saved(drawing("RGB"), file_format)
        yield Picture(f"{file_format}, which Pillow could read", data, (DAMAGED,))


def odd() -> Iterator[Picture]:
    """Give files that are unusual and right: they are read."""
    for file_format, mode in CASES:
        yield Picture(f"{file_format} {mode}", saved(drawing(mode), file_format), (READ,))
    other = Image.new("RGB", (WIDTH, HEIGHT), "red")
    for file_format in ("GIF", "WEBP", "PNG", "TIFF"):
        frames = saved(drawing("RGB"), file_format, save_all=True, append_images=[other, other])
        yield Picture(f"{file_format} of three frames", frames, (READ,))
    profiles = {
        "sRGB": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        "LAB": ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
        "no": b"no profile at all",
        "a long": bytes(200_000),
    }
    for (name, profile), file_format in product(profiles.items(), ("PNG", "JPEG", "WEBP", "TIFF")):
        data = saved(drawing("RGB"), file_format, icc_profile=profile)
        yield Picture(f"{file_format} with {name} colour profile", data, (READ,))
    for (name, exif), file_format in product(_exifs(), ("PNG", "JPEG", "WEBP")):
        data = saved(drawing("RGB"), file_format, exif=exif)
        yield Picture(f"{file_format} with {name}", data, (READ,))
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "x" * 10_000, zip=True)
    notes.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta>\ud7ff", "en", "é")
    yield Picture("PNG with notes", saved(drawing(), "PNG", pnginfo=notes), (READ,))
    yield Picture("PNG and something behind it", saved(drawing(), "PNG") + bytes(999), (READ,))
    yield Picture("PNG, interlaced", saved(drawing(), "PNG", interlace=1), (READ,))
    yield Picture("JPEG, progressive", saved(drawing(), "JPEG", progressive=True), (READ,))
    upside_down = _resized("BMP", WIDTH, -HEIGHT)
    yield Picture("BMP from its top down", upside_down, (READ,))


def _exifs() -> Iterator[tuple[str, bytes]]:
    """Give EXIF data with names: orientations that do not exist, loops, and no EXIF at all."""
    for orientation in (0, 9, 65_535):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"orientation {orientation}", exif.tobytes()
    head = b"Exif\0\0II*\0\x08\0\0\0"
    text = struct.pack("<HHHI4s", 1, 0x0112, 2, 4, b"up!\0")
    yield "an orientation in words", head + text + bytes(4)
    loop = struct.pack("<HHHII", 1, 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    yield "EXIF that refers to itself", head + loop
    far = struct.pack("<HHHII", 1, 0x0112, 3, 2**31, 2**31) + bytes(4)
    yield "EXIF beyond its end", head + far
    yield "no EXIF in it", b"Exif\0\0nothing"


# Found by `make fuzz`, or by bits turned over: what once gave another status than these.
FOUND: tuple[Picture, ...] = ()


def pictures(*, flips: int, seed: int = 0) -> Iterator[Picture]:
    """Give the whole corpus."""
    for kind in (truncated(), bombs(), empty(), foreign(), odd(), FOUND):
        yield from kind
    yield from flipped(flips, seed)
