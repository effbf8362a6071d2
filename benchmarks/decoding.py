"""What a decoder process costs an image file, compared with decoding in the service's own thread.

    python -m benchmarks.decoding

Decodes each file both ways in turn, so that a busy machine affects both; writes the table into
docs/reliability.md.
"""

import io
import statistics
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from app.imaging.decode import decode
from app.imaging.decoder_pool import DecoderPool
from app.settings import REPOSITORY, Settings
from benchmarks.page import fill, table

PAGE = REPOSITORY / "docs" / "reliability.md"
WARM_UPS, PAIRS = 3, 31
SETTINGS = Settings()
# Name, format, mode, width and height of each file.
FILES = (
    ("JPEG, 100x100", "JPEG", "RGB", 100, 100),
    ("JPEG, grey, 1600x1200", "JPEG", "L", 1600, 1200),
    ("JPEG, 1600x1200", "JPEG", "RGB", 1600, 1200),
    ("PNG, 1600x1200", "PNG", "RGB", 1600, 1200),
    ("JPEG, 4000x3000", "JPEG", "RGB", 4000, 3000),
)


def main() -> None:
    """Measure and write."""
    pool = DecoderPool(
        size=1,
        timeout_s=SETTINGS.decode_timeout_s,
        memory_bytes=SETTINGS.decode_memory_mb << 20,
    )
    rows = [["file", "kB", "in the thread, ms", "in a process, ms", "difference, ms"]]
    try:
        for name, format_name, mode, width, height in FILES:
            data = _file(format_name, mode, width, height)
            rows.append([name, f"{len(data) / 1000:.0f}", *_times(data, pool)])
    finally:
        pool.close()
    print(table(rows))
    fill(PAGE, "decoding", table(rows))


def _file(format_name: str, mode: str, width: int, height: int) -> bytes:
    """Return a picture of soft blotches, which compresses about as well as a photo."""
    blotches = np.random.default_rng(0).integers(
        0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8
    )
    picture = Image.fromarray(blotches).resize((width, height), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    picture.convert(mode).save(stream, format_name, quality=85, compress_level=1)
    return stream.getvalue()


def _times(data: bytes, pool: DecoderPool) -> list[str]:
    """Return the median of each way, and of the differences within pairs, in milliseconds."""
    pairs = [
        (_milliseconds(decode, data), _milliseconds(pool.decode, data))
        for _ in range(WARM_UPS + PAIRS)
    ][WARM_UPS:]
    here, there = zip(*pairs, strict=True)
    differences = [second - first for first, second in pairs]
    return [
        f"{statistics.median(here):.2f}",
        f"{statistics.median(there):.2f}",
        f"{statistics.median(differences):+.2f}",
    ]


def _milliseconds(decode_file: Callable[..., object], data: bytes) -> float:
    began = time.perf_counter()
    decode_file(data, max_pixels=SETTINGS.max_pixels)
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
