"""HEIC files of phones: orientation, tiles, depth, several images, and limits before decoding."""

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.batch_files import find_images
from app.errors import TooLargeError, UndecodableError
from app.imaging.decode import decode
from app.imaging.decoder_pool import DecoderPool
from app.imaging.file_structure import declared_pixels
from app.samples import sample_pixels
from app.settings import REPOSITORY
from tests.imaging.files import HEIGHT, WIDTH, drawing, saved

LIMIT = 1_000_000
FAST = {"enc_params": {"preset": "ultrafast"}}  # the encoder takes most of the time
INK, PAPER = 60, 195  # grey levels, with room for lossy coding


def _large(width: int = 300, height: int = 200) -> Image.Image:
    """Return the drawing at a size of several tiles."""
    return drawing("RGB").resize((width, height), Image.Resampling.NEAREST)


def _looks_like(pixels: np.ndarray, expected: Image.Image) -> bool:
    """Return whether pixels are about those of an image, whatever their colour mode."""
    grey = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    return bool(np.abs(grey - np.asarray(expected.convert("L"), float)).mean() < 6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_is_turned_upright_once(orientation: int) -> None:
    """Phones write the rotation twice, as a property and in the EXIF data; it is applied once."""
    turns = Image.Transpose
    undo = {
        1: None,
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = drawing("RGB")
    data = saved(image, "HEIC", exif=exif.tobytes())
    upright = image.transpose(undo) if undo is not None else image
    upload = decode(data, max_pixels=LIMIT)
    assert (upload.width, upload.height) == upright.size
    assert _looks_like(upload.pixels, upright)


@pytest.mark.parametrize("tile_size", [64, 128])
def test_tiles_are_put_together(tile_size: int) -> None:
    """A grid of tiles is one image; the tiles at its right and lower edge are cut."""
    data = saved(_large(), "HEIC", tile_size=tile_size)
    assert data.count(b"hvc1") >= 6  # items of the file
    upload = decode(data, max_pixels=LIMIT)
    assert (upload.width, upload.height) == (300, 200)
    assert _looks_like(upload.pixels, _large())
    assert declared_pixels(data) == 300 * 200


@pytest.mark.parametrize("size", [(1700, 600), (500, 3210)])
def test_large_image_is_reduced(size: tuple[int, int]) -> None:
    """A large photo is reduced strip by strip, as Pillow reduces the whole of it."""
    image = drawing("RGB").resize(size, Image.Resampling.NEAREST)
    data = saved(image, "HEIC", tile_size=512, **FAST)
    upload = decode(data, max_pixels=10_000_000)
    assert (upload.width, upload.height) == size
    assert _looks_like(upload.pixels, image.reduce(upload.factor))


def test_ten_bits_are_read() -> None:
    """An image of 10 bits looks like the same image of 8 bits."""
    deep = np.asarray(drawing("RGB")).astype(np.uint16) * 257
    file = pillow_heif.from_bytes("RGB;16", (WIDTH, HEIGHT), deep.tobytes())
    data = _bytes_of(file)
    assert pillow_heif.open_heif(data, convert_hdr_to_8bit=False).info["bit_depth"] == 10
    assert _looks_like(decode(data, max_pixels=LIMIT).pixels, drawing())


def test_transparency_is_kept() -> None:
    """The alpha channel arrives, and the ink where it is opaque."""
    image = drawing("RGBA")
    image.paste((0, 0, 0, 0), (40, 0, WIDTH, HEIGHT))
    upload = decode(saved(image, "HEIC", quality=-1), max_pixels=LIMIT)
    assert upload.alpha is not None
    assert upload.alpha[20, 50] < INK
    assert upload.alpha[20, 10] > PAPER


def test_primary_image_is_read() -> None:
    """Of several images the one that the file calls primary is read, with a warning."""
    file = pillow_heif.from_pillow(Image.new("RGB", (80, 90), "white"))
    file.add_from_pillow(drawing("RGB"))
    upload = decode(_bytes_of(file, primary_index=1), max_pixels=LIMIT)
    assert (upload.width, upload.height) == (WIDTH, HEIGHT)
    assert _looks_like(upload.pixels, drawing())
    assert "only the primary" in upload.warnings[0]


def test_thumbnail_is_no_second_image() -> None:
    """A file with a thumbnail, as phones write it, is read without a warning."""
    upload = decode(saved(_large(), "HEIC", thumbnails=[64]), max_pixels=LIMIT)
    assert (upload.width, upload.warnings) == (300, ())


def _bytes_of(file: pillow_heif.HeifFile, **options: object) -> bytes:
    stream = io.BytesIO()
    file.save(stream, **options)
    return stream.getvalue()


def _put(data: bytes, box: bytes, at: int, value: bytes) -> bytes:
    """Overwrite bytes that follow the name of the first box of a kind."""
    start = data.index(box) + 4 + at
    return data[:start] + value + data[start + len(value) :]


def _drawing() -> bytes:
    return saved(drawing("RGB"), "HEIC")


def _tiled() -> bytes:
    return saved(_large(), "HEIC", tile_size=64)


HOSTILE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "too many items": ("more than 1,000 items", lambda: _put(_drawing(), b"iinf", 4, b"\xff\xff")),
    "too many boxes": ("boxes in a row", lambda: _drawing() + b"\0\0\0\x08free" * 3_000),
    "too many tiles": ("tiles", lambda: _put(_tiled(), b"dimg", 2, b"\xff\xff")),
    "too many associations": ("properties", lambda: _put(_drawing(), b"ipma", 4, b"\xff" * 4)),
    "a box that ends before it begins": (
        "length",
        lambda: _put(_drawing(), b"meta", -8, b"\0\0\0\x04"),
    ),
    "a box beyond the end": (
        "end is missing",
        lambda: _put(_drawing(), b"mdat", -8, b"\x7f\xff\xff\xff"),
    ),
    "no image data": ("outside", lambda: _drawing()[: _drawing().index(b"mdat") - 4]),
    "tiles cut off": ("outside", lambda: _cut_data(_tiled())),
    "no primary item": ("pitm", lambda: _drawing().replace(b"pitm", b"free")),
    "no size": ("size", lambda: _drawing().replace(b"ispe", b"free")),
    "no properties": ("ipco", lambda: _drawing().replace(b"ipco", b"free")),
    "no locations": ("iloc", lambda: _drawing().replace(b"iloc", b"free")),
    "a sequence": ("sequence", lambda: b"\0\0\0\x14ftyphevc\0\0\0\0hevc\0\0\0\x08moov"),
    "no meta box": ("meta", lambda: _drawing().replace(b"meta", b"free")),
}


def _cut_data(data: bytes) -> bytes:
    """Return a file whose last box is half as long, with the right length in its header."""
    start = data.index(b"mdat") - 4
    kept = (len(data) - start) // 2
    return data[:start] + struct.pack(">I", kept) + data[start + 4 : start + kept]


@pytest.mark.parametrize("name", HOSTILE)
def test_structure_is_checked_before_decoding(name: str) -> None:
    """The refusal tells what is wrong; libheif would walk on, or show grey tiles."""
    reason, make = HOSTILE[name]
    with pytest.raises(UndecodableError, match=reason):
        decode(make(), max_pixels=LIMIT)


@pytest.mark.parametrize("data", [_drawing, _tiled])
def test_file_cut_anywhere_is_damaged(data: Callable[[], bytes]) -> None:
    """At whatever byte a file ends, it is refused, and its size is read or unknown."""
    whole = data()
    for length in range(12, len(whole), 37):
        with pytest.raises(UndecodableError):
            decode(whole[:length], max_pixels=LIMIT)
        declared_pixels(whole[:length])


def test_sizes_are_checked_before_decoding() -> None:
    """An image or a tile that declares too many pixels is too large, whatever the file holds."""
    huge = struct.pack(">II", 30_000, 30_000)
    for data in (_put(_drawing(), b"ispe", 4, huge), _put(_tiled(), b"ispe", 4, huge)):
        with pytest.raises(TooLargeError, match="30000 x 30000"):
            decode(data, max_pixels=52_000_000)
    tile = _tiled()
    second = tile.index(b"ispe", tile.index(b"ispe") + 4) + 8
    with pytest.raises(TooLargeError, match="30000 x 30000"):
        decode(tile[:second] + huge + tile[second + 8 :], max_pixels=52_000_000)


def test_limit_of_the_format_is_named() -> None:
    """HEIC is decoded whole, so its limit is below that of a JPEG."""
    data = _put(_drawing(), b"ispe", 4, struct.pack(">II", 8_064, 6_048))
    with pytest.raises(TooLargeError, match="of a HEIC, at most 26666666 can be decoded"):
        decode(data, max_pixels=52_000_000)


def test_image_that_takes_too_much_memory_is_too_large() -> None:
    """It is no damaged file; the same process decodes the next one."""
    pool = DecoderPool(size=1, timeout_s=20, memory_bytes=40 << 20)
    large = Image.new("RGB", (2500, 2000), "white")
    data = saved(large, "HEIC", tile_size=512, **FAST)
    with pytest.raises(TooLargeError, match="more than 40 MiB"):
        pool.decode(data, max_pixels=52_000_000)
    assert pool.decode(_drawing(), max_pixels=LIMIT).format == "heic"
    pool.close()


@pytest.mark.parametrize("media_type", ["image/heic", "image/heif", "application/octet-stream"])
def test_service_reads_photos_of_phones(client: TestClient, media_type: str) -> None:
    """`/predict` and `/read` take HEIC under each of its media types."""
    digit = Image.fromarray(np.kron(255 - sample_pixels(7), np.ones((8, 8), np.uint8)))
    data = saved(digit.convert("RGB"), "HEIC", tile_size=64)
    headers = {"Content-Type": media_type}
    answer = client.post("/predict", content=data, headers=headers).json()
    assert (answer["digit"], answer["input"]["format"]) == (7, "heic")
    assert client.post("/read", content=data, headers=headers).json()["text"] == "7"


def test_folders_are_searched_for_heic(tmp_path: Path) -> None:
    """The commands find the files in folders, whatever the case of their suffix."""
    for name in ("a.heic", "b.HEIC", "c.heif", "d.hif", "e.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_images([tmp_path]).images] == [
        "a.heic",
        "b.HEIC",
        "c.heif",
        "d.hif",
    ]


def test_avif_is_refused_plainly() -> None:
    """AVIF has the same container, and is not read."""
    avif = saved(drawing("RGB"), "AVIF")
    with pytest.raises(UndecodableError, match="AVIF or a video"):
        decode(avif, max_pixels=LIMIT)


def test_only_decoders_import_the_library() -> None:
    """The service imports it neither at its start nor when it hands a file to a decoder."""
    program = """
import sys
from app.imaging.decoder_pool import DecoderPool
import app.main
pool = DecoderPool(size=1, timeout_s=20, memory_bytes=192 << 20)
print(pool.decode(sys.stdin.buffer.read(), max_pixels=10_000).format, "pillow_heif" in sys.modules)
pool.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], input=_drawing(), cwd=REPOSITORY, capture_output=True
    )
    assert done.stdout.split() == [b"heic", b"False"], done.stderr
