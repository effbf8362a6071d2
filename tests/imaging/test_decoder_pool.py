"""Image files are decoded in processes with limits on CPU time and memory."""

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.cancellation import WorkCancelled, cancel_scope
from app.errors import OutOfMemoryError, TooLargeError, UndecodableError
from app.imaging.decode import decode
from app.imaging.decoder_pool import DecoderPool
from app.imaging.file_structure import BYTES_PER_PIXEL
from app.memory_budget import MemoryBudget
from tests.server.process import PATIENCE_S, eventually

MAX_PIXELS = 52_000_000


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    """A pool of one decoder with the limits of the service."""
    pool = DecoderPool(size=1, timeout_s=20, memory_bytes=192 << 20)
    yield pool
    pool.close()


def _file(image: Image.Image, format_name: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


def _photo(mode: str = "RGB", size: tuple[int, int] = (64, 40)) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(values).convert(mode)


def _slow_bmp() -> bytes:
    """A run-length encoded BMP just below the limits, which takes Pillow a second or more."""
    rows = b"\x01\x05\0\0" * 100_000
    head = b"BM" + np.array([1078 + len(rows), 0, 1078], "<u4").tobytes()
    info = np.array([40, 39, 100_000], "<i4").tobytes() + np.array([1, 8], "<u2").tobytes()
    rest = np.array([1, len(rows), 0, 0, 256, 0], "<u4").tobytes()
    return head + info + rest + bytes(1024) + rows


def _decode_again_and_again(pool: DecoderPool, data: bytes) -> None:
    for _ in range(1000):
        pool.decode(data, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize(
    "data",
    [
        _file(_photo(), "PNG"),
        _file(_photo("RGBA"), "PNG"),
        _file(_photo("L"), "JPEG"),
        _file(_photo(size=(3000, 1700)), "JPEG"),
        _file(_photo("F"), "TIFF"),
        _file(_photo("P"), "GIF"),
        _file(_photo("L", (20, 20)), "PNG"),
    ],
)
def test_a_decoder_gives_what_decode_gives(pool: DecoderPool, data: bytes) -> None:
    """Pixels, alpha channel and properties are those of the decoder in this process."""
    got, expected = pool.decode(data, max_pixels=MAX_PIXELS), decode(data, max_pixels=MAX_PIXELS)
    np.testing.assert_array_equal(got.pixels, expected.pixels)
    assert (got.alpha is None) == (expected.alpha is None)
    if got.alpha is not None and expected.alpha is not None:
        np.testing.assert_array_equal(got.alpha, expected.alpha)
    properties = ("format", "width", "height", "factor", "warnings")
    for name in properties:
        assert getattr(got, name) == getattr(expected, name)


def test_errors_are_those_of_decode(pool: DecoderPool) -> None:
    """A damaged file and one with too many pixels give the same error as in this process."""
    for data, limit in ((b"no image", MAX_PIXELS), (_file(_photo(), "PNG"), 100)):
        with pytest.raises((UndecodableError, TooLargeError)) as expected:
            decode(data, max_pixels=limit)
        with pytest.raises(type(expected.value)) as got:
            pool.decode(data, max_pixels=limit)
        assert got.value.detail == expected.value.detail


def test_a_file_that_takes_too_long_is_stopped() -> None:
    """It is refused, its process is gone, and the next file is decoded."""
    pool = DecoderPool(size=1, timeout_s=0.1, memory_bytes=192 << 20)
    with pytest.raises(TooLargeError, match="too long to decode"):
        pool.decode(_slow_bmp(), max_pixels=MAX_PIXELS)
    small = _file(_photo(), "PNG")

    def is_decoded() -> bool:
        with suppress(TooLargeError):  # the machine stood still for a second
            return pool.decode(small, max_pixels=MAX_PIXELS).width == 64
        return False

    eventually(is_decoded)
    pool.close()


def test_a_file_that_takes_too_much_memory_is_refused() -> None:
    """The refusal names the limit; the same process decodes the next file."""
    pool = DecoderPool(size=1, timeout_s=20, memory_bytes=20 << 20)
    large = _file(Image.new("RGBA", (4000, 4000)), "PNG")
    with pytest.raises(TooLargeError, match="more than 20 MiB"):
        pool.decode(large, max_pixels=MAX_PIXELS)
    assert pool.decode(_file(_photo(), "PNG"), max_pixels=MAX_PIXELS).width == 64
    pool.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS")
def test_a_large_file_does_not_depend_on_those_before(pool: DecoderPool) -> None:
    """It gets a new process, because a used one keeps addresses that the file may need."""
    pool.decode(_file(_photo(), "PNG"), max_pixels=MAX_PIXELS)
    (used,) = pool._idle
    large = _file(Image.new("RGB", (5000, 4000)), "PNG")
    assert pool.decode(large, max_pixels=MAX_PIXELS).width == 5000
    assert not used.is_alive()
    (new,) = pool._idle
    assert pool.decode(_file(_photo(), "PNG"), max_pixels=MAX_PIXELS).width == 64
    assert pool._idle == [new]


@pytest.mark.parametrize(
    ("options", "size", "factor"),
    [
        ({}, (8192, 6144), 6),
        ({"progressive": True}, (8192, 6144), 8),
        ({"progressive": True, "subsampling": 0}, (5000, 4000), 4),
        ({}, (16_384, 3072), 11),
    ],
)
def test_large_photos_are_reduced_while_they_are_decoded(
    pool: DecoderPool, options: dict[str, object], size: tuple[int, int], factor: int
) -> None:
    """50 million pixels fit into the limits of the service, and each keeps its place."""
    half = Image.new("L", size, 255)
    half.paste(0, (0, 0, size[0] // 2, size[1]))
    data = _file(half.convert("RGB"), "JPEG", **options)
    upload = pool.decode(data, max_pixels=MAX_PIXELS)
    assert (upload.width, upload.height) == size
    assert upload.factor == factor
    middle = upload.pixels.shape[1] // 2
    assert upload.pixels[:, : middle - 2].max() < 20
    assert upload.pixels[:, middle + 2 :].min() > 235


def test_limits_of_formats_that_are_decoded_whole() -> None:
    """The refusal names the limit of the kind of file, before anything is decoded."""
    large = Image.new("RGB", (8192, 6144))
    refused = (
        (_file(large, "PNG"), "of a PNG in this colour mode, at most 40000000"),
        (_file(large, "JPEG", progressive=True, subsampling=0), "progressive JPEG .* 301 MB"),
        (_file(Image.new("RGB", (4000, 3000)), "WEBP"), "of a WebP, at most 10000000"),
    )
    for data, reason in refused:
        with pytest.raises(TooLargeError, match=reason):
            decode(data, max_pixels=MAX_PIXELS)


def test_a_cancelled_file_is_stopped() -> None:
    """When the client leaves, its decoder process ends and its place is free."""
    pool, cancelled = DecoderPool(size=1, timeout_s=60, memory_bytes=192 << 20), threading.Event()
    threading.Timer(0.3, cancelled.set).start()
    with cancel_scope(cancelled), pytest.raises(WorkCancelled):
        _decode_again_and_again(pool, _slow_bmp())
    assert pool.decode(_file(_photo(), "PNG"), max_pixels=MAX_PIXELS).width == 64
    pool.close()


def test_a_decoder_killed_by_the_system_is_out_of_memory(pool: DecoderPool) -> None:
    """The request gets 503, and a new process decodes the next file."""
    data = _file(_photo(), "PNG")
    pool.decode(data, max_pixels=MAX_PIXELS)
    (process,) = pool._idle
    process.is_alive = lambda: True  # type: ignore[method-assign] # as if it died while it decodes
    os.kill(process._process.pid, signal.SIGKILL)
    with pytest.raises(OutOfMemoryError, match="no memory left"):
        pool.decode(data, max_pixels=MAX_PIXELS)
    assert pool.decode(data, max_pixels=MAX_PIXELS).width == 64


def test_decoding_counts_against_the_memory_budget() -> None:
    """While a file is decoded, the memory that its header announces is held."""
    budget, held = MemoryBudget(400 << 20), list[int]()
    pool = DecoderPool(size=1, timeout_s=20, memory_bytes=192 << 20, working_memory=budget.working)
    original, pool._decode = (
        pool._decode,
        lambda *call: (held.append(budget.used), original(*call))[1],
    )  # type: ignore[method-assign]
    pool.decode(_file(Image.new("L", (1000, 1000)), "PNG"), max_pixels=MAX_PIXELS)
    assert held[0] >= BYTES_PER_PIXEL * 1_000_000
    assert budget.used == 0
    pool.close()


def test_idle_decoders_end(pool: DecoderPool) -> None:
    """A process that has had nothing to decode for long gives its memory back."""
    pool.decode(_file(_photo(), "PNG"), max_pixels=MAX_PIXELS)
    (process,) = pool._idle
    pool.close_idle(min_idle_s=3600)
    assert process.is_alive()
    pool.close_idle()
    assert not process.is_alive()
    assert not pool._idle


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are read from /proc")
def test_memory_is_kept_for_the_next_image(pool: DecoderPool) -> None:
    """A photo needs no new pages after the first one; they take longer than the decoding."""
    data = _file(_photo(size=(1600, 1200)), "JPEG")
    for _ in range(2):
        pool.decode(data, max_pixels=MAX_PIXELS)
    before = _page_faults(pool)
    pool.decode(data, max_pixels=MAX_PIXELS)
    assert _page_faults(pool) - before < 500  # 4,700 with glibc's own thresholds


def _page_faults(pool: DecoderPool) -> int:
    (process,) = pool._idle
    status = Path(f"/proc/{process._process.pid}/stat").read_text()
    return int(status.rsplit(")", 1)[1].split()[7])


def test_more_files_than_decoders_wait(pool: DecoderPool) -> None:
    """Each of several threads gets its own picture."""
    sizes = list(range(30, 42))
    files = [_file(_photo(size=(size, 30)), "PNG") for size in sizes]
    widths = dict[int, int]()

    def work(index: int) -> None:
        widths[index] = pool.decode(files[index], max_pixels=MAX_PIXELS).width

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(files))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert [widths[index] for index in range(len(files))] == sizes
