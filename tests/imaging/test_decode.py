"""Decoding handles every format and mode, damaged files, and files beyond the limits."""

import contextlib
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from app.errors import BlankImageError, DigitscopeError, TooLargeError, UndecodableError
from app.imaging.candidates import candidates
from app.imaging.decode import decode
from app.imaging.decoded_size import MAX_WORKING_SIDE
from app.imaging.ink import to_grey
from app.imaging.png_reader import is_small_png
from tests.conftest import Digits
from tests.forms import encode
from tests.imaging.files import CASES, HEIGHT, MODES, WIDTH, drawing, saved

LIMIT = 1_000_000


@pytest.mark.parametrize(("file_format", "mode"), CASES)
def test_every_format_and_mode_shows_the_same_drawing(file_format: str, mode: str) -> None:
    """A dark stroke on white decodes to the same place in every format and colour mode."""
    upload = decode(saved(drawing(mode), file_format), max_pixels=LIMIT)
    grey, _ = to_grey(upload)
    assert (upload.width, upload.height) == (WIDTH, HEIGHT)
    assert upload.format == file_format.lower()
    assert grey[10:30, 22:25].max() < 40
    assert grey[10:30, 40:50].min() > 215


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int, file_format: str) -> None:
    """The image is upright, once, for each of the eight EXIF orientations."""
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = drawing().transpose(turn[orientation]) if orientation > 1 else drawing()
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if file_format == "WEBP" else {}
    data = saved(stored, file_format, exif=exif.tobytes(), **lossless)
    upload = decode(data, max_pixels=LIMIT)
    np.testing.assert_array_equal(upload.pixels, np.asarray(drawing()))
    assert (upload.width, upload.height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("orientation", [1, 6])
def test_turned_fax_is_stretched_along_its_lines(orientation: int) -> None:
    """The resolutions of a file are those of its rows and columns as they are stored."""
    upright = drawing().resize((WIDTH, HEIGHT // 2), Image.Resampling.NEAREST)
    turned = orientation == 6
    stored = upright.transpose(Image.Transpose.ROTATE_90) if turned else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    for file_format in ("TIFF", "PNG"):
        data = saved(stored, file_format, exif=exif, dpi=(98, 196) if turned else (196, 98))
        upload = decode(data, max_pixels=LIMIT)
        assert (upload.width, upload.height) == (WIDTH, HEIGHT)
        assert upload.pixels.shape == (HEIGHT, WIDTH)


def test_first_frame_of_an_animation_is_read() -> None:
    """The first frame of an animated GIF is read, with a warning."""
    other = Image.new("L", (WIDTH, HEIGHT), 0)
    data = saved(drawing(), "GIF", save_all=True, append_images=[other, other])
    upload = decode(data, max_pixels=LIMIT)
    assert upload.pixels[20, 50] == 255
    assert len(upload.warnings) == 1


def test_large_image_is_reduced() -> None:
    """A large photo is reduced; its full size and the reduction factor are kept."""
    large = drawing("RGB").resize((6000, 4000), Image.Resampling.NEAREST)
    for file_format in ("PNG", "JPEG"):
        upload = decode(saved(large, file_format), max_pixels=30_000_000)
        assert max(upload.pixels.shape) <= MAX_WORKING_SIDE
        assert (upload.width, upload.height) == (6000, 4000)
        assert upload.factor * upload.pixels.shape[1] == pytest.approx(6000, rel=0.01)


@pytest.mark.parametrize("file_format", ["TIFF", "PNG", "JPEG"])
@pytest.mark.parametrize(
    ("resolution", "size"),
    [
        ((204, 98), (100, 250)),
        ((98, 204), (208, 120)),
        ((204, 196), (100, 120)),
        ((1, 9), (100, 120)),
    ],
)
def test_pixels_that_are_not_square_are_stretched(
    file_format: str, resolution: tuple[int, int], size: tuple[int, int]
) -> None:
    """A fax with fewer lines than columns an inch is read in its true proportions."""
    drawn = Image.new("L", (100, 120), 255)
    upload = decode(saved(drawn, file_format, dpi=resolution), max_pixels=LIMIT)
    assert (upload.width, upload.height) == pytest.approx(size, abs=2)
    assert upload.pixels.shape == pytest.approx((upload.height, upload.width), abs=2)
    assert any("not square" in warning for warning in upload.warnings) == (size != (100, 120))


def test_long_fax_is_reduced_in_its_true_proportions() -> None:
    """The stretched image is no larger than other images."""
    page = Image.new("L", (1728, 1100), 255)
    upload = decode(saved(page, "TIFF", dpi=(204, 98)), max_pixels=2_000_000)
    assert max(upload.pixels.shape) <= MAX_WORKING_SIDE
    height, width = upload.pixels.shape
    assert width / height == pytest.approx(1728 / (1100 * 204 / 98), rel=0.02)


@pytest.mark.parametrize("file_format", MODES)
def test_pixels_are_counted_before_decoding(file_format: str) -> None:
    """An image at the pixel limit is read; one pixel more is refused with the numbers."""
    data = saved(drawing("RGB" if file_format == "WEBP" else "L"), file_format)
    assert decode(data, max_pixels=WIDTH * HEIGHT).width == WIDTH
    with pytest.raises(TooLargeError, match="60 x 40 = 2400"):
        decode(data, max_pixels=WIDTH * HEIGHT - 1)


def _png(width: int, height: int, depth: int = 8) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")


def test_decompression_bombs_are_refused() -> None:
    """PNG, GIF and WebP headers with billions of pixels are refused before decoding."""
    bombs = [
        _png(100_000, 100_000),
        b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"\x2c" + b"\0" * 20,
        b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + b"\xff\x3f\0" * 2 + b"\0" * 20,
    ]
    for bomb in bombs:
        with pytest.raises(TooLargeError):
            decode(bomb, max_pixels=52_000_000)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"%PDF-1.7 ...", "a PDF"),
        (b"<?xml version='1.0'?><svg></svg>", "an SVG"),
        (b"\0\0\0\x18ftypheic....", "HEIC"),
        (b"PK\x03\x04....", "ZIP"),
        (b"\x93NUMPY\x01\0", "application/x-npy"),
        (b"hello world", "11 bytes in none of these formats"),
        (b"", "0 bytes"),
        (_png(0, 10), "image"),
    ],
)
def test_error_names_the_kind_of_file(data: bytes, expected: str) -> None:
    """The error for a file that is not an image says what the file seems to be."""
    with pytest.raises(UndecodableError, match=expected):
        decode(data, max_pixels=LIMIT)


@pytest.mark.parametrize("file_format", MODES)
def test_truncated_files_are_errors(file_format: str) -> None:
    """A file that is cut off at any tenth of its length raises UndecodableError."""
    noisy = np.random.default_rng(1).integers(0, 255, (50, 50), np.uint8)
    data = saved(Image.fromarray(noisy), file_format)
    for tenth in range(10):
        with pytest.raises(UndecodableError):
            decode(data[: len(data) * tenth // 10], max_pixels=LIMIT)


@pytest.mark.parametrize(("file_format", "mode"), CASES)
def test_damaged_bytes_raise_only_known_errors(file_format: str, mode: str) -> None:
    """Decoding and preprocessing a damaged file succeeds or raises a DigitscopeError."""
    rng = np.random.default_rng(len(file_format) + len(mode))
    whole = saved(drawing(mode), file_format)
    for _ in range(60):
        damaged = bytearray(whole)
        reach = min(len(damaged), 200) if rng.random() < 0.6 else len(damaged)
        for _ in range(rng.integers(1, 12)):
            damaged[rng.integers(reach)] = rng.integers(256)
        with contextlib.suppress(UndecodableError, TooLargeError, BlankImageError):
            candidates(decode(bytes(damaged), max_pixels=LIMIT))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def _outcome(data: bytes) -> object:
    """Return the decoded image, or the type of the error."""
    try:
        upload = decode(data, max_pixels=784)
    except DigitscopeError as error:
        return type(error)
    return upload.pixels.tolist(), upload.width, upload.height, upload.format, upload.warnings


def test_small_png_reader_equals_pillow(digits: Digits) -> None:
    """The direct PNG reader gives the result of Pillow's for all sizes, and for damaged files.

    A comment chunk makes a PNG take Pillow's reader. Every byte before the end is damaged in two
    ways, with the checksums of its chunks left alone or repaired.
    """
    whole = [encode(digits.images[n][: n + 1, : 28 - n]) for n in range(28)]
    digit, files = encode(digits.images[9]), [*whole]
    for at in range(len(digit) - 12):
        for flipped in (1, 128):
            damaged = bytearray(digit)
            damaged[at] ^= flipped
            files.append(bytes(damaged))
            for start, stop in ((12, 29), (37, len(digit) - 16)):
                damaged[stop : stop + 4] = zlib.crc32(damaged[start:stop]).to_bytes(4)
            files.append(bytes(damaged))
    comment = _chunk(b"tEXt", b"Comment\0a digit")
    for file in files:
        assert _outcome(file) == _outcome(file[:-12] + comment + file[-12:])
    assert len({str(_outcome(file)) for file in files}) > len(whole)


def test_png_with_many_chunks_is_not_small(digits: Digits) -> None:
    """A 28x28 PNG of any colour mode is small; one with 1,000 extra chunks is not."""
    digit = encode(digits.images[9])
    noise = np.random.default_rng(3).integers(0, 256, (28, 28, 4), np.uint8)
    assert is_small_png(digit)
    assert is_small_png(saved(Image.fromarray(noise), "PNG"))
    stuffed = digit[:33] + _chunk(b"vpAg", b"") * 1000 + digit[33:]
    assert not is_small_png(stuffed)
    assert _outcome(stuffed) == _outcome(digit)
